"""How findings say numbers and names."""

from collections.abc import Sequence

MOST = 4


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    shown = ", ".join(names[:MOST])
    return shown if len(names) <= MOST else f"{shown} and {len(names) - MOST} more"


def recordings(names: Sequence[str]) -> str:
    """Which recordings."""
    return f"recording{'s' if len(names) > 1 else ''} {listed(names)}"


def share_of(share: float) -> str:
    """A share as people say it."""
    return f"{100 * share:.0f} %"


def called(channels: Sequence[str]) -> str:
    """One or several channels; those without a name are called by their places already."""
    named = [name.removeprefix("channel").strip() for name in channels]
    return f"channel{'s' if len(named) > 1 else ''} {listed(named)}".rstrip()

"""How findings say numbers and names."""

from collections.abc import Sequence

MOST = 4


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    shown = ", ".join(names[:MOST])
    return shown if len(names) <= MOST else f"{shown} and {len(names) - MOST} more"


def share_of(share: float) -> str:
    """A share as people say it."""
    return f"{100 * share:.0f} %"

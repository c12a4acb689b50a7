"""Methods that are like others in a study file, and what an override of the others leaves as it was."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any


def left_as_they_were(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    sets: Iterable[tuple[str, Any]],
    likes: Mapping[str, str],
) -> Iterator[str]:
    """A line for each override of a method that others are like, and had the same until then.

    Args:
        before: methods as files say them.
        after: with the overrides.
        sets: the overrides, each a `key.path` and its value.
        likes: which method is like which.
    """
    for key, _ in sets:
        where, _, path = key.partition(".")
        name, _, path = path.partition(".")
        if where != "methods" or name not in before or not path:
            continue
        heirs = [heir for heir in likes if heir in before and name in _bases(heir, likes)]
        if path.partition(".")[0] == "args":  # which are nothing to another class
            heirs = [heir for heir in heirs if _at(before, heir, "use") == _at(before, name, "use")]
        shared = [heir for heir in heirs if _at(before, heir, path) == _at(before, name, path)]
        if left := [heir for heir in shared if _at(after, heir, path) != _at(after, name, path)]:
            stay = f"{', '.join(left)}, like it in the file, {'stay' if len(left) > 1 else 'stays'} as before"
            yield f"--set {key} is of {name} alone: {stay}; set it there, too, if they are to be alike"


def _bases(name: str, likes: Mapping[str, str]) -> list[str]:
    """The methods that one is like, directly or not."""
    found: list[str] = []
    while name in likes and likes[name] not in found:
        name = likes[name]
        found.append(name)
    return found


def _at(methods: Mapping[str, Any], name: str, path: str) -> Any:
    """What a method says at a path of keys; None where it says nothing."""
    inner: Any = methods.get(name)
    for key in path.split("."):
        inner = inner.get(key) if isinstance(inner, Mapping) else None
    return inner

"""Names that may be patterns: a name is itself first, and a pattern only where nothing is called so."""

from collections.abc import Iterable
from fnmatch import fnmatchcase


def matching(wanted: str, names: Iterable[str]) -> list[str]:
    """The `names` that `wanted` stands for, in their order.

    That is the name itself; or all that fit the pattern with its brackets as they are written (`Acc?[mg]`);
    or, if none does, with brackets as sets of letters (`acc_[xyz]`).
    """
    names = list(names)
    if wanted in names:
        return [wanted]
    literal = [name for name in names if fnmatchcase(name, wanted.replace("[", "[[]"))]
    return literal or [name for name in names if fnmatchcase(name, wanted)]

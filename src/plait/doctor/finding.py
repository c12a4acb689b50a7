"""What the doctor finds, and what a check is that finds it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from plait.types import Recording

Severity = Literal["note", "warning", "fault"]


@dataclass(frozen=True)
class Finding:
    """Something in data that would become a number in a study's table.

    Args:
        check: the check's name, such as `clock-jumps`.
        severity: a `note` is to be known, a `warning` to be looked into, a `fault` makes numbers wrong.
        where: recording, person, stream, span: in words.
        sure: from 0 to 1.
        what: one sentence with the numbers that were seen.
        harm: what it would do to a study's numbers.
        remedy: what to do.
    """

    check: str
    severity: Severity
    where: str
    sure: float
    what: str
    harm: str
    remedy: str


class Check(Protocol):
    """Something that can be wrong with data, and how it is seen: in each recording, then in all of them."""

    name: str

    def look(self, recording: Recording) -> object:
        """Small facts of one recording, which is opened once; facts that JSON can say are kept in the cache."""
        ...

    def judge(self, facts: Mapping[str, object], people: Mapping[str, str]) -> list[Finding]:
        """What is wrong, from the facts of all recordings and whose each is, both by its name."""
        ...

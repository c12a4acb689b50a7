"""What the doctor finds, and what finds it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from plait.types import Recording

Severity = Literal["note", "warning", "fault"]


@dataclass(frozen=True)
class Finding:
    """Something that is, or may be, wrong in data.

    Args:
        check: the check's name, "clock-jumps".
        severity: whether it is worth knowing, may spoil numbers, or does.
        where: recording, person, stream, span: in words.
        sure: from 0 to 1.
        what: one sentence with the numbers seen.
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
    """Looks at each recording once, and judges when it has seen them all."""

    @property
    def name(self) -> str:
        """What findings and command lines call it."""
        ...

    def look(self, recording: Recording) -> Any:
        """Small facts of one recording."""
        ...

    def judge(self, facts: Mapping[str, Any], people: Mapping[str, str]) -> list[Finding]:
        """What is found, from the facts and the person of each recording, by its name."""
        ...

"""All checks over all recordings: each is looked at once, small facts are kept, and then they are judged."""

import json
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from plait.clips import People
from plait.contents import describe
from plait.doctor.finding import Check, Finding, Severity
from plait.errors import DataError, PlaitError, PlaitWarning
from plait.names import plain
from plait.objects import source_key
from plait.progress import Progress, Step, silent
from plait.store import cache_folder, content_key, read_bytes, write_bytes, write_json
from plait.types import Recording

SEVERITIES: tuple[Severity, ...] = ("fault", "warning", "note")
EXIT: dict[Severity | None, int] = {None: 0, "note": 0, "warning": 1, "fault": 3}  # 2 is for bad input
UNREADABLE = "unreadable"
JSON = "doctor.json"


@dataclass(frozen=True)
class Examination:
    """What was looked at, and what was found.

    Args:
        recordings, people: how many there were.
        checks: by name.
        findings: faults first.
    """

    recordings: int
    people: int
    checks: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def counts(self) -> dict[Severity, int]:
        """How many findings of each severity, the worst first."""
        count = Counter(finding.severity for finding in self.findings)
        return {severity: count[severity] for severity in SEVERITIES}

    @property
    def exit_code(self) -> int:
        """0: nothing, or notes; 1: warnings; 3: faults."""
        return EXIT[next((severity for severity, n in self.counts.items() if n), None)]

    def summary(self) -> str:
        """How many there are of what, in words."""
        parts = [f"{n} {severity}{'s' * (n > 1)}" for severity, n in self.counts.items() if n]
        return ", ".join(parts) or "nothing"

    def write(self, path: Path, about: Mapping[str, Any]) -> None:
        """Write all of it as JSON, beside what it is `about`."""
        findings = [asdict(finding) for finding in self.findings]
        facts = {"recordings": self.recordings, "people": self.people, "checks": self.checks}
        write_json(path, {**about, **facts, "counts": self.counts, "findings": findings})


def examine(
    recordings: Iterable[Recording],
    checks: Sequence[Check],
    people: People | None = None,
    found: Sequence[Finding] = (),
    progress: Progress = silent,
) -> Examination:
    """Run `checks` over `recordings`.

    A stream that cannot be read is a finding of its own, and what other checks say of its recording stands.

    Args:
        recordings: opened one after the other.
        checks: which ones.
        people: names that are one person's count as that person's.
        found: what is known already, such as recordings that do not open.
        progress: told of each recording; how many there will be is not known.
    """
    facts: dict[str, dict[str, object]] = {check.name: {} for check in checks}
    persons: dict[str, str] = {}
    findings = list(found)
    described = [_described(check) for check in checks]
    for recording in recordings:
        subject = plain(recording.subject)
        subject = people.called(subject) if people else subject
        name = recording.name if recording.name not in persons else f"{recording.name} ({subject})"
        persons[name] = subject
        broken: dict[str, None] = {}
        kept = _Kept(recording, [how for how in described if how is not None])
        for check, how in zip(checks, described, strict=True):
            try:
                facts[check.name][name] = kept.looked(check, how)
            except PlaitError as error:
                broken[str(error)] = None
        kept.write()
        findings += [unreadable(f"recording {name} ({subject!r})", line) for line in broken]
        progress(Step(len(persons), len(persons), name))
    for check in checks:
        of_check = facts[check.name]
        if of_check:
            findings += check.judge(of_check, {name: persons[name] for name in of_check})
    rank = {severity: number for number, severity in enumerate(SEVERITIES)}
    findings.sort(key=lambda finding: (rank[finding.severity], -finding.sure))
    names = tuple(check.name for check in checks)
    return Examination(len(persons), len(set(persons.values())), names, tuple(findings))


def unreadable(where: str, why: str) -> Finding:
    """The finding that something cannot be read."""
    harm = "A study that reads it is refused, or goes on without it."
    remedy = "Mend or replace what is named, or leave the recording out."
    return Finding(UNREADABLE, "fault", where, 1.0, why, harm, remedy)


class _Kept:
    """The facts of one recording: from the cache where it holds the same contents and checks."""

    def __init__(self, recording: Recording, checks: Sequence[tuple[str, TypeAdapter[Any]]]) -> None:
        self.recording, self.path, self.new = recording, None, False
        self.facts: dict[str, Any] = {}
        contents = {name: recording.content([name]) for name in recording.streams}
        if None in contents.values() or not checks:
            return
        about = [recording.name, recording.session, [asdict(span) for span in recording.spans], contents]
        key = content_key([about, sorted(key for key, _ in checks)])
        self.path = cache_folder("doctor") / f"{key}.json"
        try:
            stored = json.loads(read_bytes(self.path))
            self.facts = stored if isinstance(stored, dict) else {}
        except (OSError, ValueError, RecursionError, DataError):
            self.facts = {}

    def looked(self, check: Check, how: tuple[str, TypeAdapter[Any]] | None) -> object:
        """What a check sees of the recording.

        Raises:
            PlaitError: a stream cannot be read.
        """
        if how is None or self.path is None:
            return check.look(self.recording)
        key, adapter = how
        if key in self.facts:
            try:
                return adapter.validate_python(self.facts[key])
            except ValidationError:
                pass  # damaged: looked at again
        seen = check.look(self.recording)
        self.facts[key] = json.loads(adapter.dump_json(seen))
        self.new = True
        return seen

    def write(self) -> None:
        """Keep what is new; a cache that cannot be written is said, and done without."""
        if self.new and self.path is not None:
            try:
                write_bytes(self.path, json.dumps(self.facts).encode())
            except DataError as error:
                warnings.warn(f"findings are not kept: {error}", PlaitWarning, stacklevel=3)


def _described(check: Check) -> tuple[str, TypeAdapter[Any]] | None:
    """A key of a check's code and settings, and the type of its facts; None where `look` names no type."""
    kind = get_type_hints(type(check).look).get("return", object)
    if kind is object:
        return None
    code = _code(type(check))
    return content_key([check.name, describe(check), code]), _adapter(kind)


@cache
def _code(kind: type) -> str:
    return source_key([kind])


def _adapter(kind: Any) -> TypeAdapter[Any]:
    """What writes and reads facts; numbers that are none stay none."""
    try:
        return TypeAdapter(kind, config=ConfigDict(ser_json_inf_nan="constants"))
    except Exception:  # a type with a configuration of its own
        return TypeAdapter(kind)

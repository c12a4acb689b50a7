"""All checks over all recordings: each is looked at once, small facts are kept, and then they are judged."""

import json
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError

from plait.clips import People
from plait.contents import describe
from plait.doctor.finding import Check, Finding, Severity
from plait.doctor.sampled import of_pictures
from plait.doctor.words import recordings as named
from plait.errors import DataError, PlaitError
from plait.keying import source_key
from plait.names import plain
from plait.store import cache_folder, content_key, read_bytes, write_bytes, write_json
from plait.types import Recording

SEVERITIES: tuple[Severity, ...] = ("fault", "warning", "note")
EXIT: dict[Severity | None, int] = {None: 0, "note": 0, "warning": 1, "fault": 3}  # 2 is for bad input
UNREADABLE = "unreadable"
JSON = "doctor.json"
SAVE_S = 60.0  # between two times that what was seen is kept


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
    keep: str | None = None,
) -> Examination:
    """Run `checks` over `recordings`.

    A stream that cannot be read is a finding of its own, and what other checks say of its recording stands.

    Args:
        recordings: opened one after the other.
        checks: which ones.
        people: names that are one person's count as that person's.
        found: what is known already, such as recordings that do not open.
        keep: a name for the data: what was seen of it lies in the cache, and is not looked at again.
    """
    facts: dict[str, dict[str, object]] = {check.name: {} for check in checks}
    persons: dict[str, str] = {}
    broken: dict[str, list[tuple[str, str]]] = defaultdict(list)  # by stream: recording and why
    kept = Kept(checks, keep)
    for recording in recordings:
        subject = plain(recording.subject)
        subject = people.called(subject) if people else subject
        name = recording.name if recording.name not in persons else f"{recording.name} ({subject})"
        persons[name] = subject
        streams = {}
        for stream, readings in recording.streams.items():
            try:
                of_pictures(stream, readings)
                streams[stream] = readings
            except PlaitError as error:
                broken[stream].append((name, str(error)))
        recording = replace(recording, streams=streams)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of what no reading tells, NumPy says so
            for check in checks:
                try:
                    facts[check.name][name] = kept.looked(check, recording)
                except PlaitError as error:
                    broken["a stream"].append((name, str(error)))
    kept.write()
    findings = [*found, *(unreadable(f"{stream} of ", dict(whys)) for stream, whys in broken.items())]
    for check in checks:
        of_check = facts[check.name]
        if of_check:
            findings += check.judge(of_check, {name: persons[name] for name in of_check})
    rank = {severity: number for number, severity in enumerate(SEVERITIES)}
    findings.sort(key=lambda finding: (rank[finding.severity], -finding.sure))
    names = tuple(check.name for check in checks)
    return Examination(len(persons), len(set(persons.values())), names, tuple(findings))


def unreadable(what: str, whys: Mapping[str, str]) -> Finding:
    """The finding that recordings, or something of them, cannot be read.

    Args:
        what: "left of ", or nothing.
        whys: by recording, all for one reason.
    """
    first = next(iter(whys.values()))
    others = f"{len(whys) - 1} more recording{'s' if len(whys) > 2 else ''}"
    why = f"{first}{f', and so it is in {others}' if len(whys) > 1 else ''}."
    harm = "A study that reads it is refused, or goes on without it."
    remedy = "Mend or replace what is named, or leave the recording out."
    return Finding(UNREADABLE, "fault", f"{what}{named(list(whys))}", 1.0, why, harm, remedy)


class Kept:
    """Facts of recordings, found by what these hold and by the checks' code, so that none is looked at twice.

    Args:
        checks: those whose `look` says which type its facts are have theirs kept.
        name: of the file in the cache, which holds the recordings of one examination; None: none is written.
    """

    def __init__(self, checks: Sequence[Check], name: str | None) -> None:
        self.how = {check.name: _described(check) if name else None for check in checks}
        self.path = cache_folder("doctor") / f"{content_key(name)}.json" if name else None
        self.now: dict[str, Any] = {}
        self.new, self.last_s = False, time.monotonic()
        self.before: dict[str, Any] = {}
        self.contents: tuple[Recording, str | None] | None = None
        if self.path is not None:
            try:
                stored = json.loads(read_bytes(self.path))
                self.before = stored if isinstance(stored, dict) else {}
            except (OSError, ValueError, RecursionError, DataError):
                pass  # looked at anew

    def looked(self, check: Check, recording: Recording) -> object:
        """What a check sees of a recording.

        Raises:
            PlaitError: a stream cannot be read.
        """
        how = self.how[check.name]
        content = self._content(recording) if how and self.path else None
        if how is None or content is None:
            return check.look(recording)
        key = f"{how.key}-{content}"
        if key in self.before:
            try:
                seen: object = how.facts.validate_python(self.before[key])
                self.now[key] = self.before[key]
                return seen
            except ValidationError:
                pass  # damaged
        seen = check.look(recording)
        self.now[key], self.new = json.loads(how.facts.dump_json(seen)), True
        if time.monotonic() - self.last_s > SAVE_S:
            self.write()
        return seen

    def write(self) -> None:
        """Keep what is new; without a cache that can be written, it is looked at again next time."""
        if self.path is None or not self.new:
            return
        try:
            write_bytes(self.path, json.dumps({**self.before, **self.now}).encode())
        except DataError:
            self.path = None
        self.new, self.last_s = False, time.monotonic()

    def _content(self, recording: Recording) -> str | None:
        """A key of all that a check may look at; None where a stream does not say what it holds."""
        if self.contents is None or self.contents[0] is not recording:
            streams = {name: recording.content([name]) for name in recording.streams}
            spans = [(span.start_s, span.stop_s, span.activity) for span in recording.spans]
            about = [recording.name, recording.session, spans, streams]
            self.contents = recording, None if None in streams.values() else content_key(about)
        return self.contents[1]


class _How(NamedTuple):
    """A key of a check's code and settings, and the type of its facts."""

    key: str
    facts: TypeAdapter[Any]


def _described(check: Check) -> _How | None:
    """How a check's facts are kept; None where `look` names no type, or one that JSON cannot say."""
    kind = get_type_hints(type(check).look).get("return", object)
    if kind is object:
        return None
    try:
        adapter = _adapter(kind)
    except (PydanticUserError, TypeError):  # what JSON cannot say, or no type at all
        return None
    key = content_key([check.name, describe(check), source_key([type(check)])])
    return _How(key[:16], adapter)


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """The type of facts, made once in a process: each study asks for all of them."""
    return TypeAdapter(kind, config=ConfigDict(ser_json_inf_nan="constants"))

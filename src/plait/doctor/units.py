"""Units: vectors and channels that are off by the factor between two units, or that no unit gives."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from plait.doctor import scales
from plait.doctor.finding import Finding
from plait.doctor.peers import MAD, apart, expected, middle, of_people, plain, seen
from plait.doctor.scales import NEAR, STANDARD_GRAVITY, TURN, Scale, Scales
from plait.doctor.words import recordings
from plait.types import Recording

CANNOT_BE = {  # lengths of gravity that no unit gives, and how they come about
    1 / STANDARD_GRAVITY: "g, divided by 9.81",
    STANDARD_GRAVITY**2: "m/s2, multiplied by 9.81",
    1000 * STANDARD_GRAVITY: "mg, multiplied by 9.81",
    STANDARD_GRAVITY / 1000: "m/s2, divided by 1000",
    1 / 1000: "g, divided by 1000",
}
CLAIMS = (  # what a column's name claims: its unit, gravity's length or the most that limbs turn by
    (re.compile(r"acc.*(m[/_ .]?s\^?-?(2|²)|mps2|ms2)"), "m/s2", STANDARD_GRAVITY),
    (re.compile(r"acc.*[ _(\[]mg[)\]]?$"), "mg", 1000.0),
    (re.compile(r"acc.*[ _(\[]g[)\]]?$"), "g", 1.0),
)
MOVED_ALONE = re.compile(r"(?<![a-z])(lin|user|free|dyn)|body_?acc|without|no_?grav")  # gravity taken off
RAD = re.compile(r"(?<![a-z])rad")  # and not mrad
MOST_RAD_S = 60.0  # twice what a fast arm reaches: 2000 deg/s are 35 rad/s
CLEAR = 0.8  # a factor that is met is half of the evidence
STRAYS = 5.0  # spreads by which a recording is off at least
FEW = 4  # people
HARM = (
    "Networks see a person of another strength altogether; means and standard deviations of training are "
    "spoilt for everyone."
)

Facts = tuple[str, dict[str, list[Scale]]]


@dataclass(frozen=True)
class Units:
    """A person's numbers are off by the factor between two units; or no unit gives what gravity measures.

    Of a vector that is constant, as gravity is, the length is compared: a factor must be met to 12 %, and
    people differ by 5 % anyway. Elsewhere spreads are, within an activity where three others did it: a factor
    must be met to 0.7 in natural logarithms (twofold), and people differ by 0.4. Names of columns say which
    factors there may be; of readings without, the number of triples: 9.81, 1000 and 102 of accelerations,
    57.3 of angular rates, 1000, 100 and 10 of places. Against one other person, or two, either may be wrong.
    Columns whose names claim a unit are held to it.

    Args:
        decoded: whether pictures of depths or pressures are looked at.
    """

    decoded: bool = True
    name: str = "units"

    def look(self, recording: Recording) -> tuple[str, dict[str, list[Scale]]]:
        """The scale of each vector and channel."""
        return scales.look(recording, self.decoded)

    def judge(self, facts: Mapping[str, object], people: Mapping[str, str]) -> list[Finding]:
        """Other units, a finding for each person and stream."""
        every: dict[str, Facts] = dict(facts)  # type: ignore[arg-type]
        findings = []
        for stream in sorted({name for _, found in every.values() for name in found}):
            of_stream = scales.of_stream(every, stream, people)
            told = {} if not of_stream.labels else self._of_people(stream, of_stream, people)
            findings += list(told.values())
            if of_stream.labels:
                findings += self._of_recordings(stream, of_stream, people, set(told))
                most = [[scale.most for scale in every[name][1][stream]] for name in of_stream.rows]
                findings += self._absolute(stream, of_stream, middle(np.array(most)))
        return findings

    def _of_people(self, stream: str, found: Scales, people: Mapping[str, str]) -> dict[str, Finding]:
        """By person."""
        table = seen(found.rows, people)
        if table is None:
            return {}
        off = apart(table, found.floors)
        told: dict[str, Finding] = {}
        for place, person in enumerate(off.people):
            hits = [
                (bool(found.constant[number]), float(off.clear[place, number]), number, units)
                for number, shift in enumerate(off.off[place])
                if off.clear[place, number] >= CLEAR and (units := found.conversion(number, shift))
            ]
            if not hits:
                continue
            constant, _, number, units = max(hits)
            shift = float(off.off[place, number])
            told[person] = Finding(
                self.name,
                "fault",
                f"person {person}, {stream}",
                float(off.sure[place, number]),
                f"The {'length' if constant else 'spread'} of {stream}{found.which(number)} is "
                f"{_times(shift)} that of "
                f"{of_people(len(off.people) - 1)}, as {units} would be.",
                HARM,
                "Bring this person's readings to the others' unit."
                + (" With so few people, look which is right." if len(off.people) < FEW else ""),
            )
        return told

    def _of_recordings(
        self, stream: str, found: Scales, people: Mapping[str, str], told: set[str]
    ) -> list[Finding]:
        """Single recordings that are a factor off what others' say, where their person is not."""
        table = seen(found.rows, people)
        if table is None or len(set(table.people)) < FEW:
            return []
        residuals = table.values - expected(table)
        bars = STRAYS * np.fmax(MAD * middle(np.abs(residuals)), found.floors)
        odd = {
            name: (units, int(number), float(row[number]))
            for name, person, row in zip(table.names, table.people, residuals, strict=True)
            if person not in told
            for number in np.flatnonzero(np.abs(row) > bars)
            if (units := found.conversion(int(number), row[number]))
        }
        if not odd:
            return []
        worst = next(iter(odd))
        units, number, shift = odd[worst]
        return [
            Finding(
                self.name,
                "fault",
                f"{recordings(list(odd))}: {stream}",
                1 - 1 / len(set(table.people)),
                f"The scale of {stream}{found.which(number)} in {worst} is {_times(shift)} that of "
                "others' recordings, "
                f"as {units} would be.",
                HARM,
                "Bring these recordings' readings to the others' unit.",
            )
        ]

    def _absolute(self, stream: str, found: Scales, most: np.ndarray) -> list[Finding]:
        """What all recordings say that cannot be."""
        lengths = np.exp(middle(np.array([row for _, row in found.rows.values()])))
        constant = found.constant
        findings = []
        for number, label in enumerate(found.labels):
            said = label.lower()
            claims = [
                (unit, length) for form, unit, length in CLAIMS if any(map(form.search, said.split(", ")))
            ]
            first = number == 0 and label.startswith("channel")
            if constant[number] and (first or "acc" in said) and not MOVED_ALONE.search(said):
                why = [
                    how for length, how in CANNOT_BE.items() if abs(math.log(lengths[number] / length)) < NEAR
                ]
                claimed = [
                    f"not {plain(length)} as {unit} would be"
                    for unit, length in claims
                    if abs(math.log(lengths[number] / length)) > 2 * NEAR
                ]
                for reason in why or claimed:
                    findings.append(
                        self._cannot_be(
                            stream,
                            label,
                            f"At rest it measures {plain(lengths[number])}, "
                            + (f"which no unit gives: it looks like {reason}" if why else reason),
                        )
                    )
            if TURN.search(said) and RAD.search(said) and most[number] > MOST_RAD_S:
                findings.append(
                    self._cannot_be(
                        stream,
                        label,
                        f"It turns by up to {plain(most[number])} rad/s, more than any limb does",
                    )
                )
        return findings

    def _cannot_be(self, stream: str, label: str, what: str) -> Finding:
        return Finding(
            self.name,
            "warning",
            f"all recordings, {stream}",
            0.9,
            f"{stream} ({label}): {what}.",
            "Thresholds and augmentations in physical units are off; features that were trained on right "
            "units fail.",
            "Find out the unit and convert the column.",
        )


def _times(shift: float) -> str:
    """How much larger or smaller something is, from a natural logarithm."""
    return f"{plain(math.exp(abs(shift)))} times {'larger' if shift > 0 else 'smaller'} than"

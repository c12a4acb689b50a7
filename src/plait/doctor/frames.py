"""Pictures: doubled, frozen or dark ones, and people whose video is mirrored or upside down.

Of a long video bursts of neighbours are looked at, spread evenly, so a fault of a few seconds may be missed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from plait.doctor.films import Film, by_stream, look, unit
from plait.doctor.finding import Finding, Severity
from plait.doctor.peers import ENOUGH, apart, of_people, plain, seen, usual
from plait.doctor.words import recordings
from plait.types import Recording

DOUBLED = 0.1  # share of pictures that repeat the one before, from which on a rate was made up
LONG_S = 2.0  # where pictures come twice by chance, some come more often: up to so long
DARK, FLAT = 16.0, 4.0  # of 256 levels: mean, and standard deviation over rows and columns
SAME = 0.1  # correlation by which a map must fit better one way than the other


@dataclass(frozen=True)
class RepeatedFrames:
    """Pictures that repeat the one before: a frame rate that was made up, or a camera that stands still.

    A picture repeats if it changes by no more than 2 % of the recording's usual change. Frozen: more than
    four in a row, for longer than five times what 95 % of other people's recordings show, at least 0.25 s.
    Doubled: a tenth of pictures (five times the others' usual, where that is more).
    """

    name: str = "repeated-frames"

    def look(self, recording: Recording) -> tuple[str, dict[str, Film]]:
        """Each stream of pictures in a few numbers."""
        return look(recording)

    def judge(self, facts: Mapping[str, object], people: Mapping[str, str]) -> list[Finding]:
        """Doubled and frozen pictures, a finding for each stream and way."""
        findings = []
        for stream, films in by_stream(facts).items():
            table = seen(
                {name: ("", [film.frozen_s, film.repeated]) for name, (_, film) in films.items()}, people
            )
            if table is None:
                continue
            frozen_s, repeated = table.values.T
            frozen_bars = usual(table, 0.25, times=5.0)[:, 0]
            bars = usual(table, DOUBLED, times=5.0)[:, 1]
            still = frozen_s > frozen_bars
            doubled = repeated > bars
            still &= ~doubled | (frozen_s > LONG_S)
            if still.any():
                worst = int(np.argmax(np.where(still, frozen_s, 0)))
                findings.append(
                    Finding(
                        self.name,
                        "warning",
                        f"{recordings([n for n, s in zip(table.names, still, strict=True) if s])}: {stream}",
                        float(np.clip(1 - 0.5 * frozen_bars[worst] / frozen_s[worst], 0, 0.99)),
                        f"{stream} shows one picture for {plain(frozen_s[worst])} s in "
                        f"{table.names[worst]}; up to "
                        f"{plain(frozen_bars[worst])} s would be usual.",
                        "Clips there show a person who stands still.",
                        "Leave the stretch out: shorten its labels.",
                    )
                )
            if doubled.any():
                worst = int(np.argmax(np.where(doubled, repeated, 0)))
                findings.append(
                    Finding(
                        self.name,
                        "warning",
                        f"{recordings([n for n, s in zip(table.names, doubled, strict=True) if s])}: "
                        f"{stream}",
                        float(np.clip(1 - 0.5 * bars[worst] / repeated[worst], 0, 0.99)),
                        f"{100 * repeated[worst]:.0f} % of the pictures of {stream} repeat the one before in "
                        f"{table.names[worst]}; up to {100 * bars[worst]:.0f} % would be usual.",
                        "The rate was made up: motion goes in jerks, and moments are off by up to a picture.",
                        "Take the rate at which pictures differ, or record anew.",
                    )
                )
        return findings


@dataclass(frozen=True)
class DarkVideo:
    """Pictures are dark or blank: nothing is seen.

    Of 256 levels: a mean below 16, or all of the picture within a standard deviation of 4. Others are
    compared: a person's mean level below a quarter of the others', the spread over the picture below a
    quarter too.
    """

    name: str = "dark-video"

    def look(self, recording: Recording) -> tuple[str, dict[str, Film]]:
        """Each stream of pictures in a few numbers."""
        return look(recording)

    def judge(self, facts: Mapping[str, object], people: Mapping[str, str]) -> list[Finding]:
        """Dark recordings and people, a finding for each stream and way."""
        findings = []
        for stream, films in by_stream(facts).items():
            dark = [
                name
                for name, (_, film) in films.items()
                if (film.levels == 256 and (film.level < DARK or film.contrast < FLAT)) or film.contrast == 0
            ]
            if dark:
                worst = min(dark, key=lambda name: films[name][1].contrast)
                film = films[worst][1]
                findings.append(
                    self._found(
                        "fault",
                        f"{recordings(dark)}: {stream}",
                        0.95,
                        f"{stream} is blank or dark in {worst}: its mean level is {plain(film.level)}"
                        f"{' of 255' if film.levels else ''}, its spread over the picture "
                        f"{plain(film.contrast)}.",
                    )
                )
            bright = {name: film for name, film in films.items() if name not in dark and film[1].levels}
            table = seen(
                {
                    name: (done, np.log([max(film.level, 1e-6), max(film.contrast, 1e-6)]))
                    for name, (done, film) in bright.items()
                },
                people,
            )
            if table is None:
                continue
            off = apart(table, 0.3)
            for person, shift, clear, sure in zip(off.people, off.off, off.clear, off.sure, strict=True):
                if (shift < -math.log(4)).all() and clear.min() >= 0.8:
                    findings.append(
                        self._found(
                            "warning",
                            f"person {person}, {stream}",
                            float(sure.min()),
                            f"{stream} of person {person} has {plain(100 * math.exp(shift[0]))} % of the "
                            "light of "
                            f"{of_people(len(off.people) - 1)}, and {plain(100 * math.exp(shift[1]))} % "
                            "of the contrast.",
                        )
                    )
        return findings

    def _found(self, severity: Severity, where: str, sure: float, what: str) -> Finding:
        return Finding(
            self.name,
            severity,
            where,
            sure,
            what,
            "A network sees nothing there, or sees the dark for an activity.",
            "Leave the video of these recordings out (`missing`), or stretch its levels.",
        )


@dataclass(frozen=True)
class MirroredVideo:
    """A person's video is mirrored, upside down, or turned by half, as against the others'.

    Maps of the mean picture and of what moves, 24 x 24, are correlated with the others' (their mean, within
    an activity where three others did it) as they are and turned. A turned one must fit better by 0.1 in the
    median recording, in nine of ten recordings, while the others fit better as they are. What looks alike
    both ways cannot be told, nor can a scene that is another for everyone: then nothing is said.
    """

    name: str = "mirrored-video"

    def look(self, recording: Recording) -> tuple[str, dict[str, Film]]:
        """Each stream of pictures in a few numbers."""
        return look(recording)

    def judge(self, facts: Mapping[str, object], people: Mapping[str, str]) -> list[Finding]:
        """Mirrored people, a finding for each person and stream."""
        findings = []
        for stream, films in by_stream(facts).items():
            gains = _gains(films, people)
            table = seen({name: ("", list(gain)) for name, gain in gains.items()}, people)
            if table is None:
                continue
            owners = np.array(table.people)
            everyone = sorted(set(table.people))
            middle = {one: np.nanmedian(table.values[owners == one], axis=0) for one in everyone}
            for person in everyone:
                own = table.values[owners == person]
                others = np.array([middle[one] for one in everyone if one != person])
                if len(others) < 2 or not np.isfinite(own).any():
                    continue
                way = int(np.nanargmax(middle[person]))
                gain, votes = float(middle[person][way]), float((own[:, way] > 0).mean())
                against = float((others[:, way] < 0).mean())
                if gain > SAME and votes >= 0.9 and against >= 0.75 and np.median(others[:, way]) < -SAME:
                    findings.append(self._found(stream, person, WAYS[way], gain, votes, against, len(others)))
        return findings

    def _found(
        self, stream: str, person: str, way: str, gain: float, votes: float, against: float, others: int
    ) -> Finding:
        sure = votes * against * (1 - 1 / (others + 1))
        return Finding(
            self.name,
            "warning",
            f"person {person}, {stream}",
            float(np.clip(sure, 0, 0.99)),
            f"{stream} of person {person} fits that of {of_people(others)} better {way}: by {plain(gain)} in "
            f"correlation, in {100 * votes:.0f} % of recordings.",
            "Left and right are taken for each other: activities that differ in nothing else are mixed up "
            "for this person.",
            "Look at a picture; turn the video back when reading it.",
        )


WAYS = ("mirrored", "upside down", "turned by half")


def _gains(films: Mapping[str, tuple[str, Film]], people: Mapping[str, str]) -> dict[str, tuple[float, ...]]:
    """By how much each recording's maps fit the others' better in each of `WAYS` than as they are."""
    own_maps = {name: np.array(film.maps) for name, (_, film) in films.items()}
    sums: dict[tuple[str, str], np.ndarray] = {}
    for name, (done, _) in films.items():
        for group in {done, "\0"}:
            key = people[name], group
            sums[key] = sums.get(key, 0) + own_maps[name]
    means = {key: np.array([unit(one) for one in total]) for key, total in sums.items()}
    gains = {}
    for name, (done, _) in films.items():
        alike = [one for (person, group), one in means.items() if group == done and person != people[name]]
        if len(alike) < ENOUGH:
            alike = [
                one for (person, group), one in means.items() if group == "\0" and person != people[name]
            ]
        if not alike:
            continue
        reference = np.array([unit(one) for one in np.mean(alike, axis=0)])
        own = own_maps[name]
        turned = (own[:, :, ::-1], own[:, ::-1], own[:, ::-1, ::-1])
        fit = float((own * reference).sum()) / len(own)
        gains[name] = tuple(float((one * reference).sum()) / len(own) - fit for one in turned)
    return gains

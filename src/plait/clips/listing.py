"""The clips of a data set, what of it became none, and which sensors a clip lacks: no file is decoded."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from plait.clips.dropped import AFTER, BEFORE, GAP, NO_STREAM, SHORT, UNLABELLED, by_reason, described, told
from plait.clips.people import People, Side, check_names, check_recordings
from plait.clips.presence import Lack, Sensors
from plait.clips.windows import longest_s
from plait.errors import ConfigError, DataError, own_code
from plait.names import plain
from plait.recordings.same_columns import Columns, columns_of
from plait.types import Clip, Dataset, Dropped, Missing, Modality, Recording

Cut = tuple[Recording, Clip]


class Listing(NamedTuple):
    """The clips, each with its recording, what was dropped, what else to know, and what clips lack."""

    cuts: list[Cut]
    dropped: list[Dropped]
    notes: list[str]
    lacking: Sequence[Lack] = ()

    def told(self, activities: Sequence[str] = ()) -> list[str]:
        """All that is to be said of it, in lines; `activities` are those that are expected."""
        clips = [clip for _, clip in self.cuts]
        lines = self.notes + told(self.dropped, clips, activities)
        if self.lacking:
            whys, few = [lack.why for lack in self.lacking], sum(bool(clip.lacks) for clip in clips)
            lines.append(f"{few} of {len(clips)} clips lack a sensor and are kept: {by_reason(whys)}")
            lines += described(whys)
        return lines


def listed(dataset: Dataset, data: Path, modalities: Sequence[str]) -> list[Cut]:
    """The clips of every recording in `data`: those of `survey`.

    Raises:
        DataError: as it does.
    """
    return survey(dataset, data, modalities).cuts


def survey(
    dataset: Dataset,
    data: Path,
    modalities: Sequence[str],
    *,
    needed: Sequence[str] | None = None,
    people: People | None = None,
    by: Side = "subject",
    missing: Missing = "drop",
) -> Listing:
    """The clips of every recording in `data`, and what was dropped.

    Where all modalities have `rate_hz=None`, every span is one clip. Otherwise a clip is as long as the
    longest window, and a span holds as many as fit, back to back; what is left over belongs to no clip.

    Args:
        dataset: whose `recordings` open `data`, and whose activities the spans are labelled with.
        data: the folder.
        modalities: names of those that the clips are for.
        needed: names of those that a clip must have something of; by default all.
        people: persons under two names are looked for, and merged or refused as it says; by default not.
        by: what folds are made of; where it is sessions, every recording must name one.
        missing: what becomes of a clip that lacks some of `needed`. It is dropped; or kept, unless it lacks
            all of them; or it is refused, and so is whatever was dropped before for a sensor's sake.

    Raises:
        DataError: no clips, an unknown activity, a stream that no recording has, a modality that no clip has,
            two clips of one name, one that is refused, logs with their columns in different orders, or what
            `check_names` and `check_recordings` refuse.
    """
    chosen = [dataset.modality(name) for name in modalities]
    wanted = chosen if needed is None else [dataset.modality(name) for name in needed]
    streams = [stream for modality in wanted for stream in modality.streams]
    cuts: list[Cut] = []
    dropped: list[Dropped] = []
    lacking: list[Lack] = []
    opened: list[Recording] = []
    subjects: set[str] = set()
    spelled = {plain(activity): activity for activity in dataset.activities}
    columns = Columns()
    for recording in opened_by(dataset, data):
        columns.check(columns_of(recording.streams), f"{data}: recording {recording.name}", streams)
        columns.compare_units(recording.streams, f"{data}: recording {recording.name}", streams)
        subject = plain(recording.subject)
        subjects.add(subject)
        recording = replace(recording, subject=people.called(subject) if people else subject)
        if by == "session" and recording.spans and not plain(recording.session):
            unnamed = f"{data}: recording {recording.name}: names no session"
            raise DataError(f"{unnamed}, expected one, for sessions are left out")
        opened.append(recording)
        dropped += [replace(drop, subject=recording.subject) for drop in recording.dropped]
        sensors = Sensors(recording, wanted, asked=missing != "drop")
        for clip in _clips(recording, chosen, dropped):
            activity = spelled.get(plain(clip.activity))
            if activity is None:
                got = f"recording {recording.name}: activity {clip.activity!r}"
                raise DataError(f"{data}: {got}, expected one of: {', '.join(dataset.activities)}")
            clip = replace(clip, activity=activity)
            lost = list(sensors.lacks(clip))
            if lost and (missing != "without" or len(lost) == len(wanted)):
                dropped.append(lost[0].why)
            else:
                cuts.append((recording, replace(clip, lacks=tuple(lack.modality for lack in lost))))
                lacking += lost
    for stream in streams:
        if opened and all(stream not in recording.streams for recording in opened if recording.streams):
            first = next((recording for recording in opened if recording.streams), opened[0])
            got = ", ".join(first.streams) or "none"
            raise DataError(f"{data}: recording {first.name}: no stream {stream!r}, got: {got}")
    if missing == "refuse":
        _refuse_lost(data, dropped, streams)
    if not cuts:
        length = longest_s(chosen)
        long = "" if length is None else f" of {length:g} s or more"
        expected = f"expected at least one labelled span{long}"
        raise DataError(
            "; ".join([f"{data}: no clips of data set {dataset.name}, {expected}", *told(dropped, [])[:2]])
        )
    for modality in wanted:
        if not any(clip.holds([modality.name]) for _, clip in cuts):
            whys = [lack.why for lack in lacking if lack.modality == modality.name]
            raise DataError(f"{data}: no clip has anything of {modality.name}: {by_reason(whys)}")
    names: set[str] = set()
    for _, clip in cuts:
        if clip.name in names:
            raise DataError(f"{data}: two clips are called {clip.name!r}, expected names that differ")
        names.add(clip.name)
    if people is None:
        return Listing(cuts, dropped, [], lacking)
    check_names(data, opened, people, dataset.activities, by)
    notes = people.unknown(subjects) + check_recordings(data, opened, people, by)
    return Listing(cuts, dropped, notes, lacking)


def _refuse_lost(data: Path, dropped: Sequence[Dropped], streams: Sequence[str]) -> None:
    """Refuse windows that were dropped for want of one of `streams`."""
    lost = [
        drop
        for drop in dropped
        if drop.reason in (NO_STREAM, BEFORE, AFTER, GAP)
        and (drop.stream is None or drop.stream.partition(" (")[0] in streams)
    ]
    if lost:
        name = lost[0].recording
        of_first = [replace(drop, activity=None) for drop in lost if drop.recording == name]
        count, _, why = described(of_first)[0].strip().removeprefix(f"{name}: ").partition(": ")
        more = len({drop.recording for drop in lost} - {name})
        others = f", and so do some of {more} more recordings" if more else ""
        raise DataError(
            f"{data}: recording {name}: {count} windows lack a sensor: {why}{others}; expected every sensor "
            "throughout, or missing = 'drop' or 'without'"
        )


def opened_by(dataset: Dataset, data: Path) -> Iterator[Recording]:
    """The recordings of a data set, whose code may be a user's.

    Raises:
        ConfigError: that code fails, or gives something else.
    """
    where = f"{data}: data set {dataset.name}: its recordings"
    with own_code(where):
        for recording in dataset.recordings(data):
            if not isinstance(recording, Recording):
                raise ConfigError(f"{where}: a {type(recording).__name__} among them, expected Recording")
            yield recording


def _clips(recording: Recording, modalities: Sequence[Modality], dropped: list[Dropped]) -> Iterator[Clip]:
    """The clips of one recording, a lone one called like it; spans that hold none go to `dropped`."""
    length = longest_s(modalities)
    about = recording.name, recording.subject
    spans: list[tuple[float, float, str]] = []
    for span in recording.spans:
        if length is None:
            spans.append((span.start_s, span.stop_s, span.activity))
            continue
        starts = span.start_s + length * np.arange(int((span.stop_s - span.start_s) / length + 1e-6))
        spans += [(float(start), float(start + length), span.activity) for start in starts]
        if not len(starts):
            dropped.append(Dropped(*about, span.activity, SHORT))
    if not recording.spans and not recording.dropped:
        dropped.append(Dropped(*about, None, UNLABELLED))
    for number, (start, stop, activity) in enumerate(spans):
        name = recording.name if len(spans) == 1 else f"{recording.name}/{number:04d}"
        session = plain(recording.session)
        yield Clip(name, recording.name, recording.subject, activity, start, stop, session)

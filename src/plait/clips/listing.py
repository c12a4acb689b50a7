"""The clips of a data set, and what of it became none: no reading is touched."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from plait.clips.dropped import NO_STREAM, SHORT, UNLABELLED, told
from plait.clips.people import People, Side, check_names, check_recordings
from plait.clips.windows import longest_s
from plait.errors import ConfigError, DataError, own_code
from plait.names import plain
from plait.types import Clip, Dataset, Dropped, Modality, Recording

Cut = tuple[Recording, Clip]


class Listing(NamedTuple):
    """The clips, each with its recording, what was dropped, and what else a person should know."""

    cuts: list[Cut]
    dropped: list[Dropped]
    notes: list[str]

    def told(self, activities: Sequence[str] = ()) -> list[str]:
        """All that is to be said of it, in lines; `activities` are those that are expected."""
        return self.notes + told(self.dropped, [clip for _, clip in self.cuts], activities)


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
) -> Listing:
    """The clips of every recording in `data`, and what was dropped.

    Where all modalities have `rate_hz=None`, every span is one clip. Otherwise a clip is as long as the
    longest window, and a span holds as many as fit, back to back; what is left over belongs to no clip.

    Args:
        dataset: whose `recordings` open `data`, and whose activities the spans are labelled with.
        data: the folder.
        modalities: names of those that the clips are for.
        needed: names of those whose streams a recording must have, or it is dropped; by default all.
        people: persons under two names are looked for, and merged or refused as it says; by default not.
        by: what folds are made of; where it is sessions, every recording must name one.

    Raises:
        DataError: no clips, an unknown activity, a stream that no recording has, two clips of one name, or
            what `check_names` and `check_recordings` refuse.
    """
    chosen = [dataset.modality(name) for name in modalities]
    streams = [s for m in (modalities if needed is None else needed) for s in dataset.modality(m).streams]
    cuts: list[Cut] = []
    dropped: list[Dropped] = []
    opened: list[Recording] = []
    subjects: set[str] = set()
    spelled = {plain(activity): activity for activity in dataset.activities}
    for recording in opened_by(dataset, data):
        subject = plain(recording.subject)
        subjects.add(subject)
        recording = replace(recording, subject=people.called(subject) if people else subject)
        if by == "session" and recording.spans and not plain(recording.session):
            unnamed = f"{data}: recording {recording.name}: names no session"
            raise DataError(f"{unnamed}, expected one, for sessions are left out")
        opened.append(recording)
        dropped += [replace(drop, subject=recording.subject) for drop in recording.dropped]
        missing = next((stream for stream in streams if stream not in recording.streams), None)
        for clip in _clips(recording, chosen, dropped):
            activity = spelled.get(plain(clip.activity))
            if activity is None:
                got = f"recording {recording.name}: activity {clip.activity!r}"
                raise DataError(f"{data}: {got}, expected one of: {', '.join(dataset.activities)}")
            if missing is None:
                cuts.append((recording, replace(clip, activity=activity)))
            else:
                about = recording.name, recording.subject
                dropped.append(Dropped(*about, activity, NO_STREAM, stream=missing))
    for stream in streams:
        if opened and all(stream not in recording.streams for recording in opened if recording.streams):
            first = next((recording for recording in opened if recording.streams), opened[0])
            got = ", ".join(first.streams) or "none"
            raise DataError(f"{data}: recording {first.name}: no stream {stream!r}, got: {got}")
    if not cuts:
        length = longest_s(chosen)
        long = "" if length is None else f" of {length:g} s or more"
        expected = f"expected at least one labelled span{long}"
        raise DataError(
            "; ".join([f"{data}: no clips of data set {dataset.name}, {expected}", *told(dropped, [])[:2]])
        )
    names: set[str] = set()
    for _, clip in cuts:
        if clip.name in names:
            raise DataError(f"{data}: two clips are called {clip.name!r}, expected names that differ")
        names.add(clip.name)
    if people is None:
        return Listing(cuts, dropped, [])
    check_names(data, opened, people, dataset.activities)
    return Listing(cuts, dropped, people.unknown(subjects) + check_recordings(data, opened, people, by))


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

"""Pictures of a prediction's recordings: files beside it, and figures on a run's page."""

from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, NamedTuple
from urllib.parse import quote as in_address

import numpy as np
import polars as pl
from pydantic import Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from plait.errors import DataError, PlaitError, first_fault
from plait.names import likest, natural, plain
from plait.recogniser.card import called
from plait.recogniser.predict import PREDICTED, SCORES, Predicted, Whole, read_predicted
from plait.recogniser.recognise import recognise, rows_of
from plait.recogniser.timeline import TIMELINE, read_timeline
from plait.recogniser.writers import SEGMENTS, file_stems
from plait.report.drawing import WIDTHS_IN, for_page
from plait.report.timeline import Slots, legend, timeline_figure, write_timeline_picture
from plait.results import TIMELINES, MethodFacts, row_key
from plait.store import read_json
from plait.types import Segment, Span

MOST = 6  # recordings of a prediction that a page shows


Share = Annotated[float, Field(ge=0, le=1)]


@checked(frozen=True)
class _Frames:
    """What a page says of `scores.json`."""

    accuracy: Share | None
    accuracy_labelled: Share | None


class Picture(NamedTuple):
    """What `timeline_figure` is given, in its order."""

    title: str
    activities: tuple[str, ...]
    slots: Slots
    segments: list[Segment]
    labels: tuple[Span, ...]


class Brief(NamedTuple):
    """A recording's picture without its scores.

    Args:
        figures: SVG by the name of its width, as in `WIDTHS_IN`.
        colours: what colours stand for, by activity, as `timeline.legend`.
    """

    figures: dict[str, str]
    colours: dict[str, str]


class Drawn(NamedTuple):
    """A recording on a page.

    Args:
        name: its name.
        whole: as it was predicted.
        figures: SVG by the name of its width, as in `WIDTHS_IN`.
        picture: what they are of; None where there is nothing to draw.
        windows: that the model saw.
        stranger: whether nobody of its subject's name, or one that looks like it, trained the model or took
            part in the study, as far as that is known.
        alike: who did, and is called otherwise than its subject, but so that both may be one.
    """

    name: str
    whole: Whole
    figures: dict[str, str]
    picture: Picture | None
    windows: int
    stranger: bool
    alike: str


class Shown(NamedTuple):
    """A prediction on a page.

    Args:
        folder: within the run's.
        predicted: what `predict.json` says.
        decoding: how windows became segments, in words.
        recordings: the first `MOST`.
        accuracy: share of right frames; None where nobody has scored them, or none is labelled.
        accuracy_labelled: the same of the frames with a label.
        files: what stands in its folder, and its address.
        of_run: whether its model is the run's method of that name, with its settings, fitted by the run.
    """

    folder: str
    predicted: Predicted
    decoding: str
    recordings: list[Drawn]
    accuracy: float | None
    accuracy_labelled: float | None
    files: dict[str, str]
    of_run: bool


def write_pictures(out: Path) -> list[Path]:
    """A picture `NAME.svg` of each recording of the prediction in `out`, unless it stands there.

    Raises:
        DataError: a file of the prediction is missing or damaged, or a picture cannot be written.
    """
    predicted = read_predicted(out)
    table = read_timeline(out, predicted.activities)
    pictures = []
    for name, stem in file_stems(predicted.recordings).items():
        path = out / f"{stem}.svg"
        rows, labels = rows_of(table, name), predicted.recordings[name].spans
        if not path.exists() and (len(rows) or labels):
            try:
                write_timeline_picture(path, *_picture(predicted, name, rows))
            except PlaitError as error:
                raise type(error)(f"{path}: {error}") from error
        pictures.append(path)
    return pictures


def shown(
    run: Path | None, took_part: Collection[str], methods: Mapping[str, MethodFacts] = MappingProxyType({})
) -> list[Shown]:
    """The predictions in a run's folder `timelines`, for its page; none where there are none.

    Args:
        run: its folder.
        took_part: everybody who trained, validated or was tested in it.
        methods: of the run.

    Raises:
        DataError: a file of a prediction is missing or damaged.
    """
    if run is None or not (run / TIMELINES).is_dir():
        return []
    folders = [file.parent for file in (run / TIMELINES).glob(f"*/{PREDICTED}")]
    ordered = sorted(folders, key=lambda folder: natural(folder.name))
    return [_shown(folder, took_part, methods) for folder in ordered]


def _shown(folder: Path, took_part: Collection[str], methods: Mapping[str, MethodFacts]) -> Shown:
    predicted = read_predicted(folder)
    table = read_timeline(folder, predicted.activities)
    known = {*took_part, *predicted.trained_on}
    stems, within = file_stems(predicted.recordings), f"{TIMELINES}/{folder.name}"
    drawn = []
    for name, whole in list(predicted.recordings.items())[:MOST]:
        rows = rows_of(table, name)
        figures, picture = {}, None
        if len(rows) or whole.labels:
            try:
                picture = _picture(predicted, name, rows)
                figures = _figures(picture)
            except PlaitError as error:
                raise type(error)(f"{folder / PREDICTED}: {error}") from error
        other = likest(whole.subject, known) if whole.subject else None
        stranger = bool(predicted.trained_on and whole.subject) and other is None
        alike = other if other is not None and plain(other) != plain(whole.subject) else ""
        drawn.append(Drawn(name, whole, figures, picture, len(rows), stranger, alike))
    accuracy, accuracy_labelled = _accuracies(folder / SCORES)
    eaf = [f"{stems[one.name]}.eaf" for one in drawn]
    files = [name for name in (SEGMENTS, *eaf, TIMELINE, PREDICTED, SCORES) if (folder / name).is_file()]
    return Shown(
        within,
        predicted,
        called(predicted.decoding),
        drawn,
        accuracy,
        accuracy_labelled,
        {name: in_address(f"{within}/{name}") for name in files},
        predicted.method in methods and predicted.row == row_key(methods, predicted.method),
    )


def brief(picture: Picture) -> Brief:
    """A recording's picture in brief."""
    return Brief(_figures(picture, brief=True), legend(*picture[1:]))


def _figures(picture: Picture, brief: bool = False) -> dict[str, str]:
    """SVG of a picture by the name of its width."""
    return {
        key: for_page(timeline_figure(*picture, width_in=width, brief=brief))
        for key, width in WIDTHS_IN.items()
    }


def _picture(predicted: Predicted, name: str, rows: pl.DataFrame) -> Picture:
    """What is drawn of one recording, of which `rows` are the windows."""
    found = recognise(predicted, rows)
    seen = rows["seen"].to_list()
    complete = {*map(frozenset, seen)} <= {frozenset(max(seen, key=len, default=()))}
    slots = Slots(found.slots.starts_s, found.slots.stops_s, found.slots.scores)
    if not complete:  # windows themselves, for slots are of several
        starts, stops = rows["start_s"].to_numpy(), rows["stop_s"].to_numpy()
        slots = Slots(starts, stops, np.array(rows["scores"].to_list()), seen)
    nothing = predicted.unlabelled.activity  # which no segment is of, either
    labels = tuple(span for span in predicted.recordings[name].spans if span.activity != nothing)
    return Picture(name, predicted.activities, slots, found.segments, labels)


def _accuracies(path: Path) -> tuple[float | None, float | None]:
    """The shares of right frames, of all and of the labelled ones, that `plait score` left."""
    if not path.is_file():
        return None, None
    scores = read_json(path, "run `plait score` again")
    try:
        found = TypeAdapter(_Frames).validate_python(scores)
    except ValidationError as error:
        raise DataError(f"{path}: {first_fault(error)}; run `plait score` again") from error
    return found.accuracy, found.accuracy_labelled

"""A prediction against labels: frames, segments and events, as the field scores them."""

import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import polars as pl

from plait.analysis.continuous import Scores, scores
from plait.analysis.stretches import Stretch
from plait.errors import DataError, PlaitError, PlaitWarning
from plait.names import likest, natural, plain
from plait.recogniser.predict import BY_ACTIVITY, PREDICTED, SCORES, Whole, read_predicted
from plait.recogniser.recognise import Reads, recognise, rows_of
from plait.recogniser.timeline import read_timeline
from plait.store import checksum, write_csv, write_json
from plait.types import Segment, Span

STEP_S = 0.1  # between two frames


def score(out: Path, step_s: float = STEP_S) -> Scores:
    """Score the prediction in `out` against labels; writes `scores.json` and `scores.csv`.

    Recordings without labels are left aside. Where unlabelled time is an activity of its own, that is null;
    where it is refused, it is null; where it is left out, it has no length (`Stretch.leave_out`). A line says
    so where the model was trained on somebody who is scored, or whose name looks like theirs; `trained_on`
    of `scores.json` has whom each of them is, or null where people have no names. Labels are those that were
    read with the prediction; a line says so where their file is known and has changed since.

    Args:
        out: what `plait predict` left.
        step_s: between two frames.

    Raises:
        DataError: no recording has labels, or a file is missing or damaged.
    """
    predicted = read_predicted(out)
    table = read_timeline(out, predicted.activities)
    stretches = []
    try:
        for name, whole in predicted.recordings.items():
            if whole.labels:
                for line in _changed(whole):
                    warnings.warn(f"recording {name}: {line}", PlaitWarning, stacklevel=2)
                found = recognise(predicted, rows_of(table, name)).segments
                extent = whole.start_s, whole.stop_s
                stretches.append(stretch(predicted, name, extent, whole.spans, found))
        result = scores(stretches, named(predicted), step_s) if stretches else None
    except PlaitError as error:
        raise type(error)(f"{out / PREDICTED}: {error}") from error
    if result is None:
        raise DataError(f"{out}: none of {len(predicted.recordings)} recordings has labels to score against")
    values = {key: value for key, value in result._asdict().items() if key != "by_activity"}
    people = [predicted.recordings[one.recording].subject for one in stretches]
    known = trained_on(people, predicted.trained_on)
    if known:
        warnings.warn(f"{out}: {_told(known)}", PlaitWarning, stacklevel=2)
    about = {"recordings": len(stretches), "step_s": step_s, "trained_on": known}
    write_json(out / SCORES, {**values, **about})
    write_csv(out / BY_ACTIVITY, result.by_activity)
    return result


def _changed(whole: Whole) -> list[str]:
    """That the file of a recording's labels is another than when it was predicted, if it is."""
    path = Path(whole.labels_file or "")
    with suppress(DataError):
        if whole.labels_file is not None and path.is_file() and checksum(path) != whole.labels_sha256:
            return [f"labels as of the prediction; {path} has changed since: run `plait predict` again"]
    return []


def trained_on(people: Sequence[str], trained: Sequence[str]) -> dict[str, str] | None:
    """Whom of those it was `trained` on a model is scored on: by name, the one who is, or looks, the same.

    None where that is not known: nobody is named on one side, or not everybody on the other.
    """
    if not trained or not all(people):
        return None
    found = {name: likest(name, trained) for name in sorted(set(people), key=natural)}
    return {name: other for name, other in found.items() if other is not None}


def _told(known: Mapping[str, str]) -> str:
    """That a model is scored on people whom it has seen, or may have."""
    same = [name for name, other in known.items() if plain(name) == plain(other)]
    alike = [f"{name} ({other} there)" for name, other in known.items() if name not in same]
    parts = [f"the model was trained on {', '.join(same)}"] if same else []
    parts += [f"names look like those of whom it was trained on: {', '.join(alike)}"] if alike else []
    doubt = "" if same else "if they are the same people, "
    return f"{'; '.join(parts)}: {doubt}these scores say nothing of people whom it has not seen"


def named(how: Reads) -> list[str]:
    """The activities that are not null."""
    return [activity for activity in how.activities if activity != how.unlabelled.activity]


def stretch(
    how: Reads,
    recording: str,
    extent: tuple[float, float],
    labels: Sequence[Span],
    found: Sequence[Segment],
) -> Stretch:
    """A recording's labels and what was recognised, as the policy of unlabelled time has it.

    Args:
        how: it was predicted.
        recording: its name.
        extent: from when to when it lasts, in seconds.
        labels: what was done.
        found: what was recognised.
    """
    left_out = how.unlabelled.policy == "leave-out"
    return Stretch(recording, extent, labels, found, how.unlabelled.activity, left_out)


def as_markdown(result: Scores) -> str:
    """The scores as a table for a terminal."""
    rows = [
        ("frames right, labelled ones", result.accuracy_labelled),
        ("frames right, all", result.accuracy),
        ("macro-F1 of labelled frames", result.macro_f1_labelled),
        ("macro-F1 of all frames, null a class", result.macro_f1),
        ("macro-F1 of all frames, over activities", result.macro_f1_activities),
        ("mAP, tIoU 0.3 to 0.7", result.mean_ap),
        *((f"mAP, tIoU {tiou:g}", value) for tiou, value in result.mean_ap_at.items()),
        ("edit score", result.edit),
        *((f"F1@{100 * overlap:g}", value) for overlap, value in result.f1_at.items()),
    ]
    lines = ["| score | % |", "| --- | ---: |"]
    lines += [f"| {name} | {'' if value is None else f'{100 * value:.1f}'} |" for name, value in rows]
    events = ", ".join(f"{kind} {count}" for kind, count in result.events.items())
    said = "Labels are those that were read with the prediction: where they have changed, predict again."
    return "\n".join([*lines, "", f"Events: {events}.", said])


def summary(result: Scores) -> pl.DataFrame:
    """The scores as one row of a table."""
    values = {
        "accuracy": result.accuracy,
        "accuracy_labelled": result.accuracy_labelled,
        "macro_f1": result.macro_f1,
        "macro_f1_labelled": result.macro_f1_labelled,
        "mean_ap": result.mean_ap,
        "edit": result.edit,
        **{f"f1_at_{100 * overlap:g}": value for overlap, value in result.f1_at.items()},
        **result.events,
    }
    return pl.DataFrame({name: [value] for name, value in values.items()})

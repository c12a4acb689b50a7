"""What validation recordings speak for: how slots are decoded, and what is refused."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from plait.clips.windows import ROUNDING_S
from plait.recogniser.decoding import Decoding, decode, highest, refuse
from plait.recogniser.segments import REFUSED, Slots, stretches
from plait.types import Span

MULTIPLES = (1, 2, 3, 5)  # of a window: medians, and shortest stretches
WEIGHTS = (0.25, 0.5, 1.0, 2.0, 4.0)  # of transitions
QUANTILES = tuple(share / 20 for share in range(1, 20))  # of the slots' highest scores
ALIKE = 1e-9  # measures that differ by less are equal
CANDIDATES_TRIED: dict[str, type[pl.DataType]] = {
    "kind": pl.String,
    "seconds": pl.Float64,
    "transitions": pl.Float64,
    "measure": pl.Float64,
    "changed": pl.Float64,
    "stretches": pl.Int64,
}
THRESHOLDS_TRIED: dict[str, type[pl.DataType]] = {
    "threshold": pl.Float64,
    "measure": pl.Float64,
    "refused": pl.Float64,
}
Measure = Callable[[Slots, np.ndarray, Sequence[Span]], float]


class Labelled(NamedTuple):
    """A recording whose labels are known: what a model saw of it, and what was done when."""

    slots: Slots
    spans: Sequence[Span]


def candidates(window_s: float, transitions: bool = True) -> tuple[Decoding, ...]:
    """The decodings that are tried, the simplest first, for a model with windows of `window_s` seconds.

    The highest scores; the median over, and stretches of at least, 1, 2, 3 and 5 windows; Viterbi with steps
    of a window and transitions that weigh 0.25 to 4, if there are `transitions`.
    """
    tried = [Decoding()]
    for kind in ("median", "minimum"):
        tried += [Decoding(kind=kind, seconds=times * window_s) for times in MULTIPLES]
    if transitions:
        tried += [Decoding(kind="viterbi", seconds=window_s, transitions=weight) for weight in WEIGHTS]
    return tuple(tried)


def choose(
    candidates: Sequence[Decoding],
    validation: Sequence[Labelled],
    measure: Measure,
    matrix: ArrayLike | None = None,
    priors: ArrayLike | None = None,
) -> tuple[Decoding, pl.DataFrame]:
    """The candidate with the highest mean measure over recordings, of equals the first; all, as a table.

    The table, `CANDIDATES_TRIED`, has the mean measure (null where there is none), the share of time whose
    label is `changed` against the highest scores', and the number of `stretches` of one label.

    Args:
        candidates: at least one, the simplest first.
        validation: recordings that the model was not trained on.
        measure: from slots, their labels and the spans of a recording to what should be high; NaN where it
            says nothing.
        matrix: of `transition_probabilities`, for `viterbi`.
        priors: likewise.

    Raises:
        DataError: as `decode` does.
    """
    rows = []
    recordings = [slots for slots, _ in validation]
    plain = [highest(slots) for slots in recordings]
    for decoding in candidates:
        labels = [decode(slots, decoding, matrix, priors) for slots in recordings]
        changed = [before != after for before, after in zip(plain, labels, strict=True)]
        count = sum(len(stretches(slots, of)) for slots, of in zip(recordings, labels, strict=True))
        said = decoding.kind, decoding.seconds, decoding.transitions
        rows.append((*said, _mean(measure, validation, labels), _share(recordings, changed), count))
    table = pl.DataFrame(rows, schema=CANDIDATES_TRIED, orient="row")
    return candidates[_first_best(table["measure"])], table


def choose_threshold(
    decoding: Decoding,
    validation: Sequence[Labelled],
    measure: Measure,
    matrix: ArrayLike | None = None,
    priors: ArrayLike | None = None,
) -> tuple[Decoding, pl.DataFrame]:
    """The decoding with the threshold of the highest mean measure, of equals the lowest; all, as a table.

    Tried are no threshold and the `QUANTILES` of the slots' highest scores. The table, `THRESHOLDS_TRIED`,
    has the mean measure and the share of time that is `refused`.

    Args:
        decoding: of which the threshold is chosen.
        validation: recordings that the model was not trained on, unlabelled time and all.
        measure: as in `choose`, one to which it matters what is refused: `macro_f1` with `refusing`.
        matrix: as in `choose`.
        priors: likewise.

    Raises:
        DataError: as `decode` does.
    """
    recordings, unrefusing = [slots for slots, _ in validation], replace(decoding, threshold=None)
    labels = [decode(slots, unrefusing, matrix, priors) for slots in recordings]
    tops = np.concatenate([np.zeros(0), *(slots.scores.max(axis=1) for slots in recordings)])
    thresholds: list[float | None] = [None]
    if len(tops):
        quantiles = np.quantile(tops, QUANTILES, method="inverted_cdf")
        thresholds += np.unique(quantiles.clip(0, 1)).tolist()
    rows = []
    for threshold in thresholds:
        kept = labels
        if threshold is not None:
            kept = [refuse(slots, of, threshold) for slots, of in zip(recordings, labels, strict=True)]
        refused = _share(recordings, [of == REFUSED for of in kept])
        rows.append((threshold, _mean(measure, validation, kept), refused))
    table = pl.DataFrame(rows, schema=THRESHOLDS_TRIED, orient="row")
    return replace(decoding, threshold=thresholds[_first_best(table["measure"])]), table


def _mean(measure: Measure, validation: Sequence[Labelled], labels: Sequence[np.ndarray]) -> float | None:
    """Of a measure over the recordings of which it says something; None: of none."""
    values = [measure(slots, of, spans) for (slots, spans), of in zip(validation, labels, strict=True)]
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else None


def _share(recordings: Sequence[Slots], chosen: Sequence[np.ndarray]) -> float:
    """The share of the time of all slots that the chosen ones fill."""
    whole_s = sum(float(slots.lengths_s.sum()) for slots in recordings)
    part_s = sum(float(slots.lengths_s[of].sum()) for slots, of in zip(recordings, chosen, strict=True))
    return part_s / whole_s if whole_s else 0.0


def _first_best(measures: pl.Series) -> int:
    """Where the highest measure stands, the first of those that equal it but for rounding."""
    values = measures.fill_null(-np.inf).to_numpy()
    return int(np.flatnonzero(values >= values.max() - ALIKE)[0])


def macro_f1(
    slots: Slots,
    labels: np.ndarray,
    spans: Sequence[Span],
    activities: Sequence[str],
    unlabelled: str | None = None,
    refusing: bool = False,
) -> float:
    """The mean F1, over time, of what was done while slots last; NaN where nothing was.

    Classes that never occur do not count by themselves; they cost others recall where they are recognised.

    Args:
        slots: whose time counts.
        labels: of each, a place among `activities` or `REFUSED`, `(slots,)`.
        spans: what was done when; where two overlap, the one that starts later counts.
        activities: in the order of the scores; what else was done counts as nothing.
        unlabelled: the activity of time without a label and of refused slots, if there is one.
        refusing: where there is none, nothing is a class all the same; else only labelled time counts.
    """
    if not len(slots):
        return float("nan")
    places = {activity: place for place, activity in enumerate(activities)}
    classes = len(activities)
    nothing = classes if unlabelled is None else places.get(unlabelled, classes)
    ends_s = np.array([[span.start_s, span.stop_s] for span in spans])
    edges_s = np.unique(np.concatenate([slots.starts_s, slots.stops_s, ends_s.ravel()]))
    middles_s, lengths_s = (edges_s[1:] + edges_s[:-1]) / 2, np.diff(edges_s)
    truth = np.full(len(lengths_s), nothing)
    for span in sorted(spans, key=lambda span: span.start_s):
        first, last = np.searchsorted(edges_s, [span.start_s, span.stop_s])
        truth[first:last] = places.get(span.activity, nothing)
    slot = np.searchsorted(slots.starts_s, middles_s, side="right") - 1
    inside = (slot >= 0) & (middles_s < slots.stops_s[slot])
    guess = np.where(labels == REFUSED, nothing, labels)[slot[inside]]
    seconds = np.zeros((classes + 1, classes + 1))
    np.add.at(seconds, (truth[inside], guess), lengths_s[inside])
    if not refusing:
        seconds[classes] = 0
    occurs = seconds.sum(axis=1) > ROUNDING_S
    both = seconds.sum(axis=0) + seconds.sum(axis=1)
    return float((2 * seconds.diagonal()[occurs] / both[occurs]).mean()) if occurs.any() else float("nan")

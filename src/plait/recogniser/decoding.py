"""A label for each slot: the highest score, or what neighbours make of it.

No way of decoding looks across a gap.
"""

import heapq
from collections.abc import Sequence
from dataclasses import asdict
from itertools import accumulate, islice
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from plait.analysis.calibration import LEAST
from plait.clips.windows import ROUNDING_S
from plait.errors import ConfigError, DataError, first_fault
from plait.recogniser.segments import REFUSED, Slots, stretches
from plait.types import FINEST_S, LONGEST_S, Span

NEEDS = {"none": (), "median": ("seconds",), "minimum": ("seconds",), "viterbi": ("seconds", "transitions")}


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Decoding:
    """How slots get their labels.

    Args:
        kind: `none` takes the highest score (`highest`); the others are functions of this module.
        seconds: of the median, or of the shortest stretch; with `viterbi`, the step of its transitions.
        transitions: with `viterbi`, how much they weigh against the scores.
        threshold: slots whose highest score is below are refused; by default none is.
    """

    kind: Literal["none", "median", "minimum", "viterbi"] = "none"
    seconds: Annotated[float, Field(ge=FINEST_S, le=LONGEST_S)] | None = None
    transitions: Annotated[float, Field(ge=0, le=1e6)] | None = None
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None

    @model_validator(mode="after")
    def _complete(self) -> "Decoding":
        for name in ("seconds", "transitions"):
            value, needed = getattr(self, name), name in NEEDS[self.kind]
            if (value is not None) != needed:
                expected = "a number" if needed else "none"
                raise ValueError(f"{name} is {value} with kind {self.kind!r}, expected {expected}")
        return self

    def table(self) -> dict[str, str | float]:
        """Its settings as a table of a TOML or JSON file, without those that are None."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def read_decoding(table: Any, where: str) -> Decoding:
    """The decoding that `Decoding.table` wrote; `where` is the file and the field, for errors.

    Raises:
        ConfigError: an unknown setting, or a value that it does not take.
    """
    try:
        return TypeAdapter(Decoding).validate_python(table)
    except ValidationError as error:
        raise ConfigError(f"{where}: {first_fault(error)}") from error


def decode(
    slots: Slots, decoding: Decoding, matrix: ArrayLike | None = None, priors: ArrayLike | None = None
) -> np.ndarray:
    """The label of each slot, a place among the classes or `REFUSED`, `(slots,)`.

    Args:
        slots: with the scores.
        decoding: how.
        matrix: of `transition_probabilities`, which `viterbi` needs.
        priors: as `viterbi` takes them.

    Raises:
        DataError: `viterbi` without a matrix, or with one of other classes.
    """
    labels = highest(slots)
    if decoding.kind == "median" and decoding.seconds:
        labels = median(slots, decoding.seconds)
    elif decoding.kind == "minimum" and decoding.seconds:
        labels = minimum(slots, decoding.seconds)
    elif decoding.kind == "viterbi" and decoding.seconds and decoding.transitions is not None:
        if matrix is None:
            raise DataError("decoding: viterbi without transition probabilities, expected a matrix of them")
        labels = viterbi(slots, matrix, decoding.seconds, decoding.transitions, priors)
    return labels if decoding.threshold is None else refuse(slots, labels, decoding.threshold)


def refuse(slots: Slots, labels: np.ndarray, threshold: float) -> np.ndarray:
    """The labels, but `REFUSED` where a slot's highest score is below `threshold`, `(slots,)`."""
    return np.where(slots.scores.max(axis=1, initial=0.0) < threshold, REFUSED, labels)


def highest(slots: Slots) -> np.ndarray:
    """The class with the highest score in each slot, of equals the first, `(slots,)`."""
    places: np.ndarray = slots.scores.argmax(axis=1) if len(slots) else np.zeros(0, dtype=np.int64)
    return places


def median(slots: Slots, seconds: float) -> np.ndarray:
    """The class whose median over the `seconds` around a slot's middle is the highest, `(slots,)`.

    The median is over time: each slot counts as long as it lasts within these seconds, of which those in a
    gap and beyond it are missing. Among slots of one length, an odd number of them gives the usual median.
    """
    labels = []
    for run in slots.runs():
        middles_s = (run.starts_s + run.stops_s) / 2
        from_s, to_s = middles_s - seconds / 2, middles_s + seconds / 2
        firsts = np.searchsorted(run.stops_s, from_s + ROUNDING_S, side="right")
        lasts = np.searchsorted(run.starts_s, to_s - ROUNDING_S)
        for slot, (first, last) in enumerate(zip(firsts, lasts, strict=True)):
            inside_s = np.minimum(run.stops_s[first:last], to_s[slot])
            inside_s -= np.maximum(run.starts_s[first:last], from_s[slot])
            labels.append(_median(run.scores[first:last], inside_s).argmax())
    return np.array(labels, dtype=np.int64)


def _median(values: np.ndarray, lengths_s: np.ndarray) -> np.ndarray:
    """The median of each column over time; where half the time lies below and half above, their mean."""
    order = values.argsort(axis=0, kind="stable")
    ranked = np.take_along_axis(values, order, axis=0)
    passed_s = lengths_s[order].cumsum(axis=0)
    half_s = lengths_s.sum() / 2
    ends = []
    for until_s in (half_s - ROUNDING_S, half_s + ROUNDING_S):
        place = np.minimum((passed_s <= until_s).sum(axis=0), len(values) - 1)
        ends.append(np.take_along_axis(ranked, place[None], axis=0)[0])
    middle: np.ndarray = (ends[0] + ends[1]) / 2
    return middle


def minimum(slots: Slots, seconds: float) -> np.ndarray:
    """The highest scores' classes, without stretches shorter than `seconds`, `(slots,)`.

    The shortest stretch, of equals the first, goes to that neighbour whose class has the higher mean score
    over its time, of equals the earlier one, until none is too short. What lies alone between two gaps stays.
    """
    labels = highest(slots)
    done = 0
    for run in slots.runs():
        labels[done : done + len(run)] = _joined(run, labels[done : done + len(run)], seconds)
        done += len(run)
    return labels


def _joined(run: Slots, labels: np.ndarray, seconds: float) -> np.ndarray:
    """The labels of slots without a gap after short stretches have gone to their neighbours."""
    labels = labels.copy()
    stops = dict(stretches(run, labels))  # by first slot
    earlier = dict(zip(list(stops)[1:], stops, strict=False))
    edges_us = np.rint(np.append(run.starts_s, run.stops_s[-1]) * 1e6).astype(np.int64)
    shortest = [(int(edges_us[stop] - edges_us[first]), first) for first, stop in stops.items()]
    heapq.heapify(shortest)
    while shortest:
        length_us, first = heapq.heappop(shortest)
        stop = stops.get(first)
        if stop is None or length_us != edges_us[stop] - edges_us[first]:
            continue  # it has been joined to another since
        if len(stops) == 1 or length_us > seconds * 1e6 - 2:
            break
        neighbours = [labels[slot] for slot in (first - 1, stop) if 0 <= slot < len(run)]
        scores = run.scores[first:stop, neighbours] * run.lengths_s[first:stop, None]
        labels[first:stop] = label = neighbours[int(scores.sum(axis=0).argmax())]
        if stop in stops and labels[stop] == label:
            stops[first] = stops.pop(stop)
        if first in earlier and labels[first - 1] == label:
            stops[earlier[first]] = stops.pop(first)
            first = earlier[first]
        if stops[first] in stops:
            earlier[stops[first]] = first
        heapq.heappush(shortest, (int(edges_us[stops[first]] - edges_us[first]), first))
    return labels


def viterbi(
    slots: Slots, matrix: ArrayLike, step_s: float, weight: float = 1.0, priors: ArrayLike | None = None
) -> np.ndarray:
    """The most likely course of a hidden Markov model whose states are the classes, `(slots,)`.

    Scores stand for likelihoods (the hybrid of H. Bourlard and N. Morgan, Connectionist Speech Recognition,
    1994). A slot counts `length / step_s` times, so that overlapping windows count no more than others;
    staying for d seconds costs `d / step_s` steps of staying, a change one step, however long its slots
    are. Slots of `step_s` are the textbook's (L. Rabiner, Proc. IEEE 77(2), 1989), with any class to begin.

    Args:
        slots: with the scores, of which none counts as less than 1e-12.
        matrix: `transition_probabilities`, `(classes, classes)`.
        step_s: the seconds of its step.
        weight: of the logarithms of the matrix.
        priors: how often the model saw each class in training, `(classes,)`, by which scores are divided.

    Raises:
        DataError: the matrix or the priors are of other classes, or no probabilities.
    """
    classes = slots.scores.shape[1]
    moves = weight * np.log(_probabilities("transitions", matrix, (classes, classes)))
    stays = np.diag(moves).copy()
    evidence = np.log(np.clip(slots.scores, LEAST, None)) * (slots.lengths_s / step_s)[:, None]
    if priors is not None:
        rare = np.log(_probabilities("priors", priors, (classes,)))
        evidence -= rare * (slots.lengths_s / step_s)[:, None]
    labels: list[int] = []
    for run in slots.runs():
        seen = evidence[len(labels) : len(labels) + len(run)]
        steps = np.diff((run.starts_s + run.stops_s) / 2) / step_s
        labels += _best_course(seen, moves, stays[None] * steps[:, None])
    return np.array(labels, dtype=np.int64)


def _best_course(seen: np.ndarray, moves: np.ndarray, stays: np.ndarray) -> list[int]:
    """The states with the highest sum of what is seen, `(slots, classes)`, and of moves and stays between."""
    total, moves = seen[0], moves.copy()
    origins = np.zeros(seen.shape, dtype=np.int64)
    for slot in range(1, len(seen)):
        np.fill_diagonal(moves, stays[slot - 1])
        sums = total[:, None] + moves
        origins[slot] = sums.argmax(axis=0)
        total = sums.max(axis=0) + seen[slot]
    course = [int(total.argmax())]
    for slot in range(len(seen) - 1, 0, -1):
        course.append(int(origins[slot, course[-1]]))
    return course[::-1]


def _probabilities(name: str, values: ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    """The values as an array of `shape`, none less than 1e-12."""
    array = np.asarray(values, dtype=np.float64)
    if array.shape != shape:
        raise DataError(f"decoding: {name} of shape {array.shape}, expected {shape}")
    if not ((array >= 0) & (array <= 1)).all():
        raise DataError(f"decoding: {name} {array.min()} to {array.max()}, expected 0 to 1")
    return np.clip(array, LEAST, None)


def transition_probabilities(
    timelines: Sequence[Sequence[Span]],
    activities: Sequence[str],
    step_s: float,
    unlabelled: str | None = None,
) -> np.ndarray:
    """How likely each activity is `step_s` seconds after each other one, `(activities, activities)`.

    Pairs of moments `step_s` apart are counted wherever in time the first of them lies, in units of a step,
    and one of each kind is added (Laplace's rule). Rows sum to 1.

    Args:
        timelines: what was done when in each recording.
        activities: in the order of the scores; spans of others count as no label.
        step_s: the seconds of a step, usually those of a window.
        unlabelled: the activity of the time between two labels, if there is one.
    """
    places = {activity: place for place, activity in enumerate(activities)}
    counts = np.ones((len(activities), len(activities)))
    for timeline in timelines:
        spans = [span for span in _filled(timeline, unlabelled) if span.activity in places]
        for number, span in enumerate(spans):
            for later in islice(spans, number, None):
                if later.start_s >= span.stop_s + step_s:
                    break
                start_s = max(span.start_s, later.start_s - step_s)
                pairs = max(0.0, min(span.stop_s, later.stop_s - step_s) - start_s) / step_s
                counts[places[span.activity], places[later.activity]] += pairs
    probabilities: np.ndarray = counts / counts.sum(axis=1, keepdims=True)
    return probabilities


def _filled(timeline: Sequence[Span], unlabelled: str | None) -> list[Span]:
    """Spans in order of time; those of `unlabelled` fill the time between two of them."""
    spans = sorted(timeline, key=lambda span: span.start_s)
    if unlabelled is None:
        return spans
    until_s = accumulate((span.stop_s for span in spans), max)
    gaps = [(stop_s, span.start_s) for stop_s, span in zip(until_s, spans[1:], strict=False)]
    spans += [Span(*gap, unlabelled) for gap in gaps if gap[1] - gap[0] > ROUNDING_S]
    return sorted(spans, key=lambda span: span.start_s)

"""Recordings to score: one by hand, and any second by second, so that loops can tell what a score must be."""

from itertools import groupby

from hypothesis import strategies as st

from plait.analysis.stretches import Stretch
from plait.types import Segment, Span


def stretch(labels, predictions, stop_s=10.0, recording="a", **more):
    spans = [Span(*label) for label in labels]
    return Stretch(recording, (0.0, stop_s), spans, [Segment(*p) for p in predictions], **more)


# Second:      0  1  2     3     4     5     6    7     8    9
# labelled:    .  .  walk  walk  walk  walk  run  run   run  .
# predicted:   .  walk walk walk walk  run   run  walk  .    .
EXAMPLE = stretch(
    [(2, 6, "walk"), (6, 9, "run")], [(1, 5, "walk", 0.9), (5, 7, "run", 0.8), (7, 8, "walk", 0.7)]
)


SECONDS = st.lists(st.sampled_from([None, "walk", "run"]), min_size=1, max_size=24)


def spans(seconds):
    """From and to when, and what, without null."""
    place, found = 0, []
    for activity, group in groupby(seconds):
        length = len(list(group))
        if activity is not None:
            found.append((place, place + length, activity))
        place += length
    return found


@st.composite
def recordings(draw):
    """A name, labelled and predicted seconds, and predicted segments with scores, for some recordings."""
    rows = []
    for number in range(draw(st.integers(1, 3))):
        truth = draw(SECONDS)
        found = draw(
            st.lists(st.sampled_from([None, "walk", "run"]), min_size=len(truth), max_size=len(truth))
        )
        scored = [(*span, draw(st.sampled_from([0.1, 0.5, 0.9]))) for span in spans(found)]
        rows.append((f"r{number}", truth, found, scored))
    return rows


def stretches_of(rows, **more):
    return [
        stretch(spans(truth), scored, float(len(truth)), recording=name, **more)
        for name, truth, _, scored in rows
    ]

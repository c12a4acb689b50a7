from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plait.clips import Windows, place
from plait.clips.windows import filled
from plait.errors import ConfigError, DataError
from plait.types import Readings, Recording, Span


def recording(*spans, stop_s=60.0, subject="anna", name="r", gap=None):
    times = np.arange(0, stop_s, 0.5)
    values = np.ones((len(times), 2))
    if gap:
        values[(times >= gap[0]) & (times <= gap[1])] = np.nan
    return Recording(name, subject, {"s": Readings(times, values)}, spans)


PRESS, PLUG = Span(5.0, 15.5, "press"), Span(20.0, 31.0, "plug")


def starts(windows, *recordings):
    return [[(w.start_s, w.activity) for w in one] for one in place(recordings, windows)]


def test_windows_lie_inside_labels_back_to_back():
    (found,) = starts(Windows(5.0), recording(PRESS, PLUG))
    assert found == [(5.0, "press"), (10.0, "press"), (20.0, "plug"), (25.0, "plug")]
    (found,) = starts(Windows(5.0, stride_s=2.5), recording(PRESS))
    assert found == [(5.0, "press"), (7.5, "press"), (10.0, "press")]


def test_unlabelled_time_is_dropped_or_a_class():
    (found,) = starts(Windows(4.0, unlabelled="neutral"), recording(PRESS, PLUG))
    assert (15.5, "neutral") in found and all(start >= 5 for start, _ in found)
    (found,) = starts(Windows(4.0, unlabelled="neutral", margins=True), recording(PRESS, PLUG))
    assert (0.0, "neutral") in found and found[-1][1] == "neutral" and found[-1][0] + 4 <= 60 + 1e-6
    # neighbours of one activity are one
    (found,) = starts(Windows(4.0, unlabelled="plug"), recording(PRESS, PLUG))
    assert (15.5, "plug") in found and (19.5, "plug") in found


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 28), st.integers(1, 14)), min_size=1, max_size=6), st.booleans())
def test_unlabelled_time_is_where_no_label_is_though_labels_lie_within_others(labels, margins):
    """Behind a label within another one, the rest of the outer was called unlabelled as well."""
    spans = [Span(float(start), float(start + lasts), f"a{i}") for i, (start, lasts) in enumerate(labels)]
    around = (0.0, 50.0) if margins else None
    unlabelled = [span for span in filled(spans, "none", around) if span.activity == "none"]
    first, last = min(s.start_s for s in spans), max(s.stop_s for s in spans)
    for moment in np.arange(0.5, 50):
        labelled = any(span.start_s < moment < span.stop_s for span in spans)
        inside = margins or first < moment < last
        assert sum(s.start_s < moment < s.stop_s for s in unlabelled) == (inside and not labelled)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(1, 8), min_size=1, max_size=6),
    st.floats(0.51, 0.99),
    st.floats(1.0, 6.0),
    st.floats(0.3, 3.0),
)
def test_majority_agrees_with_counting_moments(lengths, purity, seconds, stride):
    edges = np.cumsum([0, *lengths]).astype(float)
    spans = [Span(a, b, f"a{i % 2}") for i, (a, b) in enumerate(pairwise(edges)) if i % 3 != 2]
    one = recording(*spans, stop_s=30.0)
    (found,) = place([one], Windows(seconds, purity, stride_s=stride))
    for start in np.arange(0, 30 - seconds, stride):
        moments = start + (np.arange(4000) + 0.5) / 4000 * seconds
        shares = dict.fromkeys(("a0", "a1"), 0)
        for s in spans:
            shares[s.activity] += ((moments >= s.start_s) & (moments < s.stop_s)).mean()
        best = max(shares, key=shares.get)
        if abs(shares[best] - purity) < 2e-3:
            continue
        kept = [w for w in found if abs(w.start_s - start) < 1e-6]
        assert bool(kept) == (shares[best] > purity)
        if kept:
            assert kept[0].activity == best and abs(kept[0].purity - shares[best]) < 2e-3


@pytest.mark.parametrize("count", [1, 3, 7, 25])
def test_a_count_is_kept_for_every_subject(count):
    windows = Windows(5.0, count=count)
    found = place(
        [recording(PRESS, PLUG), recording(PLUG, name="q"), recording(PRESS, subject="ben")], windows
    )
    assert len(found[0]) + len(found[1]) == count and len(found[2]) == count
    for one in found:
        assert [w.start_s for w in one] == sorted({w.start_s for w in one})


def test_too_few_windows_are_said():
    with pytest.raises(DataError, match="subject anna: 138 windows of 5 s at most, expected 999"):
        place([recording(PRESS)], Windows(5.0, count=999))


def test_windows_with_unknown_readings_are_left_out():
    (found,) = starts(Windows(5.0), recording(PRESS, PLUG, gap=(12.0, 12.5)))
    assert (10.0, "press") not in found and len(found) == 3


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"seconds": 0.0}, "seconds is 0.0"),
        ({"seconds": 5.0, "purity": 0.4}, "purity is 0.4"),
        ({"seconds": 5.0, "count": 3, "stride_s": 1.0}, "both count and stride_s"),
        ({"seconds": 5.0, "margins": True}, "margins without unlabelled"),
    ],
)
def test_nonsense_is_refused(own, said):
    with pytest.raises(ConfigError, match=said):
        Windows(**own)

"""A recording's picture shows what is when: strips are read back from the SVG, pixel by pixel."""

import base64
import io
import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from PIL import Image

from plait.errors import DataError
from plait.report.drawing import COLOURS, WIDTHS_IN
from plait.report.timeline import (
    COLUMNS,
    FAINTEST,
    GROUND,
    PALETTE,
    Slots,
    timeline_figure,
    write_timeline_picture,
)
from plait.types import Segment, Span

ABC = ("a", "b", "c")
SVG, LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"


def slots_of(starts, stops, scores, seen=()):
    return Slots(np.array(starts, float), np.array(stops, float), np.array(scores, np.float32), seen)


def even(stop, count, activities=3, seed=0):
    """Slots of equal length, one after the other, and scores drawn at random."""
    ends = np.linspace(0, stop, count + 1)
    scores = np.random.default_rng(seed).dirichlet(np.full(activities, 0.3), count)
    return slots_of(ends[:-1], ends[1:], scores)


def drawn(path, *described):
    """The texts of a picture, and its strips by the text on their left: RGBA, shape `(columns, 4)`."""
    write_timeline_picture(path, *described)
    root = ElementTree.fromstring(path.read_bytes())
    texts = list(root.iter(f"{SVG}text"))
    left = [text for text in texts if "middle" not in text.get("style")]
    strips = {}
    for image in root.iter(f"{SVG}image"):
        pixels = np.array(Image.open(io.BytesIO(base64.b64decode(image.get(LINK).partition(",")[2]))))
        assert pixels.shape == (1, COLUMNS, 4)
        *_, tall, _, top = map(float, re.findall(r"-?[\d.]+", image.get("transform")))
        beside = min(left, key=lambda text: abs(float(text.get("y")) - (top + tall / 2)))
        strips[beside.text] = pixels[0].astype(int)
    return ["".join(text.itertext()) for text in texts], strips


def rgb(colour):
    return np.round(255 * np.array(to_rgb(colour))).astype(int).tolist()


def overlaps(edges, start, stop):
    """The share of each column that lies between two times."""
    return np.clip(np.minimum(edges[1:], stop) - np.maximum(edges[:-1], start), 0, None) / np.diff(edges)


def test_an_activity_has_one_colour_and_what_nobody_labelled_or_recognised_is_empty(tmp_path):
    segments = [Segment(0, 4, "b", 0.9), Segment(6, 10, "a", 0.8)]
    labels = [Span(1, 5, "b"), Span(6, 9, "c")]
    texts, strips = drawn(tmp_path / "t.svg", "rec", ABC, even(10, 20), segments, labels)
    assert list(strips) == ["labelled", "predicted", "a", "b", "c"]
    middles = (np.arange(COLUMNS) + 0.5) * 10 / COLUMNS
    for strip, spans in (("labelled", labels), ("predicted", segments)):
        for second, (*colour, opacity) in zip(middles, strips[strip].tolist(), strict=True):
            there = [span.activity for span in spans if span.start_s < second < span.stop_s]
            assert opacity == (255 if there else 0)
            assert not there or colour == rgb(PALETTE[ABC.index(there[0])])
    for name, colour in zip(ABC, PALETTE, strict=False):
        assert np.unique(strips[name][:, :3], axis=0).tolist() == [rgb(colour)]
    assert texts.count("b") == 3 and texts.count("c") == 2  # in what has room for it, and on the left
    assert [text for text in texts if text.isdecimal()] == ["0", "2", "4", "6", "8", "10"]
    assert {"rec", "scores", "time, s"} <= set(texts)


def test_without_labels_there_is_no_line_of_them(tmp_path):
    texts, strips = drawn(tmp_path / "t.svg", "rec", ABC, even(10, 20), [])
    assert "labelled" not in texts and not strips["predicted"][:, 3].any()


TIMES = st.tuples(st.floats(-5, 60), st.floats(0.01, 20))


@given(
    times=st.lists(TIMES, min_size=1, max_size=8),
    seed=st.integers(0, 99),
    scale=st.sampled_from([1.0, 500.0]),
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_scores_are_means_over_the_slots_in_a_column_and_gaps_are_empty(tmp_path, times, seed, scale):
    """Against a loop over slots, whose order and overlaps are whatever they are."""
    starts = scale * np.array([start for start, _ in times])
    stops = starts + scale * np.array([length for _, length in times])
    scores = np.random.default_rng(seed).dirichlet(np.ones(3), len(times))
    _, strips = drawn(tmp_path / "t.svg", "rec", ABC, slots_of(starts, stops, scores), [])
    edges = np.linspace(starts.min(), stops.max(), COLUMNS + 1)
    covered, sums = np.zeros(COLUMNS), np.zeros((COLUMNS, 3))
    for start, stop, row in zip(starts, stops, scores, strict=True):
        covered += overlaps(edges, start, stop)
        sums += overlaps(edges, start, stop)[:, None] * row
    sure = covered > 1e-3
    for name, column in zip(ABC, sums.T, strict=True):
        expected = 255 * (GROUND + (1 - GROUND) * column[sure] / covered[sure])
        np.testing.assert_allclose(strips[name][sure, 3], expected, atol=1.5)
        assert not strips[name][covered < 1e-9, 3].any()


def test_a_sensor_that_is_missing_for_a_while_has_a_thin_strip(tmp_path):
    seen = [{"gloves", "video"}] * 5 + [{"video"}] * 2 + [{"video", "gloves"}] * 3
    slots = even(10, 10)._replace(seen=seen)
    _, strips = drawn(tmp_path / "t.svg", "rec", ABC, slots, [])
    assert list(strips) == ["predicted", "without gloves", "a", "b", "c"]
    lacking = np.flatnonzero(strips["without gloves"][:, 3])
    assert lacking.tolist() == list(range(750, 1050))
    assert strips["without gloves"][800].tolist() == [*rgb(COLOURS["muted"][0]), 255]
    _, strips = drawn(tmp_path / "t.svg", "rec", ABC, slots._replace(seen=[["video"]] * 10), [])
    assert list(strips) == ["predicted", "a", "b", "c"]


def test_of_many_activities_those_have_a_line_that_last_longest(tmp_path):
    names = [f"kind {i:02}" for i in range(30)]
    slots = even(100, 50, 30)
    segments = [Segment(i, i + 0.9 - i / 100, name) for i, name in enumerate(names)]
    labels = [Span(40, 50, "kind 29"), Span(60, 61, "kind 15")]
    _, strips = drawn(tmp_path / "t.svg", "rec", names, slots, segments, labels)
    lines = [*names[:10], "kind 15", "kind 29", "18 others"]
    assert list(strips) == ["labelled", "predicted", *lines]
    assert [rgb(colour) for colour in PALETTE] == [strips[name][0, :3].tolist() for name in lines[:-1]]
    others = rgb(COLOURS["muted"][0])
    assert (
        strips["18 others"][0, :3].tolist() == others == strips["predicted"][round(15.01 * 12), :3].tolist()
    )
    rest = [i for i in range(30) if names[i] not in lines]
    shown = (strips["18 others"][15::30, 3] / 255 - GROUND) / (1 - GROUND)
    np.testing.assert_allclose(shown, slots.scores[:, rest].max(axis=1), atol=0.01)


def test_what_a_model_cannot_say_has_a_line_without_scores(tmp_path):
    _, strips = drawn(tmp_path / "t.svg", "rec", ABC, even(10, 20), [], [Span(2, 4, "new")])
    assert list(strips) == ["labelled", "predicted", "a", "b", "c", "new"]
    assert not strips["new"][:, 3].any() and strips["labelled"][400, :3].tolist() == rgb(PALETTE[3])


def test_a_moment_in_hours_is_seen_and_repetitions_are_told_apart(tmp_path):
    labels = [Span(1000, 1000.5, "a"), Span(5000, 6000, "b"), Span(6000, 7000, "b")]
    _, strips = drawn(tmp_path / "t.svg", "rec", ABC, even(4 * 3600, 100), [], labels)
    opacity, step_s = strips["labelled"][:, 3], 4 * 3600 / COLUMNS
    assert opacity[int(1000 / step_s)] == round(255 * FAINTEST)
    between = opacity[int(5010 / step_s) : int(6990 / step_s)]
    assert np.flatnonzero(between == 0).tolist() == [
        int(6000 / step_s) - int(5010 / step_s) - i for i in (1, 0)
    ]


def test_eight_hours_of_noise_are_a_small_picture_of_equal_bytes(tmp_path):
    names = [f"activity {i}" for i in range(12)]
    slots = even(8 * 3600, 28_800, 12)
    best = slots.scores.argmax(axis=1)
    segments = [
        Segment(start, stop, names[i])
        for start, stop, i in zip(slots.starts_s, slots.stops_s, best, strict=True)
    ]
    labels = [Span(*segment[:3]) for segment in segments[::7]]
    for name in ("one", "two"):
        write_timeline_picture(tmp_path / name, "a day", names, slots, segments, labels)
    content = (tmp_path / "one").read_bytes()
    assert len(content) < 300_000 and content == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize(
    ("start", "stop", "unit", "ticks"),
    [
        (0, 60, "s", ["0", "10", "20", "30", "40", "50", "60"]),
        (0, 600, "min:s", [f"{minute}:00" for minute in (0, 2, 4, 6, 8, 10)]),
        (30, 150, "min:s", ["0:30", "0:45", "1:00", "1:15", "1:30", "1:45", "2:00", "2:15", "2:30"]),
        (0, 3600, "min:s", ["0:00", "10:00", "20:00", "30:00", "40:00", "50:00", "60:00"]),
        (0, 7 * 3600, "h:min", [f"{hour}:00" for hour in range(8)]),
        (86390, 86450, "h:min:s", ["23:59:50", *(f"24:00:{s:02}" for s in range(0, 60, 10))]),
        (-20, 70, "s", [f"{'−' * (s < 0)}{abs(s)}" for s in range(-20, 71, 10)]),
        (3600, 3604, "s", [f"{3600 + half / 2:.1f}" for half in range(9)]),
    ],
)  # fmt: skip
def test_time_is_told_at_round_moments(tmp_path, start, stop, unit, ticks):
    slots = slots_of([start], [stop], [[0.2, 0.3, 0.5]])
    texts, _ = drawn(tmp_path / "t.svg", "rec", ABC, slots, [])
    assert f"time, {unit}" in texts
    numbers = [text for text in texts if re.fullmatch(r"−?[\d:.]+", text)]
    assert numbers == ticks


HOSTILE = ["<b>&\"'", "$x_1$", "a\x07\ud800b" * 9, "拧螺丝" * 30, "long " * 60, "\u202eabc", "", "two\nlines"]


def test_any_names_are_inside_the_picture_and_outside_the_axes(tmp_path):
    segments = [Segment(3 * i, 3 * i + 3, name) for i, name in enumerate(HOSTILE)]
    for title in HOSTILE:
        drawn(tmp_path / "t.svg", title, HOSTILE, even(24, 24, len(HOSTILE)), segments)  # which is XML
        for width_in in WIDTHS_IN.values():
            slots = even(24, 24, len(HOSTILE))
            figure = timeline_figure(title, HOSTILE, slots, segments, width_in=width_in)
            with pytest.warns(UserWarning, match="Glyph"):
                figure.draw_without_rendering()
            (axes,) = figure.axes
            whole, inner = figure.bbox, axes.get_window_extent()
            for text in axes.texts:
                box = text.get_window_extent()
                assert whole.x0 <= box.x0 and box.x1 <= whole.x1
                assert box.x1 < inner.x0 or box.x0 > inner.x0 or text.get_weight() == "bold"
            for tick in axes.get_xticklabels():
                assert tick.get_window_extent().x1 <= whole.x1


@pytest.mark.parametrize(
    ("slots", "segments", "message"),
    [
        (slots_of([], [], np.zeros((0, 3))), [], "holds nothing, expected a slot, a segment or a label"),
        (slots_of([0], [1], [[0.5, 0.5]]), [], r"shapes \(\(1,\), \(1,\), \(1, 2\)\), .* expected"),
        (even(3, 3)._replace(seen=[["x"]]), [], "with 1 sets of modalities, expected .* with 3 or none"),
        (slots_of([0], [1], [[0.5, 0.5, np.nan]]), [], "a score is not finite"),
        (slots_of([1], [1], [[0.5, 0.5, 0]]), [], "does not last, expected a start and a later stop"),
        (even(3, 3), [Segment(2, np.inf, "a")], "does not last"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(slots, segments, message):
    with pytest.raises(DataError, match=rf"timeline of 'r\\n1': .*{message}") as raised:
        timeline_figure("r\n1", ABC, slots, segments)
    assert "\n" not in str(raised.value)


def test_segments_alone_can_be_drawn(tmp_path):
    none = slots_of([], [], np.zeros((0, 3)))
    _, strips = drawn(tmp_path / "t.svg", "rec", ABC, none, [Segment(0, 5, "a")])
    assert strips["predicted"][:, 3].all() and not strips["a"][:, 3].any()

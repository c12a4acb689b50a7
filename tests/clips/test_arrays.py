from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from plait.clips import cut, mapped, window
from plait.errors import ConfigError, DataError
from plait.recordings.video import rgb
from plait.types import Modality, Readings, Recording, Span, Stream
from tests import tiny


def line(rate_hz=10.0, stop_s=8.0, slope=1):
    times = np.arange(0, stop_s, 1 / rate_hz)
    return Readings(times, slope * np.stack([times, 2 * times], axis=1))


def modality(samples=4, rate_hz=None, name="m", streams=("s",)):
    return Modality(name, streams, samples, rate_hz, tiny.tensor, tiny.Linear)


def dataset(*recordings, modalities=(modality(),), activities=("run",)):
    return replace(
        tiny.TINY, recordings=lambda data: iter(recordings), modalities=modalities, activities=activities
    )


def recording(*spans, name="r", stream=None):
    return Recording(name, "1", {"s": stream or line()}, spans or (Span(1.0, 4.0, "run"),))


def test_readings_are_linear_between_and_constant_beyond():
    stream = line()
    assert isinstance(stream, Stream)
    np.testing.assert_allclose(
        stream.at(np.array([-5.0, 0.0, 0.05, 3.333, 99.0]))[:, 1], [0, 0, 0.1, 6.666, 15.8]
    )
    one = Readings(np.array([3.0]), np.array([[7.0, 8.0]]))
    np.testing.assert_array_equal(one.at(np.array([0.0, 9.0])), [[7, 8], [7, 8]])


@given(
    st.lists(st.floats(0, 10), min_size=2, max_size=9, unique=True), st.lists(st.floats(-1, 11), max_size=5)
)
def test_readings_agree_with_numpy(times, seconds):
    times = np.sort(np.array(times))
    if np.diff(times).min() < 1e-9:
        return
    values = np.sin(times)
    np.testing.assert_allclose(
        Readings(times, values).at(np.array(seconds)), np.interp(seconds, times, values), atol=1e-9
    )


@pytest.mark.parametrize("times", [[], [0.0, 0.0], [1.0, 0.5], [0.0, 1.0, 2.0]])
def test_readings_that_are_no_stream_are_refused(times):
    with pytest.raises(DataError, match="readings: "):
        Readings(np.array(times), np.zeros((2 if len(times) != 0 else 0, 1)))


def test_a_reversed_span_is_refused():
    with pytest.raises(DataError, match=r"span 'run': starts at 2.0 s, must end later, got 1.0 s"):
        Span(2.0, 1.0, "run")


def test_without_a_rate_the_whole_span_is_resampled():
    clip = window(modality(samples=4), {"s": line()}, 1.0, 4.0)
    torch.testing.assert_close(clip[:, 0], torch.tensor([1.0, 2.0, 3.0, 4.0]))


def test_with_a_rate_the_window_has_exactly_that_many_readings():
    clip = window(modality(samples=3, rate_hz=4.0), {"s": line()}, 1.0, 99.0)
    torch.testing.assert_close(clip[:, 0], torch.tensor([1.0, 1.25, 1.5]))


def test_several_streams_make_one_tensor():
    both = Modality(
        "m", ("s", "t"), 2, None, lambda s, t: torch.from_numpy(np.concatenate([s, t], axis=1)), tiny.Linear
    )
    assert window(both, {"s": line(), "t": line()}, 0.0, 1.0).shape == (2, 4)


def test_a_span_holds_as_many_windows_as_fit_the_longest_modality():
    data = dataset(
        recording(Span(0.0, 2.6, "run"), Span(3.0, 3.5, "run"), Span(4.0, 5.0, "run")),
        modalities=(modality(samples=4, rate_hz=4.0), modality(samples=4, rate_hz=8.0, name="n")),
    )
    clips = cut(data, None, ["m", "n"])
    assert [(c.name, c.start_s, c.stop_s) for c in clips.table] == [
        ("r/0000", 0.0, 1.0), ("r/0001", 1.0, 2.0), ("r/0002", 4.0, 5.0),
    ]  # fmt: skip
    assert clips.shapes == {"m": (4, 2), "n": (4, 2)}
    np.testing.assert_allclose(clips.batch(["n"], np.array([2]))["n"][0, :, 0], [4, 4.125, 4.25, 4.375])


def test_a_lone_clip_is_called_like_its_recording():
    assert [c.name for c in cut(dataset(recording()), None, ["m"]).table] == ["r"]


def test_the_key_is_the_content_s():
    one, again = (cut(dataset(recording()), None, ["m"]) for _ in range(2))
    other = cut(dataset(recording(stream=line(stop_s=4.0, slope=2))), None, ["m"])
    renamed = cut(dataset(recording(name="q")), None, ["m"])
    assert one.key(["m"]) == again.key(["m"])
    assert len({one.key(["m"]), other.key(["m"]), renamed.key(["m"])}) == 3


def test_tiny_clips_by_subject():
    clips = cut(tiny.TINY, None, ["a", "b"])
    assert len(clips.table) == 64 and len(clips.of(["10"])) == 16
    assert all(clips.table[row].subject == "10" for row in clips.of(["10"]))
    batch = clips.batch(["b"], clips.of(["2"]))
    assert {name: tuple(x.shape) for name, x in batch.items()} == {"b": (16, 6, 2, 3)}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (dataset(), "no clips of data set tiny"),
        (dataset(recording(), recording()), "two clips are called 'r'"),
        (dataset(recording(Span(0, 1, "fly"))), "recording r: activity 'fly', expected one of: run"),
        (dataset(recording(), modalities=(modality(streams=("x",)),)), "recording r: no stream 'x', got: s"),
        (
            dataset(recording(stream=Readings(np.arange(9.0), np.full((9, 2), np.nan)))),
            "recording r, modality m: values that are not finite",
        ),
        (
            dataset(recording(), recording(name="q", stream=Readings(np.arange(9.0), np.zeros((9, 3))))),
            r"recording q, modality m: clip of shape (4, 3), expected (4, 2) as in the others",
        ),
    ],
)
def test_bad_data_is_named(data, message):
    with pytest.raises(DataError) as caught:
        cut(data, "folder", ["m"])
    assert message in str(caught.value)


def test_an_unknown_modality_is_named():
    with pytest.raises(DataError, match="data set tiny: no modality 'x', expected one of: a, b"):
        cut(tiny.TINY, None, ["x"])


def test_an_empty_array_in_the_cache_is_named(tmp_path):
    (tmp_path / "x.npy").write_bytes(b"")
    with pytest.raises(DataError, match="x.npy: not a readable .npy file"):
        mapped(tmp_path / "x.npy")


def test_float16_stays_and_what_it_cannot_hold_is_refused():
    def half(factor):
        return replace(modality(), prepare=lambda values: (tiny.tensor(values) * factor).half())

    cut_ = cut(dataset(recording(), modalities=(half(1),)), None, ["m"])
    assert cut_.arrays["m"].dtype == np.float16
    with pytest.raises(DataError, match="not finite"):
        cut(dataset(recording(), modalities=(half(1e6),)), None, ["m"])


@pytest.mark.parametrize(
    ("prepare", "got"),
    [
        (lambda values: values, "ndarray"),
        (lambda values: None, "NoneType"),
        (lambda values: [tiny.tensor(values)], "list"),
        (lambda values: tiny.tensor(values).to(torch.complex64), "a tensor of torch.complex64"),
    ],
)
def test_what_a_data_set_prepares_is_a_tensor(tmp_path, prepare, got):
    odd = replace(modality(), prepare=prepare)
    with pytest.raises(
        ConfigError, match=f"recording r, modality m: its prepare gave {got}, expected a tensor of real"
    ):
        cut(dataset(recording(), modalities=(odd,)), tmp_path, ["m"])


def test_a_prepare_that_fails_is_one_line(tmp_path):
    odd = replace(modality(), prepare=lambda values: values @ np.ones((99, 99)))
    with pytest.raises(
        ConfigError, match=r"^recording r, modality m: its prepare, given float64 \(.*\): ValueError: [^\n]*$"
    ):
        cut(dataset(recording(), modalities=(odd,)), tmp_path, ["m"])
    pictures = replace(modality(), prepare=rgb)
    with pytest.raises(
        DataError, match=r"^recording r, modality m: got float64 \(.*\), expected pictures: uint8"
    ):
        cut(dataset(recording(), modalities=(pictures,)), tmp_path, ["m"])

from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeClassifier
from sklearn.preprocessing import StandardScaler

from plait.clips import window
from plait.datasets import generated
from plait.datasets.generated import ACTIVITIES, GENERATED, MOTIONS, RHYTHMS, SUBJECTS
from plait.types import Stream


@cache
def recordings():
    return tuple(GENERATED.recordings(Path("nowhere")))


def relabel(spans, **swap):
    """The same spans, another motion or another rhythm everywhere."""
    renamed = []
    for span in spans:
        motion, rhythm = span.activity.split()
        renamed.append(replace(span, activity=f"{swap.get('motion', motion)} {swap.get('rhythm', rhythm)}"))
    return tuple(renamed)


def static_frames(recording):
    """Of each span's raw frames, per pixel: the mean and the standard deviation; and the motions."""
    camera = recording.streams["camera"]
    frames = [camera.at(span.start_s + np.arange(16) / 10).astype(float) for span in recording.spans]
    looks = [np.concatenate([f.mean(0).ravel(), f.std(0).ravel()]) for f in frames]
    return StandardScaler().fit_transform(looks), [span.activity.split()[0] for span in recording.spans]


def static_signal(recording):
    """Of each span's readings, per channel, in any order: five quantiles, mean and SD; and the rhythms."""
    wrist = recording.streams["wrist"]
    signals = [wrist.at(span.start_s + np.arange(80) / 50) for span in recording.spans]
    looks = [
        np.concatenate([s.mean(0), s.std(0), *np.quantile(s, [0, 0.25, 0.5, 0.75, 1], axis=0)])
        for s in signals
    ]
    return StandardScaler().fit_transform(looks), [span.activity.split()[1] for span in recording.spans]


def test_recordings_are_streams_on_one_clock_with_labelled_spans():
    assert [r.subject for r in recordings()] == list(SUBJECTS)
    assert len(ACTIVITIES) == len(set(ACTIVITIES)) == 9
    for recording in recordings():
        assert all(isinstance(stream, Stream) for stream in recording.streams.values())
        for stream in recording.streams.values():
            assert np.all(np.diff(stream.times) > 0)
            assert stream.times[0] < recording.spans[0].start_s
            assert stream.times[-1] > recording.spans[-1].stop_s
        assert all(before.stop_s < after.start_s for before, after in pairwise(recording.spans))


def test_every_span_holds_exactly_one_window_of_both_modalities():
    lengths = [m.samples / m.rate_hz for m in GENERATED.modalities]
    assert max(lengths) == pytest.approx(min(lengths))
    for span in (span for r in recordings() for span in r.spans):
        assert max(lengths) <= span.stop_s - span.start_s < 2 * min(lengths)


def test_neighbouring_samples_of_a_window_are_neighbouring_frames():
    camera = recordings()[0].streams["camera"]
    for span in recordings()[0].spans:
        seconds = span.start_s + np.arange(16) / 10
        nearest = np.abs(camera.times[:, None] - seconds).argmin(0)
        assert np.all(np.diff(nearest) == 1)
        np.testing.assert_array_equal(camera.at(seconds), camera.at(camera.times[nearest]))


def test_the_same_time_shows_the_same_frame_in_whatever_order():
    first, again = recordings()[2], list(GENERATED.recordings(Path("elsewhere")))[2]
    seconds = np.random.default_rng(0).uniform(-1, first.streams["camera"].times[-1] + 1, 40)
    frames = first.streams["camera"].at(seconds)
    assert frames.dtype == np.uint8 and frames.shape == (40, 24, 24)
    order = np.random.default_rng(1).permutation(40)
    np.testing.assert_array_equal(again.streams["camera"].at(seconds[order]), frames[order])
    np.testing.assert_array_equal(first.streams["camera"].at(seconds[7:8]), frames[7:8])
    np.testing.assert_array_equal(again.streams["wrist"].values, first.streams["wrist"].values)
    assert again.spans == first.spans
    assert first.streams["camera"].at(np.array([])).shape == (0, 24, 24)


def test_every_motion_goes_with_every_rhythm_equally_often():
    for recording in recordings():
        counts = Counter(tuple(span.activity.split()) for span in recording.spans)
        assert counts == {(motion, rhythm): 8 for motion in MOTIONS for rhythm in RHYTHMS}


def test_neither_sensor_sees_what_the_other_does():
    spans = recordings()[0].spans
    for rhythm in RHYTHMS:
        camera = generated._camera(relabel(spans, rhythm=rhythm), np.random.default_rng(3))
        truth = generated._camera(spans, np.random.default_rng(3))
        np.testing.assert_array_equal(camera.centres, truth.centres)
        np.testing.assert_array_equal(camera.at(np.arange(9.0)), truth.at(np.arange(9.0)))
    for motion in MOTIONS:
        wrist = generated._wrist(relabel(spans, motion=motion), np.random.default_rng(3))
        np.testing.assert_array_equal(wrist.values, generated._wrist(spans, np.random.default_rng(3)).values)


def test_the_shape_moves_as_its_activity_says():
    for recording in recordings():
        camera = recording.streams["camera"]
        for span in recording.spans:
            inside = (camera.times >= span.start_s) & (camera.times < span.stop_s)
            steps = np.sign(np.diff(camera.centres[inside, 1]))
            rightward = (steps > 0).mean()
            motion = span.activity.split()[0]
            assert {"rightward": rightward > 0.8, "leftward": rightward < 0.2}.get(
                motion, 0.1 < rightward < 0.9
            )


@pytest.mark.parametrize("look", [static_frames, static_signal])
def test_still_statistics_do_not_give_the_answer_away(look):
    looks, answers = zip(*map(look, recordings()), strict=True)
    right = []
    for i in range(len(looks)):
        model = RidgeClassifier(alpha=1e3)
        model.fit(np.concatenate(looks[:i] + looks[i + 1 :]), np.concatenate(answers[:i] + answers[i + 1 :]))
        right.append(model.score(looks[i], answers[i]))
    assert np.mean(right) < 0.45  # chance: a third


def test_subjects_differ():
    for one, other in combinations(recordings(), 2):
        assert [s.activity for s in one.spans] != [s.activity for s in other.spans]
        a, b = one.streams["camera"], other.streams["camera"]
        assert abs(a.background - b.background).mean() > 0.01
        assert a.radius != b.radius and a.brightness != b.brightness
        assert abs(one.streams["wrist"].values.mean(0) - other.streams["wrist"].values.mean(0)).max() > 0.1


@torch.no_grad()
def test_both_modalities_are_cut_and_encoded():
    recording = recordings()[0]
    span = recording.spans[0]
    for modality, shape, ndim in zip(GENERATED.modalities, [(16, 24, 24), (80, 6)], [5, 3], strict=True):
        clip = window(modality, recording.streams, span.start_s, span.stop_s)
        assert clip.shape == shape and clip.dtype == torch.float32 and 0.05 < clip.std() < 3
        assert modality.encoder(shape)(clip[None]).ndim == ndim

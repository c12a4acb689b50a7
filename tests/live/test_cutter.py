"""Windows of what arrives are those of the whole recording, number for number."""

from dataclasses import replace

import pytest
import torch

from plait.live.cutter import Cutter
from plait.live.replay import merged, opening_of
from plait.recogniser.windows import Sliding, extents_of, seen
from tests.live.world import MODALITIES, Disturbance, arriving, recording

SLIDING = Sliding(2.0, 0.3)


def cut_live(recording, how, sliding=SLIDING, patience_s=1.5):
    """The windows of a recording as it arrives, those in which something is seen."""
    openings = [
        replace(opening_of(name, stream), disorder_s=how.disorder_s)
        for name, stream in recording.streams.items()
    ]
    cutter = Cutter(MODALITIES, openings, sliding, patience_s)
    cutter.begin(0.0)
    found, most = [], 0
    for event in arriving(merged(recording.streams), how):
        cutter.feed(event)
        for window in cutter.ready(event.arrived_s):
            found.append(cutter.cut(window))
            cutter.forget(window)
        most = max(most, *(len(ring.own_s) for ring in cutter.rings.values()))
    return [window for window in found if window.tensors], cutter, most


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(
    "how", [Disturbance(), Disturbance(delay_s=0.3), Disturbance(delay_s=0.1, disorder_s=0.05)]
)
def test_windows_are_those_of_the_whole_recording(tmp_path, seed, how):
    whole = recording(tmp_path, seed)
    windows = SLIDING.windows(extents_of(whole, MODALITIES))
    expected = [window for window in seen(whole, MODALITIES, windows) if window.tensors]
    found, cutter, _ = cut_live(whole, how._replace(seed=seed))
    assert [window[:2] for window in found] == [window[:2] for window in expected]
    for live, known in zip(found, expected, strict=True):
        assert live.tensors.keys() == known.tensors.keys(), live.start_s
        for name, tensor in known.tensors.items():
            assert torch.equal(live.tensors[name], tensor), (live.start_s, name)
    assert all(ring.late == 0 for ring in cutter.rings.values())

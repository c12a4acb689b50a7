"""A replay as fast as possible is `plait predict`, byte for byte; else windows are scored or counted."""

import math

import pytest

from plait.live.keep import Keeper
from plait.live.pace import Pace
from plait.live.replay import Replay
from plait.live.session import Session
from plait.recogniser.predict import plan, predict, prediction_key, whole
from plait.recogniser.recogniser import Recogniser
from plait.recogniser.windows import Sliding
from plait.recordings.folder import open_recording
from plait.trust import Trust
from tests.live.world import folder_of, model


@pytest.fixture(scope="module")
def recogniser(tmp_path_factory):
    folder = model(tmp_path_factory.mktemp("live") / "model", lead="video")
    return Recogniser.load(folder, trust=Trust({"tests"}))


@pytest.mark.parametrize("seed", range(100, 110))
def test_a_replay_leaves_what_predict_leaves(recogniser, tmp_path, seed):
    folder = folder_of(tmp_path / "recording", seed)
    sliding = Sliding(2.0, 0.3)
    tasks = plan(recogniser, [open_recording(folder)], sliding)
    predict(recogniser, tasks, sliding, tmp_path / "predicted")
    session = Session(recogniser, [Replay(folder, pace := Pace(math.inf, 0.0))], pace)
    keeper = Keeper(tmp_path / "live", session, "recording")
    session.listeners.append(keeper)
    session.run()
    keeper.finish(whole(tasks[0], list(recogniser.modalities.values())), prediction_key(recogniser, tasks)[0])
    files = {path.name: path.read_bytes() for path in (tmp_path / "predicted").iterdir() if path.is_file()}
    live = {path.name: path.read_bytes() for path in (tmp_path / "live").iterdir() if path.is_file()}
    assert session.scored > 5
    assert session.skipped == 0
    assert {name for name in files if files[name] != live.get(name)} <= {".lock"}
    assert live.keys() == files.keys() - {".lock"}

"""`plait predict --clips`, `plait export` and `plait push`: what they leave, and bad input in one line."""

import importlib.util
import json
import re
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from plait.clips.listing import listed
from plait.recogniser.export import samples_of
from plait.recogniser.fitting import fit_model
from plait.recogniser.model import FILES, MODEL, WEIGHTS
from plait.recogniser.program_files import ABOUT
from plait.recogniser.recogniser import Recogniser
from plait.trust import Trust
from tests.recogniser import world
from tests.recogniser.hub import TOKEN
from tests.shapes import unchecked

TRUSTED = ("--trust", "tests.recogniser.world")
ONNX = pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="needs plait[export]")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A model of everybody but person 4, trained for an epoch."""
    root = tmp_path_factory.mktemp("fitted")
    (root / "data").mkdir()
    study = world.study(train={"max_epochs": 1, "choose": "last"}, protocol={"val_subjects": 0})
    fit_model(study, "a-led", root / "data", root / "model", leave_out=["4"], say=print)
    return root


@pytest.fixture
def at_home(fitted, tmp_path, plait):
    """Runs a command in a folder with `data` and `model`."""
    shutil.copytree(fitted, tmp_path, dirs_exist_ok=True)
    return plait


def line_of(plait, *words):
    """The one line that a command ends with, having written nothing on standard output."""
    code, told, complaint = plait(*words)
    assert (code, told) == (2, "") and complaint.startswith("plait: ") and complaint.count("\n") == 1
    return complaint


def test_a_data_set_s_clips_are_what_is_looked_at(at_home, tmp_path):
    words = ["--data", "data", "--only", "4", "--out", "timeline", *TRUSTED]
    code, told, complaint = at_home("predict", "model", *words, "--clips")
    assert code == 0, complaint
    assert told.startswith(str(Path("timeline", "r4-0.svg"))) and "1 recordings" in told
    table = pl.read_parquet(tmp_path / "timeline" / "timeline.parquet")
    clips = [clip for _, clip in listed(world.WORLD, tmp_path / "data", ["a", "b"]) if clip.subject == "4"]
    assert table["start_s"].to_list() == [clip.start_s for clip in clips]
    assert table["stop_s"].to_list() == [clip.stop_s for clip in clips]
    code, told, complaint = at_home("predict", "model", *words)  # over these, every window of the recording
    assert code == 0, complaint
    slid = pl.read_parquet(tmp_path / "timeline" / "timeline.parquet")
    assert len(slid) > 2 * len(table) and set(slid["recording"]) == {"r4-0"}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["model", *TRUSTED], "predict: expected recordings, or --data DIR"),
        (["model", "data", "--data", "data", *TRUSTED], "predict: expected recordings, or --data DIR"),
        (["model", "data", "--clips", *TRUSTED], "--clips: of a data set, expected --data DIR"),
        (["model", "data", "--only", "4", *TRUSTED], "--only: of a data set, expected --data DIR"),
        (["model", "--data", "data", "--only", "9", "--clips", *TRUSTED], "data: no recording of '9'"),
        (["model", "--data", "data", "--clips"], "names 'tests.recogniser.world:WORLD', .*--trust"),
        (["model", "--data", "data", "--dataset", "tests.recogniser.world:GONE", *TRUSTED], "has no 'GONE'"),
        (["nowhere", "--data", "data", "--clips", *TRUSTED], r"nowhere/model.toml: "),
    ],
)
def test_what_predict_cannot_take_is_one_line(at_home, tmp_path, words, line):
    assert re.search(line, line_of(at_home, "predict", *words, "--out", "timeline"))
    assert not (tmp_path / "timeline").exists()


@pytest.mark.parametrize("to", [pytest.param("onnx", marks=ONNX), "torch"])
def test_an_exported_file_gives_the_model_s_scores(at_home, tmp_path, to):
    file = tmp_path / {"onnx": "led.onnx", "torch": "led.pt2"}[to]
    words = ["--data", "data", "--to", to, "--out", file, "--clips", 5, *TRUSTED]
    with unchecked():
        code, told, complaint = at_home("export", "model", *words)
    assert code == 0, complaint
    shapes = "a ('clips', 20, 2), b ('clips', 30, 2)"
    assert f"{file}: {shapes} -> 3 scores: low, mixed, high\non 5 clips: the same labels" in told
    recogniser = Recogniser.load(tmp_path / "model", trust=Trust(frozenset({"tests"})))
    clips = samples_of(recogniser, world.WORLD, tmp_path / "data", 7)
    if to == "torch":
        extra = {ABOUT: ""}
        found = torch.export.load(file, extra_files=extra).module()(*clips.values()).detach().numpy()
        about = json.loads(extra[ABOUT])
    else:
        import onnxruntime

        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        (found,) = session.run(None, {name: clip.numpy() for name, clip in clips.items()})
        about = {k: json.loads(v) for k, v in session.get_modelmeta().custom_metadata_map.items()}
    assert about["activities"] == list(recogniser.activities) and list(about["inputs"]) == ["a", "b"]
    assert about["inputs"]["b"] == {
        "shape": [30, 2], "streams": ["b"], "columns": {}, "samples": 30, "rate_hz": 15
    }  # fmt: skip
    assert (about["seconds"], about["model"]) == (2.0, recogniser.facts.key)
    expected = [recogniser({name: clip[i] for name, clip in clips.items()}) for i in range(7)]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["model", "--data", "data", "--to", "torch", "--out", "led.onnx", *TRUSTED], "ends in .pt2"),
        (["model", "--data", "data", "--to", "torch", "--out", "led.pt2"], "names 'tests.recogniser.world"),
        (
            ["model/model.toml", "--data", "data", "--to", "torch", "--out", "led.pt2"],
            "model.toml/model.toml",
        ),
        (
            ["hf://one-word", "--data", "data", "--out", "led.onnx"],
            "no address of a MODEL, expected hf://ORG",
        ),
    ],
)
def test_what_export_cannot_take_is_one_line(at_home, tmp_path, words, line):
    before = {path.name for path in tmp_path.iterdir()}
    assert line in line_of(at_home, "export", *words)
    assert {path.name for path in tmp_path.iterdir()} == before


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of httpx, by the library
def test_what_was_pushed_is_what_others_predict_with(at_home, tmp_path, hub):
    (tmp_path / "model" / "notes.txt").write_text("mine")
    code, told, complaint = at_home("push", "model", "lab/world", "--private")
    assert code == 0, complaint
    address = told.strip()
    assert re.fullmatch("hf://lab/world@[0-9a-f]{40}", address) and hub.private == {"lab/world"}
    pushed = hub.repositories["lab/world"][-1]
    assert {name: pushed[name] for name in FILES} == {
        name: (tmp_path / "model" / name).read_bytes() for name in FILES
    } and "notes.txt" not in pushed
    tables = []
    for model in ("model", address):
        words = ["--data", "data", "--only", "4", "--clips", "--out", f"of-{len(tables)}", *TRUSTED]
        code, _, complaint = at_home("predict", model, *words)
        assert code == 0, complaint
        tables.append((tmp_path / f"of-{len(tables)}" / "timeline.parquet").read_bytes())
    assert tables[0] == tables[1]


@pytest.mark.parametrize(
    ("model", "name", "line"),
    [
        ("model", "world", "'world': no name of a repository, expected ORG/NAME"),
        ("model", "../world", "no name of a repository, expected ORG/NAME"),
        ("data", "lab/world", f"data/{MODEL}: "),
        ("nowhere", "lab/world", f"nowhere/{MODEL}: "),
    ],
)
def test_what_push_cannot_take_is_one_line(at_home, hub, model, name, line):
    assert line in line_of(at_home, "push", model, name)
    assert not hub.repositories and not hub.asked


def test_a_damaged_model_is_not_pushed_and_who_may_not_is_told_so(at_home, tmp_path, hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_another")
    said = line_of(at_home, "push", "model", "lab/world")
    assert "(401: not there, or not for you; " in said and TOKEN not in said and "hf_another" not in said
    asked = len(hub.asked)
    (tmp_path / "model" / WEIGHTS).write_bytes(b"\0" * 100)
    assert WEIGHTS in line_of(at_home, "push", "model", "lab/world") and len(hub.asked) == asked

from pathlib import Path

import numpy as np
import polars as pl
from safetensors.torch import load_file

import plait
from plait import pretrained
from plait.datasets import generated

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_a_data_set_an_encoder_and_a_method_of_one_s_own(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    for subject in "abc":
        for at, activity in enumerate(["walk", "climb", "rest"]):
            for trial in range(4):
                wave = np.sin(np.arange(400) / 50 * 2 * np.pi * (1 + at))[:, None]
                values = wave * [1, 0.5, 0.2, 0.1] + rng.normal(0, 0.1, (400, 4))
                table = pl.DataFrame(values, schema=["x", "y", "z", "breath"])
                table.write_csv(tmp_path / f"{subject}_{activity}_{trial}.csv")
    monkeypatch.syspath_prepend(EXAMPLES)
    options = {"sets": ["train.max_epochs=15"], "executor": "inline"}
    page = plait.run(EXAMPLES / "own.toml", tmp_path, tmp_path / "out", **options)
    predictions = pl.read_parquet(page.with_name("predictions.parquet"))
    right = predictions.group_by("method").agg((pl.col("activity") == pl.col("predicted")).mean())
    accuracy = dict(right.iter_rows())
    assert set(accuracy) == {"watch", "watch-spectrum", "gated", "balanced", "watch-led"}
    assert min(accuracy.values()) > 0.6


def test_each_stays_under_40_lines():
    for file in EXAMPLES.glob("*.py"):
        assert len(file.read_text().splitlines()) < 40, file.name


def test_blocks_of_a_network_are_trained_with_the_method(tmp_path, monkeypatch):
    monkeypatch.setattr(generated, "SUBJECTS", ("1", "2", "3", "4"))
    monkeypatch.setattr(generated, "REPEATS", 1)
    options = {"sets": ["train.max_epochs=1"], "executor": "inline"}
    page = plait.run(EXAMPLES / "finetune.toml", tmp_path, tmp_path / "out", **options)
    table = pl.read_parquet(page.with_name("predictions.parquet"))
    assert set(table["method"]) == {"tuned", "tuned-led", "frozen"}
    public = pretrained.lite0().state_dict()
    moved = []
    for file in page.parent.glob("jobs/*/weights.safetensors"):
        weights = load_file(file)
        prefix = "encoders.video.blocks.blocks_4_0."
        own = {name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)}
        moved.append({name for name, w in own.items() if not w.equal(public[f"blocks.4.0.{name}"])})
    assert sorted(map(len, moved)) == [0, 9, 9]
    assert not any("running" in name for names in moved for name in names)

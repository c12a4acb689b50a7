from pathlib import Path

import numpy as np
import polars as pl

import plait

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

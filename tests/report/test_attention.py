"""The attention of a finished run on one clip: pictures for every lead and context, and the deletion test's table."""

import xml.etree.ElementTree as ET

import polars as pl
import pytest
from tests import tiny

from plait.errors import ConfigError, DataError
from plait.report.attention import write_attention
from plait.study.run import run_study

METHODS = {
    "a": {"use": "plait.fusion:Single", "args": {"modality": "a"}},
    "led": {"use": "plait.fusion:Led", "args": {"lead": "a"}},
    "both": {"use": "plait.fusion:Symmetric", "encoders": {"a": {"from": "a", "frozen": True}}},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLAIT_CACHE", str(tmp_path_factory.mktemp("cache")))
        out = tmp_path_factory.mktemp("run")
        run_study(tiny.study(methods=METHODS, seeds=[0]), None, out)
        yield out


def test_a_picture_for_every_lead_and_context(run):
    clip = pl.read_parquet(run / "predictions.parquet")["clip"][0]
    (picture,) = write_attention(run, clip, "led")
    texts = [element.text or "" for element in ET.parse(picture).iter("{http://www.w3.org/2000/svg}text")]
    assert any(text.startswith(f"{clip}: ") and "by led" in text for text in texts)
    assert any("query dependence" in text for text in texts) and "A" in texts
    assert picture.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    assert len(write_attention(run, clip, "both")) == 2
    assert len(write_attention(run, clip)) in (1, 2)


def test_the_deletion_test_starts_at_the_run_s_own_accuracy(run):
    predictions = pl.read_parquet(run / "predictions.parquet").filter(pl.col("method") == "led")
    clip = predictions.filter(pl.col("subject") == "3")["clip"][0]
    write_attention(run, clip, "led")
    told = pl.read_csv(run / "attention" / "deletion.csv")
    own = predictions.filter(pl.col("subject") == "3")
    assert told.filter(pl.col("share") == 0)["accuracy"].to_list() == pytest.approx(
        [(own["activity"] == own["predicted"]).mean()] * 2
    )
    assert set(told["removed"]) == {"attended", "random"} and told["accuracy"].is_between(0, 1).all()


def test_mistakes_are_named(run, tmp_path):
    clip = pl.read_parquet(run / "predictions.parquet")["clip"][0]
    for arguments, said in (
        ((run, "nobody"), "no clip 'nobody'"),
        ((run, clip, "lod"), "no trained method 'lod'"),
        ((run, clip, "a"), "Single has no attention, expected Led or Symmetric"),
    ):
        with pytest.raises(ConfigError, match=said):
            write_attention(*arguments)
    with pytest.raises(ConfigError, match="no fold 'x/0', expected one of: 1/0, 2/0"):
        write_attention(run, clip, "led", fold="x/0")
    with pytest.raises((ConfigError, DataError), match="study.toml"):
        write_attention(tmp_path, clip)

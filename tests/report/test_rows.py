"""What a page says of a row: every kind has a sentence, and the study file says how it was trained."""

from typing import get_args

import pytest
from tests import tiny

from plait.errors import DataError
from plait.report.drawing import COLOUR_OF, COLOURS, GLYPH, MARKER
from plait.report.rows import about, read_settings, sentence
from plait.results import Kind, MethodFacts, Origin, RunFacts, job_folder, read_facts, read_job
from plait.study.run import run_study

BOTH = ("video", "gloves")


def run_of(**methods):
    return RunFacts("study", "set", "", ("sit",), BOTH, {}, (0, 1, 2), methods)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_kind_has_a_sentence_a_colour_and_a_shape(kind):
    row = MethodFacts(kind, BOTH, made_of=("one", "other"))
    said = sentence(run_of(row=row), row)
    assert said.endswith(".") and ("one and other" in said or "video and gloves" in said)
    assert COLOUR_OF[kind] in COLOURS and GLYPH[kind] and MARKER[kind]


def test_sentences_tell_kinds_apart():
    rows = [MethodFacts(kind, BOTH, made_of=("one", "other")) for kind in get_args(Kind)]
    assert len({sentence(run_of(), row) for row in rows}) == len(rows)


def test_a_fusion_of_plaits_says_what_its_class_says_and_no_other_code_is_run():
    led, own = (MethodFacts("fusion", BOTH, use=use) for use in ("plait.fusion:Led", "nowhere.at.all:Own"))
    assert sentence(run_of(), led).startswith("Class scores from the lead's grid")
    assert "not plait's own" in sentence(run_of(), own)
    gone = MethodFacts("fusion", BOTH, use="plait.fusion:Gone")
    assert "not plait's own" in sentence(run_of(), gone)


STUDY = """
[train]
optimizer = "torch.optim:AdamW"
batch_size = 32
max_epochs = 24
patience = 5
choose = "best"
label_smoothing = 0.1
args = { lr = 0.004, weight_decay = 0.01 }
[methods.led]
use = "plait.fusion:Led"
augment = { video = "my.module:flip", gloves = "my.module:flip" }
[methods.led.train]
choose = "last"
args = { lr = 0.1 }
objective = { use = "my.module:Dropout", args = { p = 0.2 } }
[methods.concat.train]
optimizer = "torch.optim:SGD"
args = { momentum = 0.9 }
"""


def test_how_a_row_was_trained_comes_from_the_run_and_its_study(tmp_path):
    (tmp_path / "study.toml").write_text(STUDY)
    led = MethodFacts(
        "fusion",
        BOTH,
        use="plait.fusion:Led",
        args={"lead": "video"},
        encoders={"video": Origin(donor="alone", frozen=True)},
        parameters=1234,
        jobs=6,
        train_seconds=30.0,
    )
    concat = MethodFacts("concat", BOTH, use="plait.fusion:Concat", jobs=1)
    average = MethodFacts("average", BOTH, made_of=("led", "concat"))
    found = about(run_of(led=led, concat=concat, average=average), read_settings(tmp_path))
    assert found["led"].facts == {
        "source": "plait.fusion:Led (lead video)",
        "modalities": "video (encoder frozen, from alone); gloves",
        "parameters": "1,234 trained",
        "trained": "6 times, once a fold and seed, 5.0 s each on cpu",
        "with": "AdamW (lr 0.1, weight_decay 0.01); batches of 32; 24 epochs, the last kept; "
        "labels smoothed by 0.1; Dropout (p 0.2); video and gloves varied by flip",
    }
    assert found["concat"].facts["with"].startswith("SGD (momentum 0.9); batches of 32; up to 24 epochs")
    assert found["average"].facts == {
        "source": "led, concat",
        "modalities": "video; gloves",
        "trained": "nothing of its own",
    }


def test_a_run_without_its_study_says_less_and_a_broken_one_is_named(tmp_path):
    row = MethodFacts("single", ("video",), use="plait.fusion:Single", jobs=1)
    assert "with" not in about(run_of(row=row), read_settings(tmp_path))["row"].facts
    assert read_settings(None) == {}
    (tmp_path / "study.toml").write_text("no such = = thing")
    with pytest.raises(DataError, match="study.toml: cannot be read") as caught:
        read_settings(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_job_that_rows_share_takes_its_time_once(tmp_path):
    """As the row of a sweep whose width is the swept fusion's own."""
    led = {"use": "plait.fusion:Led", "args": {"lead": "a", "embedding": 2}}
    methods = {"led": led, "width": led | {"sweep": {"embedding": [1, 2]}}}
    run_study(tiny.study(methods=methods, seeds=[0], train={"max_epochs": 1}), None, tmp_path)
    facts = read_facts(tmp_path)
    keys = {key for row in facts.methods.values() for key in row.keys.values()}
    assert facts.methods["led"].keys == facts.methods["width[embedding=2]"].keys and len(keys) == 8
    assert facts.seconds == pytest.approx(sum(read_job(job_folder(tmp_path, key)).seconds for key in keys))

"""Predictions in a run's folder `timelines` are on its page."""

import json
import re
from urllib.parse import unquote

import pytest
from tests.report.conftest import recognised
from tests.report.test_report import Page, make_run, page

from plait.errors import DataError
from plait.recogniser.predict import PREDICTED, SCORES
from plait.recogniser.score import score
from plait.report.timelines import MOST
from plait.results import read_facts, row_key
from plait.store import write_json


def section(html):
    """The timelines' part of a page: its markup, and its words with single blanks between them."""
    [part] = re.findall(r'<section id="timelines">.*?</section>', html, re.DOTALL)
    return part, " ".join("".join(Page(re.sub(r"<svg.*?</svg>", "", part, flags=re.DOTALL)).text).split())


def test_a_page_without_predictions_has_none(tmp_path):
    run = make_run(tmp_path / "run")
    before = page(run)
    assert 'id="timelines"' not in before and 'href="#timelines"' not in before
    recognised(run)
    assert page(run) != before
    (run / "timelines" / "somebody" / PREDICTED).unlink()
    assert page(run) == before


def test_the_timeline_stands_under_the_main_table_and_says_who_by_what_and_how_well(tmp_path):
    run = make_run(tmp_path / "run")
    found = score(recognised(run))
    html = page(run)
    assert html.index('id="accuracy"') < html.index('id="timelines"') < html.index('id="paper"')
    part, words = section(html)
    assert part.count("<svg") == 2 and 'href="#timelines"' in html
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", part)
    assert {"somebody", "labelled", "predicted", "scores", "a", "b", "time, s"} <= {*map(str.strip, texts)}
    assert "somebody: 40 s of person 9, who took no part in training, validation or test." in words
    assert "19 windows of 4 s, one every 2 s." in words
    assert (
        "Recognised by led, trained on 2 people (1, 2). Decoding: the highest score of each moment." in words
    )
    assert found.accuracy_labelled > 0.9
    assert f"Right: {100 * found.accuracy_labelled:.1f} % of the labelled frames" in words
    assert f"{100 * found.accuracy:.1f} % of all." in words


def test_every_link_leads_to_a_file_that_is_there(tmp_path):
    run = make_run(tmp_path / "run")
    recognised(run, 'a "b" <c>?d#e')
    links = [about["href"] for tag, about in Page(section(page(run))[0]).tags if tag == "a"]
    assert len(links) == 4 and all((run / unquote(link)).is_file() for link in links)
    assert not any(set(link) & set('"<>?#') for link in links)


@pytest.mark.parametrize("subject", ["1", "5"])  # was tested in the run; trained the model
def test_who_took_part_is_not_called_a_stranger(tmp_path, subject):
    run = make_run(tmp_path / "run")
    recognised(run, subject=subject, trained_on=["4", "5"])
    words = section(page(run))[1]
    assert "took no part" not in words and "who took part in this study or trained the model." in words


def test_a_fixed_split_names_who_trained(tmp_path):
    run = make_run(tmp_path / "run")
    facts = json.loads((run / "run.json").read_text())
    facts["protocol"] = {"kind": "fixed", "train": ["9"], "val": [], "test": ["1", "2", "3"], "refit": False}
    (run / "run.json").write_text(json.dumps(facts))
    recognised(run)
    assert "took no part" not in section(page(run))[1]


def test_the_fusion_of_the_page_is_said_to_be_it(tmp_path):
    run = make_run(tmp_path / "run")
    shown = re.search(r"The fusion shown here, <strong>(.*?)</strong> \((.*?)\)", page(run))
    name, how = shown.groups()
    recognised(run, method=name, row=row_key(read_facts(run).methods, name))
    assert f"Recognised by {name}, the fusion that this page shows ({how})" in section(page(run))[1]


@pytest.mark.parametrize("row", ["", "of other settings"])
def test_a_model_of_the_fusion_s_name_alone_is_not_said_to_be_it(tmp_path, row):
    run = make_run(tmp_path / "run")
    name = re.search(r"The fusion shown here, <strong>(.*?)</strong>", page(run)).group(1)
    recognised(run, method=name, row=row)
    words = section(page(run))[1]
    assert f"Recognised by {name}, a model that was not fitted by this run, or by other settings" in words
    assert "the fusion that this page shows" not in words


def test_a_name_that_looks_like_somebody_s_is_said_to_and_is_no_stranger(tmp_path):
    run = make_run(tmp_path / "run")
    recognised(run, subject="S01")
    html = page(run)
    assert "person S01, who may be 1, by the name: who took part" in section(html)[1]
    assert "took no part" not in html


def test_a_recording_of_nobody_is_no_stranger_s(tmp_path):
    run = make_run(tmp_path / "run")
    recognised(run, subject="")
    assert "took no part" not in page(run)


def test_nothing_is_said_of_what_nobody_knows(tmp_path):
    """Neither labels nor scores nor people, whom earlier predictions do not name."""
    run = make_run(tmp_path / "run")
    out = recognised(run, subject="", labels=False)
    said = json.loads((out / PREDICTED).read_text())
    del said["trained_on"]
    write_json(out / PREDICTED, said)
    part, words = section(page(run))
    assert "Right" not in words and "person" not in words and "trained on" not in words
    assert ">labelled<" not in part.replace(" ", "") and ">predicted<" in re.sub(r"\s", "", part)


def test_many_recordings_are_counted_and_not_all_drawn(tmp_path):
    run = make_run(tmp_path / "run")
    out = recognised(run)
    said = json.loads((out / PREDICTED).read_text())
    said["recordings"] = {f"{n}": said["recordings"]["somebody"] for n in range(MOST + 2)}
    write_json(out / PREDICTED, said)
    part, words = section(page(run))
    assert part.count("<figure") == MOST and "2 recordings more in timelines/somebody." in words


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        (PREDICTED, '{"key": 1}', "run `plait predict` again"),
        ("timeline.parquet", "nothing", "run `plait predict` again"),
        (SCORES, '{"accuracy": 2, "accuracy_labelled": null}', "accuracy: .*; run `plait score` again"),
        (SCORES, "[]", "run `plait score` again"),
    ],
)
def test_what_is_damaged_is_said_by_name(tmp_path, file, text, expected):
    run = make_run(tmp_path / "run")
    out = recognised(run)
    (out / file).write_text(text)
    with pytest.raises(DataError, match=expected) as refused:
        page(run)
    assert str(out / file) in str(refused.value)

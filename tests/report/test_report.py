"""A report of generated runs: complete, offline, safe with awkward names, the same bytes every time."""

import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import polars as pl
import pytest
from matplotlib.text import Text

from plait.analysis.metrics import first_best
from plait.errors import DataError
from plait.report import write_report
from plait.report.curves import width_plot
from plait.report.figures import accuracy_plot

TABLES = (
    "table",
    "table1",
    "table2",
    "comparisons",
    "subjects",
    "activities",
    "confusion",
    "mistakes",
    "gains",
    "claims",
)
FIGURES = ("accuracy", "comparisons", "gains")
FILES = (
    *(f"{name}.{ending}" for name in TABLES for ending in ("csv", "tex")),
    *(f"{name}.{ending}" for name in FIGURES for ending in ("svg", "pdf")),
    "contrasts.csv",
    "coverage.csv",
    "reliability.csv",
    "subject_confusion.csv",
    "widths.csv",
    "table.md",
    "index.html",
)
BOTH = ("video", "gloves")
METHODS = {
    "video": ("single", BOTH[:1], "mean", 0.6),
    "gloves": ("single", BOTH[1:], "mean", 0.5),
    "average": ("average", BOTH, None, 0.65),
    "concat": ("concat", BOTH, "flatten", 0.66),
    "concat-mean": ("concat", BOTH, "mean", 0.7),
    "video-led": ("fusion", BOTH, "mean", 0.8),
}
AWKWARD = {
    "<b>bold</b>": ("single", BOTH[:1], "mean", 0.6),
    "a|b, $x_1$ *c* \"q\" 'r'": ("concat", BOTH, "flatten", 0.5),
    "</script><script>alert(1)</script>": ("fusion", BOTH, "mean", 0.7),
    "融合 " + "long-name-" * 12: ("fusion", BOTH, "hidden", 0.7),
}


def make_run(folder, methods=METHODS, activities=("sit", "walk", "run"), subjects=3, seeds=2, study="demo"):
    """A run folder whose methods are right with the probability named last."""
    rng = np.random.default_rng(0)
    rows = []
    for method, (*_, skill) in methods.items():
        for seed in range(seeds):
            for subject in range(1, subjects + 1):
                for c in range(2 * len(activities)):
                    true = c % len(activities)
                    hit = rng.random() < skill
                    predicted = true if hit else int(rng.integers(len(activities)))
                    who = str(subject)
                    rows.append(
                        (study, method, who, seed, f"{who}-{c}", who, activities[true], activities[predicted])
                    )
    columns = ("study", "method", "fold", "seed", "clip", "subject", "activity", "predicted")
    folder.mkdir(parents=True, exist_ok=True)
    table = pl.DataFrame(rows, schema=columns, orient="row").sort("method", "seed", "fold", "clip")
    table.write_parquet(folder / "predictions.parquet")
    about = {
        "study": study,
        "dataset": "generated",
        "cite": "A. Author, 'Title', https://example.org/paper",
        "activities": activities,
        "modalities": BOTH,
        "protocol": {"kind": "leave-one-subject-out", "val_subjects": 1, "refit": False},
        "seeds": list(range(seeds)),
        "methods": {
            name: {
                "kind": kind,
                "modalities": modalities,
                "head": head,
                "use": None,
                "args": {"lead": name.removesuffix("-led")} if name.endswith("-led") else {},
                "average": [],
                "parameters": 0 if kind == "average" else 1234,
                "jobs": 0 if kind == "average" else seeds * subjects,
                "train_seconds": 0.0 if kind == "average" else 2.5 * seeds * subjects,
            }
            for name, (kind, modalities, head, _) in methods.items()
        },
        "versions": {"plait": "0.1.0"},
        "commit": "abc123",
        "device": "cpu",
        "threads": 1,
        "cores": 2,
        "seconds": 3725.0,
    }
    (folder / "run.json").write_text(json.dumps(about), encoding="utf-8")
    return folder


class Page(HTMLParser):
    """Every tag with its attributes, and the text outside script and style."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.inside = [], [], None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.inside = tag if tag in ("script", "style") else None

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside is None:
            self.text.append(data)


def page(run):
    return write_report(run).read_text(encoding="utf-8")


def embedded(html, name="data"):
    return json.loads(
        re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', html, re.S).group(1)
    )


def test_an_activity_that_no_test_clip_shows_is_named(tmp_path):
    run = make_run(tmp_path / "run")
    before = page(run)
    facts = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**facts, "activities": [*facts["activities"], "fly"]}))
    said = "Macro F1: unweighted mean of F1 over all 4 activities (no test clip shows fly: counted as 0)"
    assert said in page(run) and said in (run / "table.md").read_text()
    assert "mean of F1 over all 3 activities, test" in before


def test_everything_is_written_and_nothing_else(tmp_path):
    run = make_run(tmp_path / "run")
    assert write_report(run) == run / "index.html"
    assert {file.name for file in run.iterdir()} == {*FILES, "predictions.parquet", "run.json"}


def test_a_report_leaves_nothing_of_the_run_that_lay_there_before(tmp_path):
    """As where fewer methods are run into the same folder: others' numbers would stand beside theirs."""
    planned = {"contrasts": [["video-led", "concat"]], "margin": 0.05}
    for folder, methods in (("run", METHODS), ("run", ["video", "gloves"]), ("fresh", ["video", "gloves"])):
        run = make_run(tmp_path / folder, {name: METHODS[name] for name in methods})
        if len(methods) > 2:
            about = json.loads((run / "run.json").read_text())
            (run / "run.json").write_text(json.dumps(about | {"comparisons": planned}))
        page(run)
        assert (run / "contrasts.tex").exists() == (len(methods) > 2)
    left, fresh = ({path.name for path in (tmp_path / name).iterdir()} for name in ("run", "fresh"))
    assert left == fresh


def test_the_best_of_several_alike_is_the_first_whatever_order_sums_are_in():
    """Means of the same accuracies in another order differ in their last digits."""
    shares = [(0.1, 0.2, 0.3), (0.3, 0.2, 0.1), (0.2, 0.3, 0.1)]
    means = {name: sum(parts) / 3 for name, parts in zip("abc", shares, strict=True)}
    assert len(set(means.values())) > 1
    for names in (("a", "b", "c"), ("c", "b", "a"), ("b", "a", "c")):
        assert first_best(names, means) == names[0]
        assert first_best([*names, "d"], means | {"d": 0.21}) == "d"


def test_figures_say_which_mean_they_show_where_several_people_are_tested_together():
    """Of two folds, of three people and of one."""
    shares = {"a": (0.2, 0.4, 0.6, 1.0), "led[embedding=2]": (0.1, 0.2, 0.3, 1.0)}
    rows = [(name, str(who), share) for name, parts in shares.items() for who, share in enumerate(parts)]
    people = pl.DataFrame(rows, schema=["method", "subject", "accuracy"], orient="row")
    main = pl.DataFrame({"method": [*shares], "kind": ["single", "fusion"], "accuracy": [0.7, 0.6]})
    for folds, said in ((2, "large: mean over folds"), (4, "large: mean")):
        counted = main.with_columns(folds=pl.lit(folds), subjects=pl.lit(4))
        drawn = accuracy_plot(counted, people)
        assert said in [
            line for text in drawn.findobj(Text) for line in re.split(r"\n|, (?=large)", text.get_text())
        ]
    widths = pl.DataFrame({"series": "led", "embedding": [2, 4, 8], "accuracy": 0.4, "low": 0.1, "high": 0.9})
    heights = [line.get_ydata()[0] for line in width_plot(widths, people, ["a"]).axes[0].lines]
    assert heights == pytest.approx([40.0, 55.0])


def test_the_same_run_gives_the_same_bytes(tmp_path, pdf):
    first, second = make_run(tmp_path / "a"), make_run(tmp_path / "b")
    write_report(first)
    write_report(second)
    write_report(second)
    for name in FILES:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name


@pytest.mark.parametrize("methods", [METHODS, AWKWARD])
def test_the_page_loads_nothing(tmp_path, methods):
    html = page(make_run(tmp_path, methods))
    for tag, attributes in Page(html).tags:
        for name in ("src", "href", "xlink:href", "data", "action", "poster", "srcset"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, name, value)
        assert tag not in ("iframe", "object", "embed", "base")
    assert not re.search(r"@import|\bfetch\(|XMLHttpRequest|\bimport\(", html)
    assert all(url.startswith("#") for url in re.findall(r"url\(['\"]?([^)'\"]*)", html))


def test_names_never_become_markup(tmp_path):
    activities = ("</script>", "<img src=x onerror=alert(1)>", "comma, \"quoted\" & 'single'")
    html = page(make_run(tmp_path, AWKWARD, activities, study="<study> & |co|"))
    read = Page(html)
    assert not [tag for tag, attributes in read.tags if tag in ("b", "img") and attributes]
    assert sum(tag == "script" for tag, _ in read.tags) == 2
    text = "".join(read.text)
    assert all(name in text for name in AWKWARD)
    assert "<study> & |co|" in text
    assert embedded(html)["activities"] == list(activities)
    assert set(embedded(html)["methods"]) == set(AWKWARD)


def test_markdown_cells_stay_in_their_cells(tmp_path):
    write_report(make_run(tmp_path, AWKWARD))
    lines = (tmp_path / "table.md").read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {9, 6}
    assert any(r"a\|b, $x\_1$ \*c\*" in row for row in rows)
    assert not [row for row in rows if re.search(r"(?<!\\)<", row)]


def test_csv_files_read_back(tmp_path):
    run = make_run(tmp_path, AWKWARD)
    write_report(run)
    table = pl.read_csv(run / "table.csv")
    assert set(table["method"]) == set(AWKWARD)
    assert table["kind"].to_list() == ["single", "concat", "fusion", "fusion"]
    assert table["train_seconds"].to_list() == [2.5] * 4
    confusion = pl.read_csv(run / "confusion.csv")
    assert confusion["clips"].sum() == len(pl.read_parquet(run / "predictions.parquet"))
    assert len(pl.read_csv(run / "activities.csv")) == 4 * 3
    assert len(pl.read_csv(run / "subjects.csv")) == 4 * 3


def test_groups_keep_the_order_of_the_study_and_averages_train_nothing(tmp_path):
    shuffled = {
        name: METHODS[name] for name in ("video-led", "concat-mean", "gloves", "average", "video", "concat")
    }
    write_report(make_run(tmp_path, shuffled))
    table = pl.read_csv(tmp_path / "table.csv")
    assert table["method"].to_list() == ["gloves", "video", "concat-mean", "average", "concat", "video-led"]
    assert table.filter(pl.col("method") == "average")["train_seconds"].to_list() == [None]


def test_the_picture_is_well_formed_and_says_its_names(tmp_path):
    write_report(make_run(tmp_path, AWKWARD))
    texts = [
        element.text
        for element in ET.parse(tmp_path / "accuracy.svg").iter("{http://www.w3.org/2000/svg}text")
    ]
    assert "<b>bold</b>" in texts
    assert "a|b, $x_1$ *c* \"q\" 'r'" in texts


def test_figures_in_the_page_follow_its_colours(tmp_path):
    html = page(make_run(tmp_path))
    drawings = re.findall(r'<div class="(?:wide|narrow)"><svg.*?</svg>', html, re.S)
    assert len(drawings) == 6
    for drawing in drawings:
        assert "var(--ink)" in drawing
        assert not re.search(r"(fill|stroke): #", drawing)
        assert 'id="figure' not in drawing


@pytest.mark.parametrize("subjects", [1, 2, 6, 19])
def test_any_number_of_subjects(tmp_path, subjects):
    html = page(make_run(tmp_path, subjects=subjects))
    found = pl.read_csv(tmp_path / "comparisons.csv", infer_schema_length=None)
    assert len(found) == 4 and found["low"].is_null().all() == (subjects < 6)
    assert 'id="contrasts"' not in html and "This study planned no contrast" in html
    order = pl.read_csv(tmp_path / "subjects.csv")["subject"].unique(maintain_order=True).to_list()
    assert order == sorted(order)


@pytest.mark.parametrize(("subjects", "order"), [(3, "holm"), (8, "sequence"), (8, "holm")])
def test_what_a_study_was_to_decide_stands_on_its_page(tmp_path, subjects, order):
    run = make_run(tmp_path, subjects=subjects)
    about = json.loads((run / "run.json").read_text())
    contrasts = [["video-led", "concat"], ["video-led", "average"], ["video-led", "not-run"]]
    about["comparisons"] = {"contrasts": contrasts, "order": order, "margin": 0.05}
    (run / "run.json").write_text(json.dumps(about))
    html = page(run)
    table = pl.read_csv(run / "contrasts.csv", infer_schema_length=None)
    text = " ".join("".join(Page(html).text).split())
    assert table["verdict"].to_list()[2] == "not run" and "not-run: not run, counted as not shown." in text
    assert "Of 3 planned contrasts" in text and "These are descriptions, not tests." in text
    for verdict, difference in table.select("verdict", "difference").head(2).iter_rows():
        assert verdict in text and f"{abs(100 * difference):.1f} points" in text
    if subjects == 3:
        assert "so few people can show no difference whatever" in text
    assert "tested by sign flips over people" in text and "Equivalent: two one-sided" in text
    assert (run / "contrasts.svg").is_file() and (run / "contrasts.tex").is_file()
    assert "## Planned contrasts" in (run / "table.md").read_text()


def test_the_hardest_person_is_said_to_be_hard_and_why(tmp_path):
    run = make_run(tmp_path)
    table = pl.read_parquet(run / "predictions.parquet")
    hard = (pl.col("subject") == "2") & (pl.col("method") == "video-led") & (pl.col("activity") == "sit")
    changed = (
        pl.when(hard)
        .then(pl.lit("run"))
        .when(pl.col("subject") != "2")
        .then("activity")
        .otherwise("predicted")
    )
    table.with_columns(predicted=changed).write_parquet(run / "predictions.parquet")
    text = " ".join("".join(Page(page(run)).text).split())
    own = pl.read_csv(run / "subjects.csv").filter(
        (pl.col("method") == "video-led") & (pl.col("subject") == 2)
    )
    (accuracy, others) = own.select("accuracy", "others").row(0)
    assert (
        others == 1
        and f"Person 2: video-led is right on {100 * accuracy:.1f} % of the clips, on 100.0 %" in text
    )
    assert "sit → run: 100.0 % of theirs, 0.0 % of everybody else's" in text and "Person 1:" not in text
    wrong = pl.read_csv(run / "mistakes.csv").filter(pl.col("method") == "video-led").row(0)
    assert wrong[:4] == ("video-led", 2, "sit", "run")
    whole = pl.read_csv(run / "confusion.csv").filter(pl.col("clips") > 0)
    people = pl.read_csv(run / "subject_confusion.csv")
    pair = ["method", "activity", "predicted"]
    assert people.group_by(pair).agg(pl.col("clips").sum()).sort(pair).equals(whole.sort(pair))


def test_cases_of_an_earlier_version_are_named(tmp_path):
    run = make_run(tmp_path)
    (run / "cases.json").write_text('{"of": "", "models": [], "cases": []}')
    with pytest.raises(
        DataError, match=r"cases.json: of an earlier version; remove it, or run the study again"
    ):
        write_report(run)


def test_a_single_method_has_no_comparisons(tmp_path):
    html = page(make_run(tmp_path, {"video": METHODS["video"]}))
    assert 'id="comparisons"' not in html
    assert "★" not in html
    assert pl.read_csv(tmp_path / "comparisons.csv").is_empty()


def test_a_large_study_stays_small(tmp_path):
    many = {f"{name}-{i}": row for i in range(3) for name, row in METHODS.items()}
    run = make_run(tmp_path, many, tuple(f"activity number {i}" for i in range(27)), subjects=4, seeds=1)
    assert write_report(run).stat().st_size < 1_000_000


def test_best_values_are_marked_with_more_than_colour(tmp_path):
    text = "".join(Page(page(make_run(tmp_path))).text)
    assert text.count("(best)") >= 5


def test_where_nothing_was_trained_no_cost_is_the_best(tmp_path):
    run = make_run(tmp_path)
    facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
    for row in facts["methods"].values():
        row.update(parameters=0, jobs=0, train_seconds=0.0)
    (run / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    assert 3 <= "".join(Page(page(run)).text).count("(best)") < 5


@pytest.mark.parametrize("file", ["predictions.parquet", "run.json"])
@pytest.mark.parametrize("damage", ["missing", "broken"])
def test_what_is_missing_or_broken_is_named_in_one_line(tmp_path, file, damage):
    run = make_run(tmp_path)
    (run / file).unlink()
    if damage == "broken":
        (run / file).write_bytes(b"no such thing")
    with pytest.raises(DataError, match="plait run") as caught:
        write_report(run)
    assert str(run / file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_run_that_does_not_belong_to_its_predictions(tmp_path):
    run = make_run(tmp_path)
    about = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(about | {"methods": {"other": about["methods"]["video"]}}))
    with pytest.raises(DataError, match="not in run.json"):
        write_report(run)
    extra = about["methods"] | {"other": about["methods"]["video"]}
    (run / "run.json").write_text(json.dumps(about | {"methods": extra}))
    with pytest.raises(DataError, match="nothing of method 'other'"):
        write_report(run)
    (run / "run.json").write_text(json.dumps(about | {"activities": ["sit"]}))
    with pytest.raises(DataError, match="activity 'run'"):
        write_report(run)
    (run / "run.json").write_text(json.dumps({key: about[key] for key in about if key != "activities"}))
    with pytest.raises(DataError, match="activities"):
        write_report(run)


def test_predictions_without_a_column_or_a_row(tmp_path):
    run = make_run(tmp_path)
    table = pl.read_parquet(run / "predictions.parquet")
    table.drop("subject").write_parquet(run / "predictions.parquet")
    with pytest.raises(DataError, match="'subject'"):
        write_report(run)
    table.clear().write_parquet(run / "predictions.parquet")
    with pytest.raises(DataError, match="nothing of method"):
        write_report(run)


def test_a_fixed_split_is_told_in_words(tmp_path):
    run = make_run(tmp_path)
    about = json.loads((run / "run.json").read_text())
    protocol = {"kind": "fixed", "train": ["1"], "val": ["2"], "test": ["3", "4"], "refit": True}
    (run / "run.json").write_text(json.dumps(about | {"protocol": protocol}))
    write_report(run)
    said = (run / "table.md").read_text()
    assert "training on 1; validation on 2; test on 3, 4, then trained once more" in said
    assert "Folds share" not in said


def test_whose_encoders_were_trained_before_is_said(tmp_path):
    run = make_run(tmp_path / "run")
    about = json.loads((run / "run.json").read_text())
    about["methods"]["concat"]["encoders"] = {"video": {"donor": "video", "frozen": True}}
    about["methods"]["video-led"]["encoders"] = {m: {"donor": m} for m in ("video", "gloves")}
    about["methods"]["gloves"]["encoders"] = {"gloves": {"network": "my.module:Net"}}
    (run / "run.json").write_text(json.dumps(about))
    html = page(run)
    table = (run / "table.md").read_text()
    assert "| concat | video (frozen) + gloves | flatten |" in table
    assert "| video-led | video + gloves (tuned) | mean |" in table
    assert "| gloves | gloves | mean |" in table
    for text in (table, html):
        assert (
            "It has seen its training clips, so their features are better than those of test clips." in text
        )
        assert "is trained further." in text
    rows = {row["method"]: row["encoders"] for row in pl.read_csv(run / "table.csv").iter_rows(named=True)}
    assert json.loads(rows["concat"]) == {"video": "frozen, from video"}
    assert json.loads(rows["gloves"]) == {"gloves": "my.module:Net"}
    comparisons = pl.read_csv(run / "comparisons.csv")
    against = comparisons.filter(pl.col("fusion") == "video-led")["baseline"].to_list()
    assert against == ["average", "video"]  # the concatenations have their encoders from elsewhere


def test_a_split_among_some_subjects_is_said(tmp_path):
    run = make_run(tmp_path / "run")
    about = json.loads((run / "run.json").read_text())
    about["protocol"] = {"kind": "leave-one-subject-out", "subjects": ["1", "2", "3"], "val_subjects": 0}
    (run / "run.json").write_text(json.dumps(about))
    page(run)
    expected = "leave one subject out among 1, 2, 3, the others left alone; nobody validates"
    assert expected in (run / "table.md").read_text()


def with_hands(run, **changed):
    """A `hands.parquet` beside a run: every third clip misses one hand, every third two."""
    clips = pl.read_parquet(run / "predictions.parquet").select("clip").unique(maintain_order=True)
    numbers = pl.int_range(pl.len(), dtype=pl.Int64)
    hands = clips.with_columns(
        count=2 - numbers % 3, missing=numbers % 3, visible=pl.lit(None, dtype=pl.Int64)
    )
    hands.with_columns(**changed).write_parquet(run / "hands.parquet")
    return run


def test_detected_hands_add_fig_8_its_table_and_its_claim(tmp_path):
    run = make_run(tmp_path / "run")
    assert "When hands are missing" not in page(run) and not (run / "hands.csv").exists()
    html = page(with_hands(run))
    assert {path.name for path in run.glob("hands.*")} == {
        f"hands.{kind}" for kind in ("parquet", "csv", "tex", "svg", "pdf")
    }
    told = Page(html)
    assert ("a", {"href": "#hands"}) in told.tags and "When hands are missing" in "".join(told.text)
    assert "not detected" in html and "agree on" not in html  # nobody knows what is visible
    table = pl.read_csv(run / "hands.csv")
    assert table["method"].unique(maintain_order=True).to_list() == list(METHODS)
    assert table.filter(pl.col("method") == "video")["clips"].to_list() == [6, 6, 6]
    claims = pl.read_csv(run / "claims.csv").filter(pl.col("claim").str.contains("missing hands"))
    assert set(claims["against"]) == {"video", "gloves"} and set(claims["fusion"]) == {"video-led"}
    ET.parse(run / "hands.svg")
    html = page(with_hands(run, visible=pl.lit(2, dtype=pl.Int64)))
    assert "agree on 6 of 18 clips" in " ".join(html.split())


def test_hands_of_other_clips_are_refused(tmp_path):
    run = with_hands(make_run(tmp_path / "run"))
    hands = pl.read_parquet(run / "hands.parquet")
    hands[1:].write_parquet(run / "hands.parquet")
    with pytest.raises(
        DataError, match="hands.parquet: nothing of clip '1-0'; run `plait hands detect` again"
    ):
        write_report(run)
    hands.drop("missing").write_parquet(run / "hands.parquet")
    with pytest.raises(DataError, match="no column 'missing'"):
        write_report(run)

"""Every reader refuses what is damaged or of another form, in a line naming the file; some bounds by name."""

import re
import shutil
import sys

import numpy as np
import polars as pl
import pytest
import tomli_w
from scipy.io import savemat

from plait.cli import main
from plait.clips.windows import place
from plait.errors import ConfigError, DataError, PlaitError
from plait.names import inside
from plait.recordings.folder import described_by, read_sync
from plait.recordings.logs import Log, read_log
from plait.recordings.unknown_logs import describe_log
from plait.results import read_run
from plait.store import read_json, read_parquet, regular, toml_of
from plait.study.load import load_study
from plait.study.run import run_study
from plait.types import Readings, Recording, Span, Windows
from tests import tiny
from tests.fuzz.inputs import READERS, lacking, ran
from tests.fuzz.mutations import SPECIAL, mutated
from tests.fuzz.readers import READ, REFUSED, outcome, written

# tried by the script alone
SLOW = {"axivity", "actigraph", "video", "sound", "recording", "clips.parquet", "truth.npz", "job's weights"}
SPECIAL_ONES = [one for one in SPECIAL if "TiB" not in one]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with a finished study."""
    folder = tmp_path_factory.mktemp("finished")
    ran(folder)
    return folder / "run"


@pytest.mark.parametrize("name", [name for name in READERS if name not in SLOW])
def test_any_input_is_read_or_refused_in_one_line(tmp_path, finished, name, svg):
    if missing := lacking(name):
        pytest.skip(f"{missing} is not installed")
    reader, rng = READERS[name], np.random.default_rng(list(name.encode()))
    shutil.copytree(finished, tmp_path / "run")
    file = reader.make(tmp_path)
    valid = file.read_bytes()
    assert outcome(reader.read, file).how == READ
    for content in (*SPECIAL_ONES, *(mutated(valid, reader.form, rng) for _ in range(10))):
        written(content, file)
        found = outcome(reader.read, file)
        assert found.how in (READ, REFUSED), (content, found.said)


@pytest.mark.parametrize("what", ["a pipe", "a device", "no device", "a folder"])
def test_what_may_have_no_end_is_refused_unread(tmp_path, what):
    written(what, tmp_path / "one.csv")
    with pytest.raises(DataError, match=r"one.csv: a (pipe or a device|folder), expected a file"):
        regular(tmp_path / "one.csv")


def test_a_small_parquet_of_very_many_rows_is_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr("plait.store.ROOM", 1 << 20)
    file = tmp_path / "log.parquet"
    pl.select(t=pl.repeat(0.0, 500_000), x=pl.repeat(1.0, 500_000)).write_parquet(file)
    assert file.stat().st_size < 40_000
    with (
        monkeypatch.context() as patch,
        pytest.raises(DataError, match=r"log.parquet: says that it holds 0.008 GB"),
    ):
        patch.setattr("polars.read_parquet", None)
        read_log(file, Log(("x",), "t"))


@pytest.mark.parametrize("name", ["inertial.mat", "truth.npz"])
def test_what_would_unpack_to_far_more_than_it_is_is_refused_unread(tmp_path, monkeypatch, name):
    monkeypatch.setattr("plait.store.ROOM", 1 << 20)
    file, large = READERS[name].make(tmp_path), np.zeros((240, 320, 20))
    if name == "inertial.mat":
        savemat(file, {"d_iner": large.reshape(-1, 6)}, do_compression=True)
    else:
        np.savez_compressed(file, joints=large, pixels=large)
    monkeypatch.setattr("plait.datasets.utd_mhad.files.loadmat", None)
    monkeypatch.setattr("numpy.load", None)
    with pytest.raises(DataError, match=rf"{file.name}: says that it holds 0.0\d+ GB, expected no more"):
        READERS[name].read(file)


@pytest.mark.parametrize(
    "text",
    ["x = " + "[" * 9000, "x" + ".x" * 90_000 + " = 1", "[x" + ".x" * 90_000 + "]", "x = " + "{x = " * 5000],
)
def test_nested_text_is_refused_at_once(tmp_path, text):
    with pytest.raises(ValueError, match="nested too deeply"):
        toml_of(text)
    (tmp_path / "study.toml").write_text(text)
    with pytest.raises(ConfigError, match="study.toml: not a TOML file: nested too deeply"):
        load_study(tmp_path / "study.toml")
    (tmp_path / "deep.json").write_text("[" * 90_000)
    with pytest.raises(DataError, match=r"deep.json: not readable"):
        read_json(tmp_path / "deep.json")


def test_a_table_says_which_column_is_of_another_type_or_empty(tmp_path):
    schema = {"a": pl.String, "b": pl.Int64}
    for table, said in (
        ({"a": ["x"]}, "no column 'b', expected a, b; again"),
        ({"a": ["x"], "b": [1.5]}, "column 'b' is of type Float64, expected Int64; again"),
        ({"a": ["x", None], "b": [1, 2]}, "row 1: no a, expected one in every row; again"),
    ):
        pl.DataFrame(table).write_parquet(tmp_path / "t.parquet")
        with pytest.raises(DataError, match=f"t.parquet: {said}"):
            read_parquet(tmp_path / "t.parquet", "again", schema)


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        *(
            (f"train.label_smoothing={value}", "train.label_smoothing")
            for value in ("nan", "-1", "2", "1", "inf")
        ),
        *((f"seeds=[{value}]", "seeds.0") for value in (2**63, 2**64, -1, 10**30)),
        *((f"train.{name}={10**12}", f"train.{name}") for name in ("batch_size", "patience", "max_epochs")),
        (f"protocol.shuffle_labels={2**63}", "protocol.shuffle_labels"),
        ("methods.a.train.label_smoothing=-0.5", "methods.a.train.label_smoothing"),
    ],
)
def test_settings_out_of_range_are_refused_where_they_stand(setting, named):
    with pytest.raises(ConfigError, match=rf": {named}: got "):
        load_study(tiny.study(), [setting])


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        (
            'train.schedule={use="torch.optim.lr_scheduler:StepLR",args={step_size=0}}',
            "schedule.args: .*StepLR: ",
        ),
        (
            'train.schedule={use="torch.optim.lr_scheduler:StepLR",args={step_size="x"}}',
            "schedule.args: .*StepLR: ",
        ),
        ('train={optimizer="torch.optim:LBFGS",args={}}', "args: torch.optim:LBFGS: "),
        ("train.args.lr=nan", "args: torch.optim:RMSprop: "),
        ("train.args.eps='x'", "args: torch.optim:RMSprop: "),
        ("methods.a-led.args.embedding=1000000000000", "methods.a-led.args: "),
    ],
)
def test_what_torch_refuses_in_training_is_refused_before(tmp_path, setting, named):
    with pytest.raises(ConfigError, match=named):
        run_study(tiny.study(seeds=[0]), None, tmp_path / "run", sets=[setting])
    assert not (tmp_path / "run" / "jobs").exists()


def plait(capsys, monkeypatch, *words):
    """The exit code of a command, and what it said of an error."""
    monkeypatch.setattr(sys, "argv", ["plait", *map(str, words)])
    with pytest.raises(SystemExit) as stopped:
        main()
    return stopped.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("clips", ".", "--out", "c", "--seconds", "1", "--stride", "1e-9"), "stride_s is 1e-09"),
        (("clips", ".", "--out", "c", "--seconds", "1e-9"), "seconds is 1e-09"),
        (("clips", ".", "--out", "c", "--seconds", "0"), "seconds is 0.0"),
        (("clips", ".", "--out", "c", "--seconds", "1e300"), "seconds is 1e+300"),
        (("clips", ".", "--out", "c", "--stride", "nan", "--seconds", "1"), " nan"),
        (("clips", ".", "--out", "c", "--purity", "nan", "--seconds", "1"), " nan"),
        *((("features", ".", "a:b", "--fps", value), "--fps") for value in ("nan", "inf", "0", "1e300")),
        *((("sync", ".", "--max-offset", value), "--max-offset") for value in ("nan", "inf", "-1")),
        *((("cache", "--older-than", value), "--older-than") for value in ("nan", "inf")),
        (("hands", "train", "b", "--out", "d", "--learning-rate", "nan"), "--learning-rate"),
        (("hands", "test", "b", "--detector", "d", "--score", "nan"), "--score"),
        *((("simulate", "--out", "d", "--fps", value), "fps is ") for value in ("0", "1000000000000")),
        (("simulate", "--out", "d", "--slips", "nan"), "slips is nan"),
        (("run", "s.toml", "--data", ".", "--out", "r", "--threads", str(2**40)), "--threads"),
    ],
)  # fmt: skip
def test_numbers_on_the_command_line_have_their_range(tmp_path, capsys, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    code, err = plait(capsys, monkeypatch, *words)
    assert code == 2 and said in err and "Traceback" not in err


LONG = "x" * 300  # bytes; file systems have 255


@pytest.mark.parametrize(
    "words",
    [
        ("report", LONG), ("attention", LONG, "clip"), ("run", LONG, "--data", ".", "--out", "o"),
        ("sync", LONG), ("ingest", LONG, "--out", "o"), ("clips", LONG, "--out", "o", "--seconds", "1"),
        ("features", LONG, "a:b"), ("hands", "train", LONG, "--out", "o"), ("simulate", "--out", LONG),
        ("reproduce", "simulated", "--out", LONG),
    ],
)  # fmt: skip
def test_names_that_no_file_can_have_are_one_line(tmp_path, capsys, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    code, err = plait(capsys, monkeypatch, *words)
    assert code == 2 and "Traceback" not in err
    assert "Usage: " in err or (err.startswith("plait: ") and LONG in err and err.count("\n") == 1)


@pytest.mark.parametrize(
    "name", [LONG, f"a/{LONG}", "a/" * 2000, "\ud800" * 100, "", "/a", "..", "a/../b", "a\0b", "C:/a"]
)
def test_what_data_calls_a_file_lies_inside_its_folder(tmp_path, name):
    assert not inside(name) and inside("a/b.csv") and inside("\ud800.csv")
    with pytest.raises(DataError, match=r"recording.toml: names .*, expected a file beside it"):
        described_by({"subject": "1", "video": name}, tmp_path / "recording.toml")


def test_an_error_that_quotes_data_of_any_length_is_a_line_one_can_read(tmp_path):
    (tmp_path / "a.csv").write_text(f"time,{','.join(f'column {number}' for number in range(9000))}\n")
    with pytest.raises(DataError) as caught:
        read_log(tmp_path / "a.csv", Log(("x",), "time"))
    assert "a.csv" in str(caught.value) and len(str(caught.value)) <= 2000


@pytest.mark.parametrize("number", [str(2**63), str(-(2**64)), "1" + 30 * "0", "1" + 5000 * "0"])
@pytest.mark.parametrize("name", ["parameters", "jobs", "cores"])
def test_whole_numbers_that_no_column_holds_are_refused(tmp_path, finished, name, number):
    shutil.copy(finished / "predictions.parquet", tmp_path)
    text = re.sub(rf'"{name}": \d+', f'"{name}": {number}', (finished / "run.json").read_text(), count=1)
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(DataError, match=r"run.json: .*(below 2\^63|Input should be|Invalid|out of range)"):
        read_run(tmp_path)


def test_a_study_that_links_to_itself_is_one_line(tmp_path, capsys, monkeypatch):
    written("a link to itself", tmp_path / "study.toml")
    code, err = plait(
        capsys, monkeypatch, "run", tmp_path / "study.toml", "--data", tmp_path, "--out", tmp_path / "r"
    )
    assert code == 2 and err.count("\n") == 1 and "study.toml: cannot be read: " in err


def test_windows_without_end_are_refused():
    times = np.array([0.0, 2e3])
    of = Recording("long", "1", {"a": Readings(times, np.zeros(2))}, (Span(0.0, 2e3, "x"),))
    with pytest.raises(
        DataError, match=r"recording long: 2e\+06 windows 0.001 s apart, expected 1,000,000 at most"
    ):
        place([of], Windows(0.5, stride_s=1e-3))
    far = Recording("far", "1", {"a": Readings(times * 1e9, np.zeros(2))}, (Span(0.0, 2e12, "x"),))
    with pytest.raises(DataError, match=r"recording far: lasts 1.111e\+09 hours"):
        place([far], Windows(5.0))


@pytest.mark.parametrize(
    "said", ['{"offset_s": NaN}', '{"offset_s": 1e999}', '{"offset_s": 0, "drift_ppm": -1e6}', "null"]
)
def test_a_clock_that_is_none_is_refused(tmp_path, said):
    (tmp_path / "sync.json").write_text(f'{{"wrist": {said}}}')
    with pytest.raises(DataError, match=r"sync.json: wrist"):
        read_sync(tmp_path)


@pytest.mark.parametrize(
    "setting", [{"fraction_unit": float("nan")}, {"rate_hz": float("inf")}, {"scale": 0}, {"columns": []}]
)
def test_a_log_s_settings_are_refused_where_they_stand(tmp_path, setting):
    log = {"file": "a.csv", "columns": ["x"], "time": "t", **setting}
    with pytest.raises(DataError, match=rf"recording.toml: logs.wrist: {next(iter(setting))} is "):
        described_by({"subject": "1", "video": "v.mp4", "logs": {"wrist": log}}, tmp_path / "recording.toml")


@pytest.mark.parametrize(
    "kind", [pl.Duration("ns"), pl.List(pl.Float64), pl.Struct({"a": pl.Int64}), pl.Binary, pl.Date]
)
def test_a_log_may_hold_columns_of_any_type_beside_its_own(tmp_path, kind):
    at = np.arange(120)
    odd = pl.Series("odd", [None] * 120, kind)
    pl.DataFrame({"time": at / 20, "x": np.sin(at), "y": np.cos(at)}).with_columns(odd).write_parquet(
        tmp_path / "a.parquet"
    )
    found = describe_log(tmp_path / "a.parquet", "a", 6.0, {}, [])
    assert {"x", "y"} <= set(found.columns)


@pytest.mark.parametrize(
    "setting", ["methods.a-led.args.lead='x'", "methods.a.encoders.a.use='x'", "dataset='x:Y'"]
)
def test_what_is_wrong_with_a_study_from_a_file_names_the_file(tmp_path, setting):
    file = tmp_path / "study.toml"
    file.write_text(tomli_w.dumps(tiny.study()))
    where = re.escape(f"{file}: {setting.partition('=')[0].rpartition('.')[0]}")
    with pytest.raises(PlaitError, match=f"^{where}"):
        run_study(file, tmp_path, tmp_path / "out", sets=[setting])

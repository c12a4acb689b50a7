"""A valid input of every reader, how it is read, and which form it has."""

import contextlib
import importlib
import io
import json
import shutil
import sys
import warnings
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import polars as pl
import torch
from PIL import Image
from safetensors.torch import save_file

from plait.cli import main as plait
from plait.clips.table import open_clips, told_of
from plait.datasets import utd_mhad
from plait.datasets.glovid import feature_recordings, hands_seen
from plait.datasets.mex import recordings as mex_recordings
from plait.encoders.weights import read_weights
from plait.errors import PlaitError, PlaitWarning
from plait.hands.boxes import read_boxes
from plait.hands.detector import DetectorFacts
from plait.hands.detector import read_description as read_detector
from plait.recogniser.fitting import fit_model
from plait.recogniser.predict import plan as plan_windows
from plait.recogniser.predict import predict
from plait.recogniser.recogniser import Recogniser
from plait.recogniser.score import score
from plait.recogniser.windows import Sliding
from plait.recordings.annotations import Footage
from plait.recordings.folder import Clock, open_recording, read_description, read_sync, write_sync
from plait.recordings.formats.known import FORMATS
from plait.recordings.ingest import ingest
from plait.recordings.labels import read_labels
from plait.recordings.logs import Log, read_log
from plait.recordings.sound import read_sound
from plait.recordings.unknown_logs import describe_log
from plait.recordings.video import Video, motion_energy
from plait.report.page import Report
from plait.report.timelines import write_pictures
from plait.results import (
    PREDICTIONS,
    read_hands,
    read_histories,
    read_job,
    read_run,
    read_scores,
    read_validation,
)
from plait.simulator.truth import hand_boxes
from plait.store import write_json, write_toml
from plait.study.finished import FinishedRun
from plait.study.load import load_study
from plait.study.run import run_study
from plait.trust import OWN, Trust
from tests import miniature, tiny
from tests.datasets import test_utd_mhad
from tests.datasets.test_mex import packed as mex_packed
from tests.datasets.test_mex import put as mex_put
from tests.datasets.test_mex import world as mex_world
from tests.recogniser import world
from tests.recordings.formats import makers as sensor_files

VIDEO_S, RATE_HZ = 6.0, 20
FOOTAGE = Footage("film.mp4", ("film", "anna"), np.arange(60) / 10, VIDEO_S)
CLIP = "r1/0000"
TESTS = Trust(frozenset({"tests"}))
ZERO = pl.lit(0, pl.Int64)
METHODS = {
    "a": {"use": "plait.fusion:Single", "args": {"modality": "a"}},
    "b": {"use": "plait.fusion:Single", "args": {"modality": "b"}},
    "concat": {"use": "plait.fusion:Concat"},
    "led": {"use": "plait.fusion:Led", "args": {"lead": "a"}},
    "average": {"average": ["a", "b"]},
}


class Reader(NamedTuple):
    """How a valid file is written into a folder, how it is read, and of which form it is."""

    make: Callable[[Path], Path]
    read: Callable[[Path], object]
    form: str = "bytes"


def film(folder: Path, name: str = "film.mp4") -> Path:
    """A small video with a tone."""
    with av.open(str(folder / name), "w") as out:
        video = out.add_stream("mpeg4", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        heard = out.add_stream("aac", rate=16_000, layout="mono")
        for number in range(60):
            grey = np.full((48, 64, 3), 4 * number, np.uint8)
            grey[:, number : number + 4] = 255
            frame = av.VideoFrame.from_ndarray(grey, "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 10)
            out.mux(video.encode(frame))
        out.mux(video.encode())
        tone = np.sin(np.arange(int(VIDEO_S * 16_000)) / 5).astype(np.float32)
        for start in range(0, len(tone) - 1024, 1024):
            sound = av.AudioFrame.from_ndarray(tone[None, start : start + 1024], "fltp", "mono")
            sound.sample_rate, sound.pts, sound.time_base = 16_000, start, Fraction(1, 16_000)
            out.mux(heard.encode(sound))
        out.mux(heard.encode())
    return folder / name


def readings() -> pl.DataFrame:
    """A log of a few seconds."""
    at = np.arange(int(VIDEO_S * RATE_HZ))
    return pl.DataFrame(
        {"time": at / RATE_HZ, "x": np.sin(at), "y": np.cos(at), "z": at % 7 / 2, "hand": at % 1}
    )


def table(name: str) -> Callable[[Path], Path]:
    """A log as CSV or parquet."""

    def make(folder: Path) -> Path:
        file = folder / name
        readings().write_parquet(file) if file.suffix == ".parquet" else readings().write_csv(file)
        return file

    return make


def text(name: str, content: str) -> Callable[[Path], Path]:
    """A text file."""

    def make(folder: Path) -> Path:
        (folder / name).write_text(content, encoding="utf-8")
        return folder / name

    return make


EAF = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
xsi:noNamespaceSchemaLocation="http://www.mpi.nl/tools/elan/EAFv3.0.xsd" AUTHOR=""
DATE="2024-01-01T00:00:00+00:00" FORMAT="3.0" VERSION="3.0">
<HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">
<MEDIA_DESCRIPTOR MEDIA_URL="file:///film.mp4" MIME_TYPE="video/mp4" TIME_ORIGIN="0"/></HEADER>
<TIME_ORDER><TIME_SLOT TIME_SLOT_ID="ts1" TIME_VALUE="100"/><TIME_SLOT TIME_SLOT_ID="ts2"/>
<TIME_SLOT TIME_SLOT_ID="ts3" TIME_VALUE="3000"/></TIME_ORDER>
<TIER LINGUISTIC_TYPE_REF="default" TIER_ID="activity">
<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a1" TIME_SLOT_REF1="ts1" TIME_SLOT_REF2="ts2">
<ANNOTATION_VALUE>press</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>
<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a2" TIME_SLOT_REF1="ts2" TIME_SLOT_REF2="ts3">
<ANNOTATION_VALUE>plug</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION></TIER>
<TIER LINGUISTIC_TYPE_REF="sub" PARENT_REF="activity" TIER_ID="part">
<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="a3" ANNOTATION_REF="a1"><ANNOTATION_VALUE></ANNOTATION_VALUE>
</REF_ANNOTATION></ANNOTATION></TIER>
<LINGUISTIC_TYPE GRAPHIC_REFERENCES="false" LINGUISTIC_TYPE_ID="default" TIME_ALIGNABLE="true"/>
<LINGUISTIC_TYPE CONSTRAINTS="Symbolic_Subdivision" LINGUISTIC_TYPE_ID="sub" TIME_ALIGNABLE="false"/>
</ANNOTATION_DOCUMENT>
"""
LABELS = {
    "labels.csv": "start,end,activity\n0.5,1.5,press\n2,3,plug\n3.5,5,press\n",
    "aggregated.csv": "Observation id,Media file,Behavior,Behavior type,Start (s),Stop (s),Duration (s)\n"
    "one,film.mp4,press,STATE,0.5,1.5,1\none,film.mp4,plug,STATE,2,3,1\n",
    "events.csv": "Time,Media file path,Behavior,Status\n0.5,film.mp4,press,START\n1.5,film.mp4,press,STOP\n",
    "coded.csv": "start,end,activity\n00:00:00:05,00:00:01:05,press\n00:00:02:00,00:00:03:00,plug\n",
    "audacity.txt": "0.5\t1.5\tpress\n2\t3\tplug\n",
    "elan.txt": "activity\t\t00:00:00.500\t0.5\t500\t00:00:01.500\t1.5\t1500\tpress\n",
    "via.csv": "# CSV_HEADER = metadata_id,file_list\n"
    '"1","[""film.mp4""]",0,"[0.5,1.5]","[]","{""1"":""press""}"\n',
    "labels.eaf": EAF,
    "thumos.json": json.dumps(
        {"database": {"film": {"duration": 6.0, "annotations": [{"segment": [0.5, 1.5], "label": "press"}]}}}
    ),
    "studio.json": json.dumps(
        [
            {
                "data": {"video": "film.mp4"},
                "annotations": [
                    {
                        "result": [{"value": {"start": 0.5, "end": 1.5, "labels": ["press"]}}],
                        "was_cancelled": False,
                    }
                ],
            }
        ]
    ),
}
FORM_OF = {".csv": "csv", ".txt": "csv", ".eaf": "xml", ".json": "json"}


@cache
def _recorded(root: str) -> Path:
    """A folder with one recording, ingested and synchronised, in a clip table beside it."""
    lab = Path(root) / "lab" / "anna"
    lab.mkdir(parents=True)
    film(lab)
    table("wrist.csv")(lab)
    text("labels.csv", LABELS["labels.csv"])(lab)
    made, _ = ingest(
        [lab], Path(root) / "recordings", answers={"logs.wrist.time": "time", "logs.wrist.time_unit": "s"}
    )
    write_sync(made, {"wrist": Clock(0.25)})
    return made


def described(folder: Path) -> Path:
    """A recording's `recording.toml`."""
    return _recorded(str(folder)) / "recording.toml"


def synced(folder: Path) -> Path:
    """A recording's `sync.json`."""
    return _recorded(str(folder)) / "sync.json"


def clip_table(folder: Path) -> Path:
    """A clip table."""
    run("clips", _recorded(str(folder)).parent, "--out", folder / "clips", "--seconds", 0.5)
    return folder / "clips" / "clips.parquet"


def ran(folder: Path) -> Path:
    """A finished study."""
    if not (folder / "run").exists():
        study = tiny.study(methods=METHODS, seeds=[0], train={"max_epochs": 1})
        run_study(study, None, folder / "run")
        predicted = pl.read_parquet(folder / "run" / "predictions.parquet").unique("clip")
        predicted.select("clip", missing=ZERO, count=ZERO + 1, visible=ZERO + 1).write_parquet(
            folder / "run" / "hands.parquet"
        )
    return folder / "run"


def of_run(name: str) -> Callable[[Path], Path]:
    """A file of a finished study; `*` stands for its first job."""
    return lambda folder: sorted(ran(folder).glob(name))[0]


def fitted(folder: Path) -> Path:
    """A model and a prediction of it."""
    if not (folder / "model").exists():
        settings = {"max_epochs": 1, "choose": "last"}
        study = world.study(train=settings, protocol={"val_subjects": 0}, seeds=[0])
        fit_model(study, "a-led", folder, folder / "model", say=lambda line: None)
        recogniser = Recogniser.load(folder / "model", trust=TESTS)
        sliding = Sliding(recogniser.facts.seconds, recogniser.facts.stride_s)
        tasks = plan_windows(recogniser, [world.recording("7", lasts_s=20.0)], sliding)
        predict(recogniser, tasks, sliding, folder / "timeline")
    return folder


def of_model(name: str) -> Callable[[Path], Path]:
    """A file of a model, or of a prediction."""
    return lambda folder: fitted(folder) / name


def scored_and_drawn(file: Path) -> object:
    """A prediction's scores and its pictures."""
    for picture in file.parent.glob("*.svg"):
        picture.unlink()
    return score(file.parent), write_pictures(file.parent)


def tables_of(file: Path) -> object:
    """Everything a report is made of, but for its figures."""
    run, predictions = read_run(file.parent)
    hands = read_hands(file.parent, run, predictions)
    histories = read_histories(file.parent, run)
    return Report.of(run, predictions, read_validation(file.parent), hands, histories).tables()


def opened_again(file: Path) -> object:
    """A finished run, opened as for attention, and the network of one of its jobs."""
    folder = next(one for one in file.parents if (one / "jobs").is_dir())
    again = FinishedRun.open(folder, trust=OWN)
    jobs = [(name, fold, key) for name, row in again.methods.items() for fold, key in row.keys.items()]
    method, fold = next((name, fold) for name, fold, key in jobs if key == file.parent.name)
    again.tested(method, fold)
    return again.network(method, fold, again.clips(method))


def weights(name: str) -> Callable[[Path], Path]:
    """A file of weights."""

    def make(folder: Path) -> Path:
        held = {"a.weight": torch.ones(3, 4), "a.bias": torch.zeros(3)}
        save_file(held, folder / name) if name.endswith("safetensors") else torch.save(held, folder / name)
        return folder / name

    return make


def arrays(name: str) -> Callable[[Path], Path]:
    """GloVid's features, of which one file is meant."""

    def make(folder: Path) -> Path:
        return miniature.write_arrays(folder / "arrays", "grids", people=1, each=1) / name

    return make


def features_of(file: Path) -> object:
    """All that GloVid's features say."""
    hands_seen(file.parent)
    found = list(feature_recordings(file.parent))
    return [stream.at(np.arange(3) / 5) for one in found for stream in one.streams.values()]


def matrices(kind: str) -> Callable[[Path], Path]:
    """UTD-MHAD's files, of which one is meant."""

    def make(folder: Path) -> Path:
        test_utd_mhad.write(folder / "utd")
        if kind == "Depth":
            test_utd_mhad.write_depth(folder / "utd", frames=8)
        return test_utd_mhad.path(folder / "utd", kind)

    return make


def mhad_of(file: Path) -> object:
    """All that UTD-MHAD's files say."""
    found = list(utd_mhad.recordings(file.parents[1]))
    streams = [
        s for one in found for n, s in one.streams.items() if n != "depth" or file.parent.name == "Depth"
    ]
    return [stream.at(np.zeros(1)) for stream in streams]


def mex_of(file: Path) -> object:
    """All that MEx's files say, of which one, or their archive, is meant."""
    data = file if file.suffix == ".zip" else file.parents[2]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(?s).*lines out of order or of one moment", PlaitWarning)
        found = list(mex_recordings(data))
    return [stream.at(np.zeros(1)) for one in found for stream in one.streams.values()]


def mex_table(folder: Path) -> Path:
    """A miniature of MEx: one person, one exercise."""
    files = {path: lines for path, lines in mex_world(("01",), 6.0).items() if "/02_" in path}
    return mex_put(files, folder / "mex") / "act" / "01" / "02_act_1.csv"


def mex_archive(folder: Path) -> Path:
    """The same as it is downloaded."""
    files = {path: lines for path, lines in mex_world(("01",), 6.0).items() if "/02_" in path}
    return mex_packed(files, folder / "mex.zip")


def truth(folder: Path) -> Path:
    """What is true of a simulated video."""
    film(folder, "video.mp4")
    joints = np.zeros((60, 2, 21, 3))
    np.savez_compressed(folder / "truth.npz", joints=joints, pixels=np.full((60, 2, 21, 2), 20.0))
    write_json(folder / "truth.json", {"person": {"size": 1.0}})
    return folder / "truth.npz"


def boxes(folder: Path) -> Path:
    """A picture with the box of a hand."""
    Image.new("RGB", (64, 48)).save(folder / "one.png")
    said = {
        "images": [{"id": 1, "file_name": "one.png", "width": 64, "height": 48}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [3, 4, 20, 20], "iscrowd": 0}],
        "categories": [{"id": 1, "name": "hand"}],
    }
    write_json(folder / "annotations.json", said)
    return folder / "annotations.json"


def detector(folder: Path) -> Path:
    """What a detector says of itself."""
    from dataclasses import asdict

    write_json(folder / "detector.json", asdict(DetectorFacts("lite0", 224)))
    return folder / "detector.json"


def study(folder: Path) -> Path:
    """A study file with all that one may say."""
    said = tiny.study(
        protocol={"kind": "fixed", "train": ["1"], "val": ["2"], "test": ["3"], "same_person": [["1", "01"]]},
        train={
            "batch_size": 4,
            "patience": 2,
            "max_epochs": 3,
            "label_smoothing": 0.1,
            "args": {"lr": 0.01},
            "schedule": {"use": "torch.optim.lr_scheduler:StepLR", "args": {"step_size": 1}},
        },
    )
    said["methods"]["led"] = {
        "use": "plait.fusion:Led",
        "args": {"lead": "b"},
        "encoders": {"b": {"from": "b", "frozen": True}},
        "sweep": {"embedding": [1, 2]},
    }
    write_toml(folder / "study.toml", said)
    return folder / "study.toml"


def shown(file: Path) -> object:
    """A video's times, a frame, and how it moves."""
    video = Video(file)
    return video.times, video.at(np.array([0.0, 1e9])), motion_energy(file)


def run(*words: object) -> None:
    """A verb of plait, within this process; what it refuses is raised."""
    said = io.StringIO()
    before = sys.argv
    sys.argv = ["plait", *map(str, words)]
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            plait()
    except SystemExit as ended:
        if ended.code == 2:
            raise PlaitError(said.getvalue().strip().splitlines()[-1]) from None
        assert not ended.code, ended.code
    finally:
        sys.argv = before


LOG = Log(("x", "y", "z"), "time")


def own_file(name: str, content: Callable[[], bytes | str]) -> Callable[[Path], Path]:
    """A sensor's own file in a folder."""

    def make(folder: Path) -> Path:
        made = content()
        (folder / name).write_bytes(made if isinstance(made, bytes) else made.encode())
        return folder / name

    return make


def sensed(name: str) -> Callable[[Path], object]:
    return lambda file: list(FORMATS[name].streams(file))


AXES = np.arange(90.0).reshape(30, 3)
SENSORS = {  # of each format a small file
    "empatica-e4": ("ACC.csv", lambda: sensor_files.e4(AXES, [])["ACC.csv"], "csv"),
    "shimmer": ("shimmer.csv", lambda: sensor_files.shimmer(AXES, AXES), "csv"),
    "xsens-mtw": ("xsens.txt", lambda: sensor_files.xsens(AXES, AXES[:, [0, 1, 2, 0]], range(30)), "csv"),
    "sensor-logger": (
        "phone.zip",
        lambda: sensor_files.zipped(sensor_files.sensor_logger(AXES, AXES)),
        "bytes",
    ),
    "xdf": (
        "lab.xdf",
        lambda: sensor_files.xdf([("a", "xyz", 0, np.arange(30.0), AXES, [(0.0, 0.0)])]),
        "bytes",
    ),
    "mcap": ("robot.mcap", lambda: sensor_files.mcap(AXES, AXES), "bytes"),
    "axivity": ("left.cwa", lambda: sensor_files.cwa(AXES.astype(int)), "bytes"),
    "actigraph": ("hip.gt3x", lambda: sensor_files.gt3x(AXES.astype(int)), "bytes"),
}
READ_BY = {  # what is read by an extra, which may not be installed
    "xdf": "pyxdf",
    "mcap": "mcap_ros2",
    "axivity": "actipy",
    "actigraph": "actipy",
}


def lacking(name: str) -> str:
    """What a reader needs that is not installed; empty where it has everything."""
    package = READ_BY.get(name)
    try:
        if package:
            importlib.import_module(package)
    except ImportError:
        return str(package)
    return "java" if package == "actipy" and shutil.which("java") is None else ""


READERS = {
    **{
        name: Reader(own_file(file, content), sensed(name), form)
        for name, (file, content, form) in SENSORS.items()
    },
    "log.csv": Reader(table("log.csv"), lambda file: read_log(file, LOG), "csv"),
    "log.parquet": Reader(table("log.parquet"), lambda file: read_log(file, LOG), "parquet"),
    "unknown log.csv": Reader(
        table("log.csv"), lambda file: describe_log(file, "log", VIDEO_S, {}, []), "csv"
    ),
    "unknown log.parquet": Reader(
        table("log.parquet"), lambda file: describe_log(file, "log", VIDEO_S, {}, []), "parquet"
    ),
    **{
        name: Reader(
            text(name, content), lambda file: read_labels(file, None, FOOTAGE), FORM_OF[Path(name).suffix]
        )
        for name, content in LABELS.items()
    },
    "recording.toml": Reader(described, lambda file: read_description(file.parent), "toml"),
    "recording": Reader(described, lambda file: open_recording(file.parent), "toml"),
    "sync.json": Reader(synced, lambda file: read_sync(file.parent), "json"),
    "study.toml": Reader(study, load_study, "toml"),
    "clips.parquet": Reader(
        clip_table, lambda file: (told_of(file.parent), list(open_clips(file.parent))), "parquet"
    ),
    "run.json": Reader(of_run("run.json"), tables_of, "json"),
    "predictions.parquet": Reader(of_run("predictions.parquet"), tables_of, "parquet"),
    "validation.parquet": Reader(of_run("validation.parquet"), tables_of, "parquet"),
    "hands.parquet": Reader(of_run("hands.parquet"), tables_of, "parquet"),
    "job.json": Reader(of_run("jobs/*/job.json"), lambda file: read_job(file.parent), "json"),
    "job's history": Reader(
        of_run("jobs/*/history.parquet"),
        lambda file: read_histories(file.parents[2], read_run(file.parents[2])[0]),
        "parquet",
    ),
    "job's predictions": Reader(
        of_run("jobs/*/predictions.parquet"), lambda file: read_scores(file.parent, PREDICTIONS), "parquet"
    ),
    "job's weights": Reader(of_run("jobs/*/weights.safetensors"), opened_again, "tensors"),
    "model.toml": Reader(
        of_model("model/model.toml"), lambda file: Recogniser.load(file.parent, trust=TESTS), "toml"
    ),
    "model.safetensors": Reader(
        of_model("model/model.safetensors"), lambda file: Recogniser.load(file.parent, trust=TESTS), "tensors"
    ),
    "predict.json": Reader(of_model("timeline/predict.json"), scored_and_drawn, "json"),
    "timeline.parquet": Reader(of_model("timeline/timeline.parquet"), scored_and_drawn, "parquet"),
    "weights.safetensors": Reader(weights("weights.safetensors"), read_weights, "tensors"),
    "weights.pt": Reader(weights("weights.pt"), read_weights),
    "video.npy": Reader(arrays("video.npy"), features_of, "npy"),
    "gloves.npy": Reader(arrays("gloves.npy"), features_of, "npy"),
    "clips.csv": Reader(arrays("clips.csv"), features_of, "csv"),
    "skeleton.mat": Reader(matrices("Skeleton"), mhad_of),
    "inertial.mat": Reader(matrices("Inertial"), mhad_of),
    "depth.mat": Reader(matrices("Depth"), mhad_of),
    "mex.csv": Reader(mex_table, mex_of, "csv"),
    "mex.zip": Reader(mex_archive, mex_of),
    "truth.npz": Reader(truth, lambda file: hand_boxes(file.parent, Video(file.parent / "video.mp4")), "npz"),
    "annotations.json": Reader(boxes, lambda file: [one.load() for one in read_boxes(file.parent)], "json"),
    "detector.json": Reader(detector, lambda file: read_detector(file.parent), "json"),
    "video": Reader(film, shown),
    "sound": Reader(film, read_sound),
}


def given(verb: Callable[[Path], tuple[object, ...]]) -> Callable[[Path], object]:
    """A verb over an input; what it makes lies beside it, and goes."""

    def read(file: Path) -> object:
        out = file.parents[1] / "out"
        shutil.rmtree(out, ignore_errors=True)
        words = verb(file)
        run(*words, *(("--out", out) if words[0] in ("ingest", "clips", "run") else ()))
        return out

    return read


def lab(name: str, content: Callable[[Path], Path]) -> Callable[[Path], Path]:
    """A folder of raw files, of which one is meant."""

    def make(folder: Path) -> Path:
        (folder / "anna").mkdir()
        for file in (film, table("wrist.csv"), text("labels.csv", LABELS["labels.csv"])):
            file(folder / "anna")
        for file in (folder / "anna").glob(f"*{Path(name).suffix}") if name in LABELS else ():
            file.unlink()
        return content(folder / "anna")

    return make


OFFSET = ("--offset", "wrist=0.25", "--no-audio")
VERBS = {
    "ingest log": Reader(
        lab("wrist.csv", table("wrist.csv")), given(lambda file: ("ingest", file.parent)), "csv"
    ),
    "ingest parquet": Reader(
        lab("", table("hand.parquet")), given(lambda file: ("ingest", file.parent)), "parquet"
    ),
    "ingest labels": Reader(
        lab("labels.json", text("labels.json", LABELS["thumos.json"])),
        given(lambda file: ("ingest", file.parent, "--set", "labels=labels.json")),
        "json",
    ),
    "ingest video": Reader(lab("", film), given(lambda file: ("ingest", file.parent))),
    "sync": Reader(described, given(lambda file: ("sync", file.parent, *OFFSET)), "toml"),
    "clips": Reader(synced, given(lambda file: ("clips", file.parent, "--seconds", 0.5)), "json"),
    "features": Reader(
        clip_table,
        given(lambda file: ("features", file.parent, "--encoder", "tests.test_features:Summed", "--fps", 10)),
        "parquet",
    ),
    "run": Reader(
        study, given(lambda file: ("run", file, "--data", file.parent, "--executor", "inline")), "toml"
    ),
    "report": Reader(of_run("run.json"), given(lambda file: ("report", file.parent)), "json"),
    "report predictions": Reader(
        of_run("predictions.parquet"), given(lambda file: ("report", file.parent)), "parquet"
    ),
    "attention": Reader(
        of_run("run.json"),
        given(lambda file: ("attention", file.parent, CLIP, "--trust", "tests.tiny")),
        "json",
    ),
}

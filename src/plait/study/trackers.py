"""What trackers are told of a study's trainings: loss, accuracy and learning rate, epoch by epoch.

Its numbers are those of a job's history, which stand in the job's folder whoever did it, and whoever is told:
this process tells trackers of a job once that folder stands, whether it was done here, in another process, on
a cluster, or by a run of before. So trackers decide nothing, and may be asked for later.

RUN/tensorboard/JOB/     TensorBoard's event files of a job: its label and the beginning of its key
RUN/mlruns/mlflow.db     MLflow's SQLite store: an experiment called as the study, a run for each job
"""

import importlib.util
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import polars as pl

from plait.config import Study, Tracker
from plait.errors import ConfigError, DataError, one_line
from plait.results import read_history
from plait.store import atomic, locked
from plait.study.jobs import Job, Setting
from plait.study.work import Item, Plan

TENSORBOARD, MLRUNS = "tensorboard", "mlruns"
KEY = "plait.key"  # MLflow's tag of a job
CURVES = ("loss", "val_loss", "val_accuracy", "learning_rate")
LONGEST = 200  # letters of a job's name: a folder's have 255 bytes
MOST = 1000  # metrics that MLflow takes at once


class Telling(NamedTuple):
    """A job as trackers are told of it.

    Args:
        job: which.
        curves: by name, values by epoch.
    """

    job: Job
    curves: dict[str, list[tuple[int, float]]]

    @property
    def about(self) -> dict[str, str]:
        """What it is of."""
        where = f", fold {self.job.fold.name}, seed {self.job.seed}"
        method = self.job.label.removesuffix(where)
        return {"method": method, "fold": self.job.fold.name, "seed": str(self.job.seed)}


Tell = Callable[[Telling], None]


def check_trackers(study: Study) -> None:
    """Refuse trackers that are not installed.

    Raises:
        ConfigError: naming the setting, and what to install.
    """
    for name in study.order():
        for tracker in study.training(name).log:
            found = importlib.util.find_spec(tracker)
            if found is None or found.origin is None:  # a folder of this name is none
                own = "log" in study.methods[name].train
                where = f"methods.{name}.train.log" if own else "train.log"
                raise ConfigError(f"{where}: {tracker} is not installed: pip install 'plait[{tracker}]'")


def teller(plan: Plan, study: str, setting: Setting) -> Callable[[Item], None]:
    """What is to be called with each job once its folder stands: trackers that it names are told.

    Args:
        plan: all jobs of a run; a training that several methods have is told of where one of them asks.
        study: its name.
        setting: of the run.

    Raises:
        DataError: what a tracker keeps cannot be opened or written.
    """
    wanted: dict[str, dict[Tracker, None]] = {}
    for item in (*plan.rows.values(), *plan.inner):
        if isinstance(item, Job) and item.train.log:
            wanted.setdefault(item.key, {}).update(dict.fromkeys(item.train.log))
    names = dict.fromkeys(name for asked in wanted.values() for name in asked)
    lock = setting.out / ".locks" / "trackers"  # runs that share a folder tell of a job once
    with locked(lock) if names else nullcontext():
        trackers = {name: _TRACKERS[name](setting.out, study) for name in names}

    def tell(item: Item) -> None:
        if isinstance(item, Job) and item.key in wanted:
            telling = Telling(item, curves(read_history(setting.folder(item.key))))
            with locked(lock):
                for name in wanted[item.key]:
                    trackers[name](telling)

    return tell


def curves(history: pl.DataFrame) -> dict[str, list[tuple[int, float]]]:
    """The curves of a job's history, by name; those of a training once more begin with `refit/`."""
    found: dict[str, list[tuple[int, float]]] = {}
    for phase, epoch, *values in history.select("phase", "epoch", *CURVES).iter_rows():
        for name, value in zip(CURVES, values, strict=True):
            if value is not None:
                found.setdefault(name if phase == "train" else f"{phase}/{name}", []).append((epoch, value))
    return found


def _tensorboard(run: Path, study: str) -> Tell:
    """Event files, a folder for each job.

    They are written here and now: TensorBoard's own writer has a thread, and what that meets is not raised.
    """
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter
    except Exception as error:  # another module of its name, versions that do not fit
        raise ConfigError(f"train.log: tensorboard cannot be used: {one_line(error)}") from error

    def tell(telling: Telling) -> None:
        name = quote(telling.job.label, safe=" ,=[]()+")[:LONGEST]
        folder = run / TENSORBOARD / f"{name}, {telling.job.key[:8]}"
        if folder.exists():
            return
        told_s = time.time()
        with atomic(folder) as making:
            making.mkdir()
            with (making / f"events.out.tfevents.{told_s:.0f}").open("wb") as file:
                writer = RecordWriter(file)
                writer.write(Event(wall_time=told_s, file_version="brain.Event:2").SerializeToString())
                for curve, values in telling.curves.items():
                    for epoch, value in values:
                        point = Summary(value=[Summary.Value(tag=curve, simple_value=value)])
                        event = Event(wall_time=told_s, step=epoch, summary=point)
                        writer.write(event.SerializeToString())

    return tell


def _mlflow(run: Path, study: str) -> Tell:
    """A SQLite file, which no server is needed for.

    A job that a killed process has begun to tell of is told of anew.
    """
    folder = run / MLRUNS
    if set("?%") & set(str(folder)):  # of SQLAlchemy's addresses; from 2.1 on %20 is a space
        told = f"mlflow cannot keep anything at {folder}, expected a path without ? and %"
        raise ConfigError(f"train.log: {told}")
    with _quiet_mlflow(folder):
        from mlflow import MlflowClient
        from mlflow.entities import Metric, Param

        folder.mkdir(parents=True, exist_ok=True)
        client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
        known = client.get_experiment_by_name(study)
        here = (folder / "artifacts").as_uri()
        experiment = known.experiment_id if known else client.create_experiment(study, artifact_location=here)

    def tell(telling: Telling) -> None:
        key = telling.job.key
        with _quiet_mlflow(folder):
            for before in client.search_runs([experiment], f"tags.`{KEY}` = '{key}'"):
                if before.info.status == "FINISHED":
                    return
                client.delete_run(before.info.run_id)
            name = telling.job.label[:LONGEST]
            one = client.create_run(experiment, run_name=name, tags={KEY: key}).info.run_id
            metrics = [
                Metric(curve, value, 0, epoch)
                for curve, values in telling.curves.items()
                for epoch, value in values
            ]
            params = [Param(about, value[:LONGEST]) for about, value in telling.about.items()]
            for start in range(0, len(metrics), MOST):
                client.log_batch(one, metrics[start : start + MOST], synchronous=True)
            client.log_batch(one, params=params, synchronous=True)
            client.set_terminated(one)

    return tell


@contextmanager
def _quiet_mlflow(folder: Path) -> Iterator[None]:
    """MLflow says nothing to its makers, nor what its libraries will do without; what it raises is one line.

    Raises:
        DataError: it raises something.
    """
    silence = "MLFLOW_DISABLE_TELEMETRY"
    own = silence not in os.environ
    if own:
        os.environ[silence] = "true"
    logger, level = logging.getLogger("mlflow"), None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module("mlflow")  # sets its level
            level = logger.level
            logger.setLevel(max(level, logging.CRITICAL))  # what it has to say it raises, too
            yield
    except Exception as error:  # of a store that is damaged, or lies on a full disk: anything
        raise DataError(f"{folder}: mlflow cannot keep what it is told: {one_line(error)}") from error
    finally:
        if level is not None:
            logger.setLevel(level)
        if own:
            del os.environ[silence]


_TRACKERS: Mapping[Tracker, Callable[[Path, str], Tell]] = {
    "tensorboard": _tensorboard,
    "mlflow": _mlflow,
}

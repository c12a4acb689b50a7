"""Where the seconds of a study go: of its jobs by part, and what a study costs besides its jobs.

    python benchmarks/parts.py [STUDY --data DIR] [--folds 1] [--epochs 2] [--only NAME,...]
                               [--set KEY=VALUE ...] [--quick] [--json FILE]

`plait.run` runs the study, inline and with one thread, for its first seed, its first folds and the first
epochs of each training, while plait's own functions are timed: each in CPU seconds of this process, whatever
else the machine does. A job of the study is its epochs, as many as it may have, and what it takes besides,
once. The study's jobs are those of all methods, folds and seeds; a study takes them, and what is done once
for it. What lies in the cache of clips and features ($PLAIT_CACHE) is found again, as in any study.

Without a STUDY, and with --quick, it is the one whose data plait generates, `examples/generated.toml`.
"""

import argparse
import functools
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from typing import Any, NamedTuple
from unittest.mock import patch

import torch

import plait
from common import finish, machine, options, said
from plait.config import Study
from plait.study.jobs import Job
from plait.study.load import load_study

# Where a part begins and ends: functions of plait, by the part of an epoch, a job or a study that they are.
EPOCH = {
    "read": ["plait.clips.rows.Rows.read", "plait.clips.arrays.Clips.batch"],
    "augment": ["plait.training.course.seeded"],
    "encoders": ["plait.training.network.Network.enter"],
    "fusion": ["plait.training.network.Network.outputs"],
    "backward": ["torch.Tensor.backward"],
    "optimizer": ["plait.training.course.Course.step", "torch.optim.Optimizer.zero_grad"],
    "scores": ["plait.training.course.Course.close"],
    "rest": ["plait.training.fit._train"],
}
JOB = {
    "building": ["plait.training.fit._start"],
    "grids": ["plait.training.fit.known_grids"],
    "scoring": ["plait.training.course.Course.scores", "plait.training.course.Course.finish"],
    "writing": ["plait.study.jobs._write"],
    "rest of a job": ["plait.study.jobs.Job.run"],
}
STUDY = {
    "clips": ["plait.study.run.clips_of", "plait.study.run.inputs"],
    "doctor": ["plait.study.run.findings_of"],
    "checks": ["plait.study.run.check_methods"],
    "keys": ["plait.study.run.plan_all"],
    "tables": ["plait.study.run._finish"],
    "pictures": ["plait.report.cases.write_cases", "plait.report.sheet.write_sheet"],
    "page": ["plait.report.write_report"],
    "rest of a study": ["plait.study.run.run_study"],
}
DIVIDED = {
    "encoders",
    "fusion",
    "backward",
    "optimizer",
    "rest",
    "building",
    "rest of a job",
    "tables",
    "rest of a study",
}
WHOLE = {*EPOCH, *JOB, *STUDY} - DIVIDED  # within which nothing is told apart


class Clock:
    """CPU seconds by what is being done, the innermost part of all that have begun, and for which method."""

    def __init__(self) -> None:
        self.seconds: dict[tuple[str, str], float] = defaultdict(float)
        self.epochs: dict[str, int] = defaultdict(int)
        self.method, self.within, self.since = "", ["start"], time.process_time()

    def turn(self) -> None:
        """Give what has passed to the part that is being done."""
        now = time.process_time()
        self.seconds[self.method, self.within[-1]] += now - self.since
        self.since = now

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what is done within as `name`, unless it is part of something that is not divided."""
        self.turn()
        self.within.append(self.within[-1] if self.within[-1] in WHOLE else name)
        try:
            yield
        finally:
            self.turn()
            self.within.pop()

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, counted as `name`."""

        @functools.wraps(function)
        def measured(*args: Any, **kwargs: Any) -> Any:
            with self.part(name):
                return function(*args, **kwargs)

        return measured


class Row(NamedTuple):
    """A method: how many epochs its jobs may have, CPU seconds of one by part, and those besides."""

    epochs: int
    epoch_s: dict[str, float]
    once_s: dict[str, float]

    @property
    def job_s(self) -> float:
        """Of a whole job."""
        return self.epochs * sum(self.epoch_s.values()) + sum(self.once_s.values())


def main() -> None:
    """Run the study's first jobs, and say where the time goes."""
    parser = options(__doc__)
    parser.add_argument("study", nargs="?", type=Path, help="its file")
    parser.add_argument("--data", type=Path, help="the folder of the data set")
    parser.add_argument("--folds", type=int, default=1, help="how many")
    parser.add_argument("--epochs", type=int, default=2, help="of each training")
    parser.add_argument("--only", default="", help="methods, separated by commas")
    parser.add_argument("--set", action="append", default=[], dest="sets", help="a setting, as of plait run")
    chosen = parser.parse_args()
    example = Path(__file__).parents[1] / "examples" / "generated.toml"
    generated = chosen.quick or chosen.study is None
    source = example if generated else chosen.study
    if not (chosen.data or generated):
        parser.error("expected the study's --data")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        measured = study_of(source, chosen.data or Path(scratch), Path(scratch) / "run", chosen)
    told = {**machine(1), "study": str(source), **measured}
    print(f"{source.name}: {said(told)}")
    show(told)
    finish(chosen.json, told)


def study_of(source: Path, data: Path, out: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """What a study's jobs and the study itself take, in terms of JSON."""
    clock, only = Clock(), [name for name in chosen.only.split(",") if name]
    study = load_study(source, chosen.sets)
    study = study.only(only) if only else study
    most = {name: train.max_epochs for name, _, train in study.trainings()}
    few = {name: min(count, chosen.epochs) for name, count in most.items()}
    counted: list[int] = []
    with ExitStack() as stack:
        for name, paths in {**EPOCH, **JOB, **STUDY}.items():
            for path in paths:
                owner, _, attribute = path.rpartition(".")
                timed = clock.timed(name, getattr(_object(owner), attribute))
                if path == "plait.study.run.plan_all":
                    timed = functools.partial(timed, epochs=few)
                stack.enter_context(patch(path, timed))
        stack.enter_context(patch("plait.study.run._folds", _first(chosen.folds, counted)))
        stack.enter_context(patch("plait.study.jobs.Job.run", _named(clock, Job.run)))
        sets = [*chosen.sets, f"seeds=[{study.seeds[0]}]"]
        plait.run(source, data, out, sets=sets, only=only, executor="inline", threads=1, device="cpu")
        clock.turn()
    rows = {name: _row(clock, name, most[name], chosen.folds) for name in most if clock.epochs[name]}
    jobs = counted[0] * len(study.seeds)
    once = {part: clock.seconds["", part] for part in STUDY}
    return {
        "methods": {name: {**row._asdict(), "job_s": row.job_s} for name, row in rows.items()},
        "jobs_a_method": jobs,
        "jobs_s": jobs * sum(row.job_s for row in rows.values()),
        "study_s": {**once, "start of a process": _start_s()},
    }


def _object(path: str) -> Any:
    """A module, or a class in one, by its path."""
    import pkgutil

    return pkgutil.resolve_name(path)


def _first(count: int, counted: list[int]) -> Callable[..., Sequence[Any]]:
    """The first folds of a study, noting how many there are."""
    from plait.study import run

    folds = run._folds

    def some(study: Study, *args: Any) -> Sequence[Any]:
        found = folds(study, *args)
        counted.append(len(found))
        return found[:count]

    return some


def _named(clock: Clock, run: Callable[..., None]) -> Callable[..., None]:
    """A job's `run`, whose seconds are its method's."""

    def named(job: Job, *args: Any) -> None:
        clock.turn()
        clock.method = job.label.removesuffix(f", fold {job.fold.name}, seed {job.seed}")  # may hold commas
        run(job, *args)
        clock.turn()
        clock.epochs[clock.method] += job.epochs or job.train.max_epochs
        clock.method = ""

    return named


def _row(clock: Clock, method: str, epochs: int, folds: int) -> Row:
    """What was measured of a method's jobs, by epoch and by job."""
    took = {part: clock.seconds[method, part] for part in (*EPOCH, *JOB)}
    by_epoch = {part: took[part] / clock.epochs[method] for part in EPOCH}
    return Row(epochs, by_epoch, {part: took[part] / folds for part in JOB})


def _start_s() -> float:
    """CPU seconds of a process that has only imported what a job needs."""
    before = getrusage(RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", "import plait.study.run"], check=True)
    after = getrusage(RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def show(told: dict[str, Any]) -> None:
    """The numbers as tables, what costs most first."""
    jobs = f"{told['jobs_a_method']} jobs a method"
    print(f"CPU ms of an epoch by part, CPU s of a job besides and in all; {jobs}")
    print(f"{'':36s}" + "".join(f"{part:>10s}" for part in (*EPOCH, "epoch", "besides s", "job s")))
    rows = sorted(told["methods"].items(), key=lambda item: -item[1]["job_s"])
    for name, row in rows:
        epoch = [1e3 * seconds for seconds in row["epoch_s"].values()]
        besides = sum(row["once_s"].values())
        print(
            f"{name:36s}" + "".join(f"{ms:10.1f}" for ms in (*epoch, sum(epoch)))
            + f"{besides:10.2f}{row['job_s']:10.2f}"
        )  # fmt: skip
    total = sum(row["job_s"] for _, row in rows)
    parts = {part: sum(row["epochs"] * row["epoch_s"][part] for _, row in rows) for part in EPOCH}
    parts |= {part: sum(row["once_s"][part] for _, row in rows) for part in JOB}
    print("of all jobs: " + ", ".join(f"{part} {said_share(parts[part], total)}" for part in _largest(parts)))
    once = told["study_s"]
    print(
        f"the study: jobs {told['jobs_s']:.0f} s, besides {sum(once.values()):.1f} s: "
        + ", ".join(f"{part} {once[part]:.2f} s" for part in _largest(once))
    )


def said_share(part: float, total: float) -> str:
    """A share in words."""
    return f"{100 * part / total:.1f} %"


def _largest(parts: dict[str, float]) -> list[str]:
    """The parts, what costs most first."""
    return sorted(parts, key=lambda part: -parts[part])


if __name__ == "__main__":
    main()

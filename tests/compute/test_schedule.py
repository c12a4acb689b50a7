"""What is done when: donors first, without waves, and by one run where several work on one folder."""

import os
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event

import pytest
import tomli_w
from filelock import FileLock

from plait.compute.cluster import _answers
from plait.compute.executors import Work, Workers, inline, processes
from plait.compute.schedule import WAITING, do_missing
from plait.errors import ConfigError, PlaitError
from plait.study.run import run_study
from tests import tiny
from tests.commands import started


@dataclass(frozen=True)
class Piece:
    name: str
    needs: tuple[str, ...] = ()
    cost: float = 1.0


def make(piece, out):
    for need in piece.needs:
        assert (out / "jobs" / need).exists(), f"{piece.name} before {need}"
    if piece.name == "broken":
        raise PlaitError("broken")
    (out / "jobs" / piece.name).mkdir()


def threads_of(piece, out):
    folder = out / "jobs" / piece.name
    folder.mkdir()
    (folder / "threads").write_text(
        " ".join(os.environ[name] for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"))
    )


def work(out, do=make):
    return Work(
        out,
        do,
        leaves=lambda piece: f"jobs/{piece.name}",
        needs=lambda piece: tuple(f"jobs/{need}" for need in piece.needs),
        reads=lambda piece: (),
        moved=lambda piece, where: piece,
        cost=lambda piece: piece.cost,
        label=lambda piece: piece.name,
    )


def test_an_item_starts_as_soon_as_its_donors_are_done_and_the_longest_way_first(tmp_path):
    pieces = [Piece("short"), Piece("long", cost=5), Piece("donor"), Piece("heavy", ("donor",), 9)]
    pieces += [Piece("late", ("short",))]
    started, heavy = [], Event()

    def do(piece, out):
        if piece.name == "long":
            assert heavy.wait(60)  # no wave: "long" is still in work when "heavy" starts
        make(piece, out)

    @contextmanager
    def two():
        with ThreadPoolExecutor(2) as threads:

            def start(piece):
                started.append(piece.name)
                if piece.name == "heavy":
                    heavy.set()
                return threads.submit(do, piece, tmp_path)

            yield Workers(start, lambda: 2)

    do_missing(pieces, work(tmp_path), two(), lambda *event: None)
    assert started == ["donor", "long", "heavy", "short", "late"]


def test_one_at_a_time_keeps_the_order_and_what_stands_is_not_done_again(tmp_path):
    (tmp_path / "jobs" / "b").mkdir(parents=True)
    told = []
    pieces = [Piece("a"), Piece("b"), Piece("c", ("a",), cost=9), Piece("d")]
    do_missing(pieces, work(tmp_path), inline(work(tmp_path)), lambda step: told.append(step[:3]))
    assert told == [(1, 4, "jobs"), (2, 4, "a"), (3, 4, "c"), (4, 4, "d")]
    assert not list((tmp_path / ".locks").iterdir())


def test_what_another_run_holds_is_waited_for_and_done_here_if_it_ends_without(tmp_path):
    (tmp_path / ".locks").mkdir()
    theirs, given_up = (FileLock(tmp_path / ".locks" / name) for name in ("theirs", "given-up"))
    theirs.acquire()
    given_up.acquire()
    done = []

    def do(piece, out):
        make(piece, out)
        done.append(piece.name)
        if piece.name == "mine":  # meanwhile the other run finishes one and dies over the other
            (out / "jobs" / "theirs").mkdir()
            theirs.release()
            given_up.release()

    pieces = [Piece("theirs"), Piece("given-up"), Piece("after", ("theirs",)), Piece("mine")]
    told = []
    do_missing(pieces, work(tmp_path, do), inline(work(tmp_path, do)), lambda step: told.append(step.done))
    assert done == ["mine", "given-up", "after"] and told == [0, 1, 2, 3, 4]


def test_a_run_that_can_only_wait_says_so_once(tmp_path, monkeypatch):
    theirs = FileLock(tmp_path / ".locks" / "theirs")
    (tmp_path / ".locks").mkdir()
    theirs.acquire()
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 3:
            theirs.release()

    monkeypatch.setattr("plait.compute.schedule.time.sleep", sleep)
    told = []
    do_missing([Piece("theirs")], work(tmp_path), inline(work(tmp_path)), lambda step: told.append(step[:3]))
    assert told == [(0, 1, "jobs"), (0, 1, WAITING), (1, 1, "theirs")] and len(slept) == 3


def test_an_error_gives_its_lock_back_and_what_was_done_stays(tmp_path):
    pieces = [Piece("a"), Piece("broken"), Piece("c")]
    for _ in range(2):
        with pytest.raises(PlaitError, match="broken"):
            do_missing(pieces, work(tmp_path), inline(work(tmp_path)), lambda *event: None)
        assert (tmp_path / "jobs" / "a").exists()
    with FileLock(tmp_path / ".locks" / "broken", blocking=False):
        pass


def test_half_made_folders_are_removed_unless_somebody_is_making_them(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "jobs" / f".making-{name}" / name).mkdir(parents=True)
    (tmp_path / ".locks").mkdir()
    with FileLock(tmp_path / ".locks" / "b"):
        do_missing([Piece("a")], work(tmp_path), inline(work(tmp_path)), lambda *event: None)
    assert [path.name for path in (tmp_path / "jobs").glob(".making-*")] == [".making-b"]


def test_workers_have_their_threads_from_the_start_and_the_parent_keeps_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    here = work(tmp_path, threads_of)
    do_missing([Piece("a")], here, processes(here, 1, 2, "cpu"), lambda *event: None)
    assert (tmp_path / "jobs" / "a" / "threads").read_text() == "2 2"
    assert os.environ["OMP_NUM_THREADS"] == "7" and "MKL_NUM_THREADS" not in os.environ


TOLD = """
import os
import torch
from plait.fusion import Concat

class Told(Concat):
    def __init__(self, shapes, classes):
        super().__init__(shapes, classes, head="mean")
        self.log = os.environ.get("TOLD")  # no argument: a key would hold what the file says by then

    def train(self, mode=True):
        if mode and self.log:
            with open(self.log, "a") as file:
                file.write(f"{os.getpid()} {torch.initial_seed()}\\n")
            self.log = None
        return super().train(mode)
"""


def test_two_runs_at_once_share_the_jobs_of_one_folder(tmp_path, monkeypatch):
    (tmp_path / "told.py").write_text(TOLD)
    method = {"use": "told:Told"}
    protocol = {"kind": "fixed", "train": ["1", "2"], "val": ["3"], "test": ["10"]}
    train = {"max_epochs": 20, "args": {"lr": 0.01}}
    study = tiny.study(methods={"told": method}, seeds=list(range(1, 13)), train=train, protocol=protocol)
    (tmp_path / "study.toml").write_text(tomli_w.dumps(study))
    command = ("run", "study.toml", "--data", ".", "--out", "run")
    ways = (["--executor", "inline"], ["--executor", "processes", "--workers", "1"])
    both = [started(*command, *way, folder=tmp_path, TOLD=str(tmp_path / "log")) for way in ways]
    for code, _, said in [run.ended() for run in both]:
        assert code == 0, said
    trained = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    of_jobs = [seed for _, seed in trained if seed != "0"]  # which a run takes that looks at a method
    assert Counter(of_jobs) == {str(seed): 1 for seed in range(1, 13)}
    assert len(list((tmp_path / "run" / "jobs").iterdir())) == 12

    monkeypatch.syspath_prepend(tmp_path)
    run_study(tmp_path / "study.toml", None, tmp_path / "alone")
    one, other = (tmp_path / name / "predictions.parquet" for name in ("run", "alone"))
    assert one.read_bytes() == other.read_bytes()
    for name in ("index.html", "table.csv", "run.json"):
        assert (tmp_path / "run" / name).stat().st_size > 0


def test_without_ray_its_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(
        ConfigError, match=r"executor is 'ray', but Ray is not installed: pip install 'plait\[ray\]'"
    ):
        run_study(tiny.study(), None, tmp_path, executor="ray")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("ray://here:10001", "Ray cluster ray://here:10001: expected HOST:PORT"),
        ("127.0.0.1:1", "Ray cluster 127.0.0.1:1: cannot be reached: "),
    ],
)
def test_an_address_without_a_cluster_is_refused_at_once(address, message):
    with pytest.raises(ConfigError, match=message):
        _answers(address)

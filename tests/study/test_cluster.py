"""A Ray cluster of three nodes on this machine, one of which is lost while a study runs on it."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import tomli_w

from plait.clips import listed
from plait.features import Extraction, extract
from plait.study.run import run_study
from tests import tiny

pytestmark = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: plait[ray]")

BESIDE = """
import os, time
import torch
from torch import nn
from plait.errors import DataError

class Slow(nn.Module):
    '''A linear layer on the means of all grids; it says who builds it, and takes its time to train.'''

    def __init__(self, shapes, classes, who, log, seconds, fails=False):
        super().__init__()
        self.linear = nn.Linear(sum(shape[-1] for shape in shapes.values()), classes)
        self.seconds, self.fails = seconds, fails
        with open(log, "a") as file:
            file.write(f"{os.getsid(0)} {who} {torch.initial_seed()}\\n")

    def forward(self, grids):
        if self.training and self.fails:
            raise DataError("both cannot be trained")
        if self.training:
            time.sleep(self.seconds)
        return self.linear(torch.cat([grid.flatten(1, -2).mean(1) for grid in grids.values()], 1))
"""


class Nodes:
    """Ray nodes, each a `ray start` of its own, in a session of its own, with its own address on the loopback."""

    def __init__(self, folder: Path, hidden: Path):
        with socket.socket() as free:
            free.bind(("127.0.0.2", 0))
            self.port = free.getsockname()[1]
        self.folder, self.hidden, self.started = folder, hidden, []
        self.address = f"127.0.0.2:{self.port}"

    def start(self, head: bool = False) -> int:
        """Start one; its session."""
        number = len(self.started)
        own = self.folder / f"node-{number}"
        own.mkdir()
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus", "1"]
        command += ["--object-store-memory", "80000000", "--node-ip-address", f"127.0.0.{2 + number}"]
        temporary = ["--temp-dir", str(self.folder / "ray"), "--include-dashboard", "false", "--port", str(self.port)]
        command += ["--head", *temporary] if head else ["--address", self.address]
        if not head and ALONE:  # a machine that does not see the driver's files
            shell = f"mount -t tmpfs none {self.hidden} && exec " + " ".join(command)
            command = [*UNSHARE, "sh", "-c", shell]
        environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "PLAIT_CACHE": str(own / "cache")}
        environment |= {"OMP_NUM_THREADS": "1", "RAY_health_check_period_ms": "1000"}
        environment.pop("PYTHONPATH", None)
        with (own / "log").open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        self.started.append(process)
        wait_for(lambda: "Ray runtime started" in (own / "log").read_text(), (own / "log").read_text)
        return process.pid

    def kill(self, session: int) -> None:
        for process in sessions().get(session, []):
            os.kill(process, signal.SIGKILL)

    def stop(self) -> None:
        for process in self.started:
            wait_for(lambda one=process: self.kill(one.pid) or not alive(one))


UNSHARE = ["unshare", "--mount", "--map-root-user"]
ALONE = (
    bool(shutil.which("unshare"))
    and not subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode
)


def sessions() -> dict[int, list[int]]:
    """The processes of each session."""
    found: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                found.setdefault(os.getsid(int(entry.name)), []).append(int(entry.name))
            except OSError:
                continue
    return found


def alive(process) -> bool:
    process.poll()
    return process.pid in sessions()


def wait_for(done, why=lambda: "", seconds=60):
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until, why()
        time.sleep(0.05)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    """Three nodes, two of which see nothing of the driver's folder, where that can be had."""
    nodes = Nodes(tmp_path_factory.mktemp("r"), tmp_path_factory.mktemp("driver"))
    try:
        for head in (True, False, False):
            nodes.start(head)
        yield nodes
    finally:
        nodes.stop()
        assert not set(sessions()) & {one.pid for one in nodes.started}


def study(log, seconds=0.1):
    """Nine jobs, three of which take encoders from three others."""
    methods = {
        name: {
            "use": "beside:Slow",
            "args": {"who": name, "log": str(log), "seconds": seconds},
            "modalities": modalities,
        }
        for name, modalities in (("one", ["a"]), ("both", ["a", "b"]), ("taken", ["a", "b"]))
    }
    methods["taken"]["encoders"] = {"a": {"from": "one", "frozen": True}}
    protocol = {"kind": "fixed", "train": ["1", "2"], "val": ["3"], "test": ["10"]}
    train = {"max_epochs": 3, "args": {"lr": 0.01}}
    return tiny.study(methods=methods, protocol=protocol, train=train, seeds=list(range(1, 4)))


def lines(log) -> list[tuple[int, str]]:
    """Each network that has been built: in which session, and of which job."""
    text = log.read_text() if log.exists() else ""
    return [(int(session), f"{who} {seed}") for session, who, seed in map(str.split, text.splitlines())]


DRIVER = """
import sys
from plait.study.run import run_study
run_study("study.toml", None, {out!r}, executor="ray", ray_address={address!r}, workers={workers})
"""


def drive(nodes, out, said, workers=None):
    """A run in a process of its own."""
    code = DRIVER.format(out=str(out), address=nodes.address, workers=workers)
    environment = {**os.environ, "PLAIT_CACHE": str(nodes.hidden / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)}
    with said.open("w") as file:
        command = [sys.executable, "-c", code]
        return subprocess.Popen(
            command, cwd=nodes.hidden, env=environment, stdout=file, stderr=file, start_new_session=True
        )


def test_frozen_features_are_the_same_bytes_and_what_a_job_raises_arrives_once(nodes, tmp_path, monkeypatch):
    (nodes.hidden / "beside.py").write_text(BESIDE)
    own = study(tmp_path / "log")
    frozen = {"use": "tests.test_features:Summed", "args": {"scale": 0.5}, "batch": 3}
    own["methods"]["both"]["encoders"] = {"a": {"features": frozen}}
    own["methods"]["both"]["args"] |= {"fails": True}
    (nodes.hidden / "study.toml").write_text(tomli_w.dumps(own | {"seeds": [7]}))
    driver = drive(nodes, "failed", tmp_path / "said", workers=1)
    assert driver.wait(90) == 1
    said = (tmp_path / "said").read_text()
    assert said.strip().splitlines()[-1] == "plait.errors.DataError: both cannot be trained"
    assert [job for session, job in lines(tmp_path / "log") if session != driver.pid].count("both 7") == 1

    monkeypatch.setenv("PLAIT_CACHE", str(tmp_path / "cache"))
    here = extract(tiny.TINY, listed(tiny.TINY, None, ["a"]), "a", Extraction(**frozen))
    assert (nodes.hidden / "cache" / "features" / here.array.name).read_bytes() == here.array.read_bytes()


def test_a_lost_node_s_jobs_run_again_and_the_bytes_are_inline_s(nodes, tmp_path, monkeypatch):
    _, victim, other = (one.pid for one in nodes.started)
    (nodes.hidden / "beside.py").write_text(BESIDE)
    (nodes.hidden / "study.toml").write_text(tomli_w.dumps(study(tmp_path / "log")))
    driver = drive(nodes, "run", tmp_path / "said")
    try:
        at_work = lambda: victim in dict(lines(tmp_path / "log")) or driver.poll() is not None  # noqa: E731
        wait_for(at_work, (tmp_path / "said").read_text)
        nodes.kill(victim)
        driver.wait(90)
    finally:
        nodes.kill(driver.pid)
    assert driver.returncode == 0, (tmp_path / "said").read_text()
    built = [(session, job) for session, job in lines(tmp_path / "log") if session != driver.pid]
    trained = Counter(job for _, job in built)
    lost = {job for session, job in built if session == victim}
    assert len(trained) == 9 and lost and other in dict(built)
    assert {job: n for job, n in trained.items() if n > 1} == dict.fromkeys(lost, 2)

    monkeypatch.syspath_prepend(nodes.hidden)
    quick = [f"methods.{name}.args.seconds=0.0" for name in ("one", "both", "taken")]
    run_study(nodes.hidden / "study.toml", None, tmp_path / "inline", sets=quick)
    one, other = (folder / "predictions.parquet" for folder in (nodes.hidden / "run", tmp_path / "inline"))
    assert one.read_bytes() == other.read_bytes()

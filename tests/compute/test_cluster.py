"""A Ray cluster of three nodes on this machine, one of which is lost while a study runs on it."""

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import polars as pl
import pytest
import tomli_w

from tests import tiny
from tests.commands import started

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed: plait[ray]"
)

BESIDE = """
import os, time
import torch
from torch import nn
from plait.errors import DataError

def probed(where, path):
    time.sleep(1)
    return str(where[path]), where[path].read_text()

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
    """Ray nodes, each a `ray start` in a session of its own, with its own address on the loopback."""

    def __init__(self, folder: Path, hidden: Path):
        self.port = next(port for port in range(20_000 + os.getpid() % 10_000, 32_000) if free(port))
        self.folder, self.hidden, self.started = folder, hidden, []
        self.address = f"127.0.0.2:{self.port}"

    def start(self, head: bool = False) -> int:
        """Start one; its session."""
        number = len(self.started)
        own = self.folder / f"node-{number}"
        own.mkdir()
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus", "1"]
        command += ["--object-store-memory", "80000000", "--node-ip-address", f"127.0.0.{2 + number}"]
        command += ["--include-log-monitor", "false"]
        if head:
            command += ["--head", "--temp-dir", str(self.folder / "ray")]
            command += ["--include-dashboard", "false", "--no-monitor", "--port", str(self.port)]
        else:
            command += ["--address", self.address]
        if not head and ALONE:  # a machine that does not see the driver's files
            shell = f"mount -t tmpfs none {self.hidden} && exec " + " ".join(command)
            command = [*UNSHARE, "sh", "-c", shell]
        environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "PLAIT_CACHE": str(own / "cache")}
        environment |= {
            "OMP_NUM_THREADS": "1",
            "RAY_health_check_period_ms": "1000",
            "RAY_prestart_worker_first_driver": "0",  # nobody asks for one without plait
            "RAY_AUTH_MODE": "disabled",
        }
        environment.pop("PYTHONPATH", None)
        with (own / "log").open("w") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        self.started.append(process)
        said = (own / "log").read_text
        wait_for(lambda: "Ray runtime started" in said() or process.poll() is not None, said)
        assert process.poll() is None, said()
        return process.pid

    def kill(self, session: int) -> None:
        for process in sessions().get(session, []):
            os.kill(process, signal.SIGKILL)

    def stop(self) -> None:
        for process in self.started:
            wait_for(lambda one=process: self.kill(one.pid) or not alive(one))


UNSHARE = ["unshare", "--mount", "--map-root-user"]
ALONE = (
    shutil.which("unshare")
    and subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0
)


def free(port: int) -> bool:
    """Whether nothing listens there; below the ports that systems hand out, which Ray's own servers take."""
    with socket.socket() as tried:
        try:
            tried.bind(("", port))
        except OSError:
            return False
    return True


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


def wait_for(done, why=lambda: "", seconds=400):
    until = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < until, why()
        time.sleep(0.05)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    """Three nodes, two of which see nothing of the driver's folder, where that can be had."""
    short = Path(tempfile.mkdtemp(prefix="r-"))  # the path of a socket has 107 bytes at most
    nodes = Nodes(short, tmp_path_factory.mktemp("driver"))
    try:
        for head in (True, False, False):
            nodes.start(head)
        yield nodes
    finally:
        nodes.stop()
        shutil.rmtree(short, ignore_errors=True)
        assert not set(sessions()) & {one.pid for one in nodes.started}


def study(log, seconds=0.1):
    """Nine slow jobs, three of which take encoders from three others, and a stack over two quick ones."""
    methods = {
        name: {
            "use": "beside:Slow",
            "args": {"who": name, "log": str(log), "seconds": seconds},
            "modalities": modalities,
        }
        for name, modalities in (("one", ["a"]), ("both", ["a", "b"]), ("taken", ["a", "b"]))
    }
    methods["both"]["encoders"] = {"a": {"features": {"use": "tests.test_features:Summed", "batch": 3}}}
    methods["taken"]["encoders"] = {"a": {"from": "one", "frozen": True}}
    methods |= {name: tiny.study()["methods"][name] for name in ("a", "b")}
    methods |= {"stack": {"stack": ["a", "b"], "args": {"folds": 2}}, "many": {"ensemble": "stack"}}
    protocol = {"kind": "fixed", "train": ["1", "2"], "val": ["3"], "test": ["10"]}
    train = {"max_epochs": 3, "args": {"lr": 0.01}}
    return tiny.study(methods=methods, protocol=protocol, train=train, seeds=list(range(1, 4)))


def lines(log) -> list[tuple[int, str]]:
    """Each network that has been built: in which session, and of which job."""
    text = log.read_text() if log.exists() else ""
    return [(int(session), f"{who} {seed}") for session, who, seed in map(str.split, text.splitlines())]


DRIVER = """
import json, os
from pathlib import Path
import beside, tests.test_features
from plait.compute.cluster import joined
from plait.errors import PlaitError
from plait.study.run import run_study

os.environ["PLAIT_SHARED"] = {shared!r}
probe = Path("probe.txt").absolute()
with joined({address!r}, 1, "cpu") as cluster:
    Path("probes.json").write_text(json.dumps(list(cluster.each(beside.probed, [([probe], (probe,))] * 3))))
    del os.environ["PLAIT_SHARED"]
    # both runs take what the process has joined already
    try:
        fails = ["methods.both.args.fails=true", "methods.both.args.who=failing", "seeds=[1]"]
        run_study("study.toml", None, Path("failed"), executor="ray", only=["both"], sets=fails)
    except PlaitError as error:
        Path("failed.txt").write_text(repr(error))
    run_study("study.toml", None, Path("run"), executor="ray", sets={trackers!r})
"""


@pytest.mark.slow
def test_a_lost_node_s_jobs_run_again_and_the_bytes_are_inline_s(nodes, tmp_path):
    _, victim, other = (one.pid for one in nodes.started)
    where, log, said = nodes.hidden, tmp_path / "log", tmp_path / "said"
    (where / "beside.py").write_text(BESIDE)
    (where / "study.toml").write_text(tomli_w.dumps(study(log)))
    path = os.pathsep.join([str(where), *sys.path])
    (where / "probe.txt").write_text("x" * 100)
    environment = {**os.environ, "PLAIT_CACHE": str(where / "cache"), "PYTHONPATH": path}
    environment["RAY_AUTH_MODE"] = "disabled"
    told = ['train.log=["tensorboard"]'] if importlib.util.find_spec("tensorboard") else []
    code = DRIVER.format(address=nodes.address, shared=(tmp_path / "shared").as_uri(), trackers=told)
    with said.open("w") as file:
        command = [sys.executable, "-c", code]
        options = {"stdout": file, "stderr": file, "start_new_session": True}
        driver = subprocess.Popen(command, cwd=where, env=environment, **options)
    try:
        at_work = {(victim, f"{who} {seed}") for who in ("one", "both", "taken") for seed in (1, 2, 3)}
        wait_for(lambda: driver.poll() is not None or at_work & set(lines(log)), said.read_text)
        nodes.kill(victim)
        driver.wait(400)
    finally:
        nodes.kill(driver.pid)
    assert driver.returncode == 0, said.read_text()
    probes = json.loads((where / "probes.json").read_text())
    assert [content for _, content in probes] == ["x" * 100] * 3
    sent = {
        Path(path).relative_to(nodes.folder).parts[1:3]
        for path, _ in probes
        if path != str(where / "probe.txt")
    }
    assert sent == ({("cache", "sent")} if ALONE else set())
    assert len(list(tmp_path.glob("shared/*/probe.txt"))) == len(sent)
    assert (where / "failed.txt").read_text() == "DataError('both cannot be trained')"
    built = [(session, job) for session, job in lines(log) if session != driver.pid]
    trained = Counter(job for _, job in built)
    assert trained.pop("failing 1") == 1 and len(trained) == 9  # what a job itself raises is not tried again
    lost = {job for session, job in built if (session, job) in at_work}
    assert lost and other in dict(built)
    assert {job: n for job, n in trained.items() if n > 1} == dict.fromkeys(lost, 2)

    # as a process of its own, for pytest writes assertions anew and so changes what an encoder's module is
    inline = ["run", "study.toml", "--data", ".", "--out", tmp_path / "inline"]
    for name in ("one", "both", "taken"):
        inline += ["--set", f"methods.{name}.args.seconds=0.0"]
    inline += ["--executor", "inline"]
    code, *told = started(*inline, folder=where, PLAIT_CACHE=str(tmp_path / "cache")).ended()
    assert code == 0, told
    one, other = (folder / "predictions.parquet" for folder in (where / "run", tmp_path / "inline"))
    assert one.read_bytes() == other.read_bytes()
    if told:  # here, of all trainings; the nodes had nothing to do with it
        histories = (where / "run" / "jobs").glob("*/history.parquet")
        trainings = {file.parent.name[:8] for file in histories if pl.read_parquet(file).height}
        shown = {folder.name.rpartition(", ")[2] for folder in (where / "run" / "tensorboard").iterdir()}
        assert shown == trainings and len(shown) == 9 + 2 * 3 * 3
    theirs, ours = (
        {file.name: file.read_bytes() for file in (cache / "features").glob("*.npy")}
        for cache in (where / "cache", tmp_path / "cache")
    )
    assert theirs and theirs == ours
    if ALONE:  # what that node could not see was sent to it: arrays, features, a donor's weights
        sent = {file.suffix for file in (nodes.folder / "node-2" / "cache" / "sent").glob("*/*")}
        taken = any(session == other and job.startswith("taken") for session, job in built)
        assert {".npy", ".safetensors"} <= sent if taken else ".npy" in sent

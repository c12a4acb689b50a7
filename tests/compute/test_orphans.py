"""No worker goes on computing for a process that is gone."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import plait

MAIN = """
import os, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from plait.compute.machine import follow_parent

if __name__ == "__main__":
    with ProcessPoolExecutor(1, get_context("spawn"), follow_parent) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 600).result()
"""


def alive(process):
    """Whether it runs still; who waits to be buried does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_worker_ends_with_its_parent_however_that_ended(tmp_path):
    (tmp_path / "main.py").write_text(MAIN)
    path = os.pathsep.join([str(Path(plait.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, tmp_path / "main.py"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    ) as parent:
        worker = int(parent.stdout.readline())
        assert alive(worker)
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    deadline = time.monotonic() + 60
    while alive(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(worker)


def test_all_workers_follow():
    """Whoever starts processes has them follow."""
    source = Path(plait.__file__).parent
    starts = [
        (file.name, call)
        for file in source.rglob("*.py")
        for call in re.findall(r"ProcessPoolExecutor\([^\n]*", file.read_text())
    ]
    assert starts and all("follow_parent" in call for _, call in starts), starts

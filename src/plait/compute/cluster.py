"""A Ray cluster, joined: plait's code goes to its nodes, files to those that lack them, and results come back."""

import os
import shutil
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from threading import Event
from typing import Any
from uuid import uuid4

import fsspec

from plait.compute.machine import cores
from plait.errors import ConfigError, DataError, PlaitError, one_line
from plait.objects import own_modules
from plait.store import cache_folder, made_once

SAMPLE = 1 << 20  # bytes at the start, the middle and the end of a file that tell whether two are the same
PIECE = 16 << 20  # bytes of a file that are on their way at once
RETRIES = 5  # of a task whose node or process was lost; what a task itself raises is not tried again
MOST_TASKS = 1024  # tasks in work at once


@dataclass(frozen=True)
class File:
    """A file that tasks read: where the driver has it, and what it holds: a key of its size and samples of it."""

    path: Path
    key: str

    @classmethod
    def of(cls, path: Path) -> "File":
        """The file as it is here.

        Raises:
            DataError: it cannot be read.
        """
        try:
            return cls(path, _sampled(path))
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


@dataclass(frozen=True)
class Cluster:
    """A cluster that this process has joined, for tasks of `threads` processors and `gpus` each."""

    ray: Any
    threads: int
    gpus: int
    task: Any
    said: "_Said"
    running: set[Any] = field(default_factory=set)
    ended: Event = field(default_factory=Event)

    def room(self) -> int:
        """How many tasks the nodes that are there now can carry out at once; at least one, which may have to wait."""
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        fits = [int(node.get("CPU", 0) // self.threads) for node in nodes]
        if self.gpus:
            fits = [min(n, int(node.get("GPU", 0) // self.gpus)) for n, node in zip(fits, nodes, strict=True)]
        return min(MOST_TASKS, max(1, sum(fits)))

    def keep(self, value: Any) -> Any:
        """A value that many tasks are given: it goes to each node once."""
        return self.ray.put(value)

    def call(self, function: Callable[..., Any], files: Iterable[Path], *args: Any) -> Any:
        """`function(where, *args)`, done on some node; `where` says by path where each of `files` lies on that node.

        A task whose node is lost is done again on another.

        Raises:
            PlaitError: nodes or processes were lost too often; else whatever `function` raises.
        """
        asked = [(path, File.of(path.absolute())) for path in files]
        reference = self.task.remote(function, asked, self.said, *args)
        self.running.add(reference)
        if self.ended.is_set():
            self.ray.cancel(reference, force=True)
        try:
            return self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:
            raise error.cause or error from None
        except self.ray.exceptions.RayError as error:
            raise PlaitError(
                f"the cluster lost a task, {RETRIES} times tried again: {one_line(error)}"
            ) from error
        finally:
            self.running.discard(reference)

    def each(
        self, function: Callable[..., Any], tasks: Iterable[tuple[Sequence[Path], tuple[Any, ...]]]
    ) -> Iterator[Any]:
        """What `call` gives for each of `tasks`, files and arguments, in their order; some are done ahead."""
        with ThreadPoolExecutor(MOST_TASKS) as threads:
            coming: deque[Future[Any]] = deque()
            try:
                for files, args in tasks:
                    coming.append(threads.submit(self.call, function, files, *args))
                    while len(coming) > 2 * self.room():
                        yield coming.popleft().result()
                while coming:
                    yield coming.popleft().result()
            except BaseException:
                if coming:  # else whoever took the last one has merely not asked for another
                    threads.shutdown(wait=False, cancel_futures=True)
                    self.cancel()
                raise

    def cancel(self) -> None:
        """End all tasks that are in work, and any that comes after them."""
        self.ended.set()
        for reference in list(self.running):
            self.ray.cancel(reference, force=True)


@contextmanager
def joined(address: str | None, threads: int, device: str) -> Iterator[Cluster]:
    """The cluster at `address`, by default `$RAY_ADDRESS`, else the one this machine is part of, else one here.

    Where the process has joined a cluster already, that one.

    Raises:
        ConfigError: Ray is not installed, there is no cluster at the address, or none of its nodes can do a task.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_task_oom_retries", str(RETRIES))  # counted apart, and without end by default
    ray: Any
    try:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
    except ImportError as error:
        raise ConfigError("executor is 'ray', but Ray is not installed: pip install 'plait[ray]'") from error
    already = ray.is_initialized()
    if not already:
        _join(ray, address)
    gpus = int(device.startswith("cuda"))
    lost = {"max_retries": RETRIES, "retry_exceptions": False}
    task = ray.remote(num_cpus=threads, num_gpus=gpus, **lost)(_task)
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    server = ray.remote(num_cpus=0, max_concurrency=8, scheduling_strategy=here)(_Server)
    said = _Said(os.environ.get("PLAIT_CACHE"), os.environ.get("PLAIT_SHARED"), threads, server.remote())
    cluster = Cluster(ray, threads, gpus, task, said)
    try:
        _check(cluster)
        yield cluster
    finally:
        cluster.cancel()
        if not already:
            ray.shutdown()


def _join(ray: Any, address: str | None) -> None:
    options = {
        "runtime_env": {"py_modules": [str(path) for path in own_modules()], "excludes": ["__pycache__"]},
        "log_to_driver": False,
        "logging_level": "ERROR",
    }
    named = address or os.environ.get("RAY_ADDRESS", "auto")
    if named not in ("auto", "local"):
        _answers(named)
    try:
        try:
            ray.init(address=named, **options)
        except ConnectionError:
            if named != "auto":
                raise
            ray.init(
                address="local",
                num_cpus=cores(),
                include_dashboard=False,
                _node_ip_address="127.0.0.1",  # nobody else's business
                **options,
            )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(f"Ray cluster {named}: cannot be joined: {one_line(error)}") from error


def _answers(address: str) -> None:
    """Refuse an address where nobody listens at once: Ray itself would wait for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        raise ConfigError(f"Ray cluster {address}: expected HOST:PORT, on one of the cluster's nodes")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except OSError as error:
        raise ConfigError(f"Ray cluster {address}: cannot be reached: {one_line(error)}") from error


def _check(cluster: Cluster) -> None:
    """Refuse a cluster whose processors are all on nodes too small for a task."""
    nodes = [node["Resources"] for node in cluster.ray.nodes() if node["Alive"]]
    most = int(max(node.get("CPU", 0) for node in nodes))
    if 0 < most < cluster.threads:
        raise ConfigError(
            f"threads is {cluster.threads}, but no node of the cluster has more than {most} processors"
        )
    if cluster.gpus and not any(node.get("GPU", 0) for node in nodes):
        raise ConfigError("device is cuda, but no node of the cluster has a GPU")


@dataclass(frozen=True)
class _Said:
    """What every task is told: the driver's cache and shared folder, threads, and who reads files beside the driver."""

    cache: str | None
    shared: str | None
    threads: int
    server: Any


class _Server:
    """Reads the driver's files for nodes that lack them, piece by piece; an actor beside the driver."""

    def read(self, path: Path, start: int) -> bytes:
        """Up to `PIECE` bytes from `start` on; none at the end."""
        with path.open("rb") as file:
            file.seek(start)
            return file.read(PIECE)

    def upload(self, path: Path, url: str) -> None:
        """Leave the file at `url`, unless it is there."""
        system, place = fsspec.core.url_to_fs(url)
        if not system.exists(place):
            making = f"{place}.{uuid4().hex}"
            system.makedirs(place.rpartition("/")[0], exist_ok=True)
            system.put_file(str(path), making)
            system.mv(making, place)


def _task(function: Callable[..., Any], files: Sequence[tuple[Path, File]], said: _Said, *args: Any) -> Any:
    import torch

    if said.cache:
        os.environ.setdefault("PLAIT_CACHE", said.cache)
    torch.set_num_threads(said.threads)
    return function({path: _here(file, said) for path, file in files}, *args)


def _here(file: File, said: _Said) -> Path:
    """Where the file lies on this node: at the driver's path, if it holds the same there, or else in the cache."""
    try:
        if _sampled(file.path) == file.key:
            return file.path
    except OSError:
        pass
    kept = cache_folder("sent") / file.key / file.path.name
    with made_once(kept) as making:  # one task of a node fetches it
        if making is not None:
            _fetch(file, making, said)
            if _sampled(making) != file.key:
                raise DataError(f"{file.path}: changed while it was sent to a node")
    return kept


def _fetch(file: File, made: Path, said: _Said) -> None:
    import ray

    if said.shared:
        url = f"{said.shared.rstrip('/')}/{file.key}/{file.path.name}"
        ray.get(said.server.upload.remote(file.path, url))
        with fsspec.open(url, "rb") as source, made.open("wb") as target:
            shutil.copyfileobj(source, target, PIECE)
        return
    with made.open("wb") as target:
        while piece := ray.get(said.server.read.remote(file.path, target.tell())):
            target.write(piece)


def _sampled(path: Path) -> str:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        digest = sha256(str(size).encode())
        for start in (0, size // 2, max(0, size - SAMPLE)):
            file.seek(start)
            digest.update(file.read(SAMPLE))
    return digest.hexdigest()[:32]

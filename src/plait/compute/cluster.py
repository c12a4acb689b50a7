"""A Ray cluster: plait's code goes to its nodes, files to those that lack them, and results come back."""

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
from plait.store import cache_folder, made_once

SAMPLE = 1 << 20  # bytes at the start, the middle and the end of a file that tell whether two are the same
PIECE = 16 << 20  # bytes of a file that are on their way at once
RETRIES = 5  # of a task whose node or process was lost; what a task itself raises is not tried again
MOST_TASKS = 1024  # tasks in work at once


@dataclass(frozen=True)
class File:
    """A file that tasks read: where the driver has it, and a key of its size and of samples of it."""

    path: Path
    key: str

    @classmethod
    def of(cls, path: Path) -> "File":
        """The file as it is here.

        Raises:
            DataError: it cannot be read.
        """
        try:
            return cls(path, _sample_key(path))
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


@dataclass(frozen=True)
class Cluster:
    """A cluster that this process, the driver, has joined.

    Args:
        ray: the module.
        threads: processors that a task takes.
        gpus: graphics cards that a task takes.
        task: Ray's remote function around `_run_task`.
        said: what every task is told of the driver.
        running: Ray's references of the tasks that are in work.
        ended: whether tasks are cancelled.
    """

    ray: Any
    threads: int
    gpus: int
    task: Any
    said: "_Driver"
    running: set[Any] = field(default_factory=set)
    ended: Event = field(default_factory=Event)

    def room(self) -> int:
        """How many tasks today's nodes can carry out at once; at least one, which may have to wait."""
        nodes = [node["Resources"] for node in self.ray.nodes() if node["Alive"]]
        fits = [int(node.get("CPU", 0) // self.threads) for node in nodes]
        if self.gpus:
            fits = [min(n, int(node.get("GPU", 0) // self.gpus)) for n, node in zip(fits, nodes, strict=True)]
        return min(MOST_TASKS, max(1, sum(fits)))

    def keep(self, value: Any) -> Any:
        """A value that many tasks are given: it goes to each node once."""
        return self.ray.put(value)

    def call(self, function: Callable[..., Any], files: Iterable[Path], *args: Any) -> Any:
        """`function(where, *args)`, done on some node, where each of `files` lies at `where[path]`.

        A task whose node is lost is done again on another.

        Raises:
            PlaitError: nodes or processes were lost too often; else whatever `function` raises.
        """
        inputs = [(path, File.of(path.absolute())) for path in files]
        reference = self.task.remote(function, inputs, self.said, *args)
        self.running.add(reference)
        if self.ended.is_set():
            self.ray.cancel(reference, force=True)
        try:
            return self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:
            raise error.cause or error from None
        except self.ray.exceptions.RayError as error:
            lost = f"the cluster lost a task, {RETRIES} times tried again"
            raise PlaitError(f"{lost}: {one_line(error)}") from error
        finally:
            self.running.discard(reference)

    def each(
        self, function: Callable[..., Any], tasks: Iterable[tuple[Sequence[Path], tuple[Any, ...]]]
    ) -> Iterator[Any]:
        """What `call` gives for each of `tasks`, files and arguments, in their order; some are done ahead."""
        with ThreadPoolExecutor(MOST_TASKS) as threads:
            futures: deque[Future[Any]] = deque()
            try:
                for files, args in tasks:
                    futures.append(threads.submit(self.call, function, files, *args))
                    while len(futures) > 2 * self.room():
                        yield futures.popleft().result()
                while futures:
                    yield futures.popleft().result()
            except BaseException:
                if futures:  # else whoever took the last one has merely not asked for another
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
    """The cluster that this process has joined already, or else the one at `address`.

    That is by default `$RAY_ADDRESS`, else the one this machine is part of, else one here.

    Raises:
        ConfigError: Ray is not installed, no cluster is at the address, or none of its nodes can do a task.
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
    retries = {"max_retries": RETRIES, "retry_exceptions": False}
    task = ray.remote(num_cpus=threads, num_gpus=gpus, **retries)(_run_task)
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    server = ray.remote(num_cpus=0, max_concurrency=8, scheduling_strategy=here)(_Server)
    folders = os.environ.get("PLAIT_CACHE"), os.environ.get("PLAIT_SHARED")
    cluster = Cluster(ray, threads, gpus, task, _Driver(*folders, threads, server.remote()))
    try:
        _check(cluster)
        yield cluster
    finally:
        cluster.cancel()
        if not already:
            ray.shutdown()


def _join(ray: Any, address: str | None) -> None:
    from plait.objects import own_modules  # and torch, for which whoever reads files does not wait

    options = {
        "runtime_env": {"py_modules": [str(path) for path in own_modules()], "excludes": ["__pycache__"]},
        "log_to_driver": False,
        "logging_level": "ERROR",
    }
    address = address or os.environ.get("RAY_ADDRESS", "auto")
    if address not in ("auto", "local"):
        _answers(address)
    try:
        try:
            ray.init(address=address, **options)
        except ConnectionError:
            if address != "auto":
                raise
            options |= {"num_cpus": cores(), "include_dashboard": False}
            ray.init(address="local", _node_ip_address="127.0.0.1", **options)  # nobody else's business
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(f"Ray cluster {address}: cannot be joined: {one_line(error)}") from error


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
        largest = f"no node of the cluster has more than {most} processors"
        raise ConfigError(f"threads is {cluster.threads}, but {largest}")
    if cluster.gpus and not any(node.get("GPU", 0) for node in nodes):
        raise ConfigError("device is cuda, but no node of the cluster has a GPU")


@dataclass(frozen=True)
class _Driver:
    """What every task is told: the driver's cache and shared folder, threads, and who reads its files."""

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


def _run_task(
    function: Callable[..., Any], files: Sequence[tuple[Path, File]], driver: _Driver, *args: Any
) -> Any:
    import torch

    if driver.cache:
        os.environ.setdefault("PLAIT_CACHE", driver.cache)
    torch.set_num_threads(driver.threads)
    return function({path: _locate(file, driver) for path, file in files}, *args)


def _locate(file: File, driver: _Driver) -> Path:
    """Where the file lies on this node: at the driver's path, if it is the same there, or in the cache."""
    try:
        if _sample_key(file.path) == file.key:
            return file.path
    except OSError:
        pass
    copy = cache_folder("sent") / file.key / file.path.name
    with made_once(copy) as making:  # one task of a node fetches it
        if making is not None:
            _fetch(file, making, driver)
            if _sample_key(making) != file.key:
                raise DataError(f"{file.path}: changed while it was sent to a node")
    return copy


def _fetch(file: File, copy: Path, driver: _Driver) -> None:
    import ray

    with copy.open("wb") as target:
        if driver.shared:
            url = f"{driver.shared.rstrip('/')}/{file.key}/{file.path.name}"
            ray.get(driver.server.upload.remote(file.path, url))
            with fsspec.open(url, "rb") as source:
                shutil.copyfileobj(source, target, PIECE)
            return
        while piece := ray.get(driver.server.read.remote(file.path, target.tell())):
            target.write(piece)


def _sample_key(path: Path) -> str:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        digest = sha256(str(size).encode())
        for start in (0, size // 2, max(0, size - SAMPLE)):
            file.seek(start)
            digest.update(file.read(SAMPLE))
    return digest.hexdigest()[:32]

"""How the work of a study is carried out: one item after another here, by processes, or on a Ray cluster."""

import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Generic, TypeVar

from plait.compute.alike import bound
from plait.compute.cluster import MOST_TASKS, Cluster
from plait.compute.machine import DIED, environment, follow_parent, jobs_at_once
from plait.errors import PlaitError
from plait.store import atomic

T = TypeVar("T")
EXECUTORS = ("inline", "processes", "ray")
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")


@dataclass(frozen=True)
class Work(Generic[T]):
    """What has to be known of items to carry them out, in functions that can be pickled.

    Args:
        out: where items leave folders, called by their paths in it.
        do: does an item in an `out`; its folder is left there whole or not at all.
        leaves: the folder that an item leaves.
        needs: the folders that must stand before.
        reads: the files that an item reads.
        moved: the same item, reading those files that lie outside `out` at other paths.
        cost: how long an item takes, in any unit.
        label: what an item is, for a person.
    """

    out: Path
    do: Callable[[T, Path], None]
    leaves: Callable[[T], str]
    needs: Callable[[T], tuple[str, ...]]
    reads: Callable[[T], tuple[Path, ...]]
    moved: Callable[[T, Mapping[Path, Path]], T]
    cost: Callable[[T], float]
    label: Callable[[T], str]


@dataclass(frozen=True)
class Workers(Generic[T]):
    """Who carries out items: `start` one, as long as fewer than `room()` are in work."""

    start: Callable[[T], Future[None]]
    room: Callable[[], int]


def workers_of(
    executor: str,
    work: Work[T],
    workers: int | None,
    threads: int,
    cluster: Cluster | None = None,
    device: str = "cpu",
) -> AbstractContextManager[Workers[T]]:
    """Who carries out items under an executor's name: a `cluster`'s nodes, processes, or nobody else.

    Others than this process go on only if they compute what the keys made by now say (`alike`).

    Args:
        executor: one of `EXECUTORS`.
        work: what has to be known of items.
        workers: items at once; by default as many as there is room for.
        threads: of each item.
        cluster: where the executor is `ray`.
        device: what items compute on.
    """
    if cluster:
        return remote(work, workers, cluster, device)
    if executor == "processes":
        return processes(work, workers or jobs_at_once(threads, device), threads, device)
    return inline(work)


@contextmanager
def inline(work: Work[T]) -> Iterator[Workers[T]]:
    """One item at a time, here."""

    def start(item: T) -> Future[None]:
        done: Future[None] = Future()
        try:
            work.do(item, work.out)
        except Exception as error:  # raised where the result is asked for, as everywhere
            done.set_exception(error)
        else:
            done.set_result(None)
        return done

    yield Workers(start, lambda: 1)


@contextmanager
def processes(work: Work[T], workers: int, threads: int, device: str) -> Iterator[Workers[T]]:
    """`workers` spawned processes, of `threads` threads from their first moment, which end with this one.

    Raises:
        PlaitError: a process died, as when memory runs out, or does not do what is asked.
    """
    do = bound(work.do, device)
    with environment(dict.fromkeys(_THREADS, str(threads))):  # read by libraries as they are loaded
        context, others = multiprocessing.get_context("spawn"), set(multiprocessing.active_children())
        with ProcessPoolExecutor(workers, mp_context=context, initializer=follow_parent) as pool:
            try:
                yield Workers(lambda item: pool.submit(do, item, work.out), lambda: workers)
            except BrokenProcessPool as error:
                raise PlaitError(DIED) from error
            except BaseException:  # nobody goes on with an item whose lock is about to be given up
                for worker in set(multiprocessing.active_children()) - others:
                    worker.terminate()
                raise
            finally:
                pool.shutdown(cancel_futures=True)


@contextmanager
def remote(work: Work[T], workers: int | None, cluster: Cluster, device: str) -> Iterator[Workers[T]]:
    """The nodes of a cluster, as many items at once as they have room for, or `workers`.

    An item is done in a folder of its node's; the folder it leaves comes back and is put in place here.
    """
    carry_out = bound(_carry_out, device)

    def carry(item: T) -> None:
        files = cluster.call(carry_out, work.reads(item), work, item)
        with atomic(work.out / work.leaves(item)) as folder:
            for path, content in files.items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(content)

    with ThreadPoolExecutor(MOST_TASKS) as threads:
        try:
            yield Workers(lambda item: threads.submit(carry, item), lambda: workers or cluster.room())
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            cluster.cancel()
            raise


def _carry_out(where: Mapping[Path, Path], work: Work[T], item: T) -> dict[str, bytes]:
    """Do an item in a folder of its own that has the files it reads; the files of the folder it left."""
    with TemporaryDirectory(prefix="plait-") as temporary:
        out = Path(temporary)
        for path, here in where.items():
            if path.is_relative_to(work.out):
                link = out / path.relative_to(work.out)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(here)
        work.do(work.moved(item, where), out)
        folder = out / work.leaves(item)
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}

"""What is missing is done: each item once its donors are finished, by one of the runs that share a folder."""

import shutil
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Literal, TypeVar

from filelock import Timeout

from plait.compute.executors import Work, Workers
from plait.errors import DataError
from plait.progress import Progress, Step
from plait.store import HELD, MAKING, locked, scratch

T = TypeVar("T")
WAITING = "waiting for jobs of another run"
POLL_S = 0.25  # between two looks at what another run is doing
ROOM_S = 2.0  # between two looks at whether there is more room now
OLD_S = 3600.0  # of an empty folder: nobody is about to fill it


def do_missing(
    items: Sequence[T],
    work: Work[T],
    workers: AbstractContextManager[Workers[T]],
    progress: Progress,
    stands: Callable[[T], object] = lambda item: None,
) -> None:
    """Do every item whose folder does not stand yet.

    Right before an item is started a lock of its folder is taken. One that another run holds is left to it,
    and done here only if that run ends without it.

    Args:
        items: donors come first.
        work: what is known of items.
        workers: who carries them out.
        progress: told folders that stand, folders in all, and what was finished last, or `WAITING` once.
        stands: called with each item whose folder stands, first with those that are done already.

    Raises:
        DataError: the folder of the results cannot be written; nothing has been done.
        PlaitError: whatever an item or its executor raises.
    """
    for place in {(work.out / work.leaves(item)).parent for item in items}:
        with scratch(place, "a job"):
            pass  # a folder that cannot be written is said so before anything is trained
        _sweep(place, work.out)
    todo = [item for item in items if not _stands(item, work)]
    missing = {work.leaves(item) for item in todo}
    for item in items:
        if work.leaves(item) not in missing:
            stands(item)

    def tell(label: str, state: Literal["begins", "done", "waits"] = "done") -> None:
        progress(Step(len(items) - len(missing), len(items), label, state))

    tell("jobs", "begins")
    running: dict[Future[None], tuple[T, ExitStack]] = {}
    waited = False

    def finish(item: T) -> None:
        missing.discard(work.leaves(item))
        tell(work.label(item))
        stands(item)

    with ExitStack() as claims, workers as pool:
        if pool.room() > 1:
            todo = _longest_first(todo, work)
        while todo or running:
            room, waiting, elsewhere = pool.room(), [], False
            for item in todo:
                if len(running) >= room or not missing.isdisjoint(work.needs(item)):
                    waiting.append(item)
                    continue
                claim = _claim(item, work)
                if claim is None:
                    waiting.append(item)
                    elsewhere = True
                    continue
                claims.callback(claim.close)
                if _stands(item, work):
                    claim.close()
                    finish(item)
                    continue
                running[pool.start(item)] = item, claim
            changed, todo = len(waiting) < len(todo), waiting
            ended: set[Future[None]] = set()
            if running:
                pause = POLL_S if elsewhere else ROOM_S
                ended, _ = wait(running, pause if todo else None, FIRST_COMPLETED)
            elif not changed:
                if elsewhere and not waited:
                    waited = True
                    tell(WAITING, "waits")
                time.sleep(POLL_S)
            for future in ended:
                item, claim = running.pop(future)
                future.result()
                _release(item, claim, work)
                finish(item)


def _stands(item: T, work: Work[T]) -> bool:
    return (work.out / work.leaves(item)).exists()


def _longest_first(items: Sequence[T], work: Work[T]) -> list[T]:
    """The items, largest cost first: an item's own and that of the costliest chain that waits for it."""
    waiting: dict[str, float] = {}  # cost of the longest chain that needs a folder
    chains: dict[str, float] = {}  # the same with the item that leaves it
    for item in reversed(items):
        folder = work.leaves(item)
        chains[folder] = work.cost(item) + waiting.get(folder, 0.0)
        for name in work.needs(item):
            waiting[name] = max(waiting.get(name, 0.0), chains[folder])
    return sorted(items, key=lambda item: -chains[work.leaves(item)])


def _claim(item: T, work: Work[T]) -> ExitStack | None:
    """The lock of an item's folder, taken; None if another run has it."""
    claim = ExitStack()
    try:
        claim.enter_context(locked(_lock_of(item, work), wait=False))
    except Timeout:
        return None
    return claim


def _release(item: T, claim: ExitStack, work: Work[T]) -> None:
    """Give up the lock of a finished item; whoever still gets the removed file finds the folder standing."""
    _lock_of(item, work).unlink(missing_ok=True)
    claim.close()


def _lock_of(item: T, work: Work[T]) -> Path:
    return work.out / ".locks" / Path(work.leaves(item)).name


def _sweep(place: Path, out: Path) -> None:
    """Remove what killed runs have left half made; what is made under a lock is somebody's."""
    for left_over in place.glob(f"{MAKING}*"):
        try:
            names = [path.name for path in left_over.iterdir() if path.name != HELD]
            if not names and time.time() - left_over.stat().st_mtime < OLD_S:
                continue
            with ExitStack() as locks:
                for name in names:
                    locks.enter_context(locked(out / ".locks" / name, wait=False))
                shutil.rmtree(left_over, ignore_errors=True)
        except (OSError, DataError):
            continue  # gone, or another run's

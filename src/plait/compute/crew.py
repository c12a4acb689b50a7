"""Items done by several processes at a time, as many as a stated amount of memory allows."""

import multiprocessing
import os
import pickle
import traceback
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import cloudpickle

from plait.compute.alike import bound
from plait.compute.machine import DIED, environment, follow_parent
from plait.errors import DataError, PlaitError, PlaitWarning, one_line

T = TypeVar("T")
R = TypeVar("R")
More = Callable[[int], object]
LOOK_S = 0.1  # between two looks at what the processes hold
SHARE = 0.75  # of the free memory that is taken where nothing else is said


@dataclass(frozen=True)
class Crew:
    """So many processes at most, and the memory that they may hold together.

    Each does one item after another. The first process begins alone; when it has said that some of its item
    is done, what it holds by then is taken for what the next will need, and so on: one more begins only if
    all would fit. Where they come to hold too much after all, what was begun last is given up, whose process
    ends at once, and done later; so items must go on from what was left of them. One process alone may hold
    what it needs. What a process holds is its anonymous memory (RssAnon), which Linux alone tells; elsewhere
    only their number is bounded.

    Args:
        workers: processes at most.
        memory: bytes; by default three quarters of what is free when they begin.
    """

    workers: int
    memory: int | None = None

    def each(self, do: Callable[[T, More], R], items: Sequence[T], more: More = lambda some: None) -> list[R]:
        """What `do` makes of every item, in their order.

        An item that raises DataError is one whose own file is at fault: all others are done before that is
        raised. Anything else that is raised ends the others, too.

        Args:
            do: does an item in another process, calling its second argument with how much more of it is
                done; it and items are sent by cloudpickle.
            items: what is to be done.
            more: called here with what `do` says; with less than 0 if that was given up.

        Raises:
            DataError: what the first of the items that failed has raised, and how many more did.
            PlaitError: a process died, as when memory runs out.
        """
        budget = self.memory or int(SHARE * (free_memory() or 0)) or 1 << 62
        todo = deque(range(len(items)))
        results: dict[int | None, R] = {}
        failed: dict[int, DataError] = {}
        most, need = min(self.workers, len(items)), 0
        sent, members, turns = cloudpickle.dumps(bound(do)), list[_Member](), count()
        try:
            while len(results) + len(failed) < len(items):
                busy = [member for member in members if member.number is not None]
                idle = [member for member in members if member.number is None]
                holding = {member.process.pid: held(member.process.pid) for member in members}
                need = max([need, *holding.values()])
                if len(busy) > 1 and sum(holding.values()) > budget:
                    last = max(busy, key=lambda member: member.turn)
                    assert last.number is not None
                    more(-last.done)
                    todo.appendleft(last.number)
                    most = len(busy) - 1
                    _end(members, last)
                    continue
                fits = sum(max(holding[member.process.pid], need) for member in busy) + need <= budget
                if idle and busy and (not todo or not fits or len(busy) >= most):
                    _end(members, idle[0])
                    continue
                if todo and (not busy or (fits and len(busy) < most and all(one.known for one in busy))):
                    member = idle[0] if idle else _begun(members, sent)
                    member.begin(todo.popleft(), items, next(turns))
                    continue
                for link in wait([member.link for member in busy], LOOK_S):
                    member = next(member for member in busy if member.link is link)
                    kind, value = member.hear()
                    if kind == "more":
                        member.done += value
                        more(value)
                    elif kind == "warned":
                        warnings.warn(value, PlaitWarning, stacklevel=2)
                        continue
                    elif kind == "done":
                        results[member.number], member.number = value, None
                    elif isinstance(value, DataError) and member.number is not None:
                        failed[member.number], member.number = value, None
                    else:
                        raise value
                    member.known = True
        finally:
            for member in [*members]:
                _end(members, member)
        if failed:
            first, *others = (failed[number] for number in sorted(failed))
            besides = f" ({len(others)} of the other {len(items) - 1} failed, too)" if others else ""
            raise type(first)(f"{first}{besides}") from first
        return [results[number] for number in range(len(items))]


@dataclass(eq=False)
class _Member:
    """A process, the item that it is at, and how much of that is done.

    `known` is whether it has come to hold what its items need; `turn` counts the items begun before its own.
    """

    process: Any
    link: "Connection[Any, Any]"
    number: int | None = None
    done: int = 0
    known: bool = False
    turn: int = 0

    def begin(self, number: int, items: Sequence[Any], turn: int) -> None:
        self.number, self.done, self.turn = number, 0, turn
        with suppress(OSError):  # of one that has died, which is heard
            self.link.send_bytes(cloudpickle.dumps(items[number]))

    def hear(self) -> tuple[str, Any]:
        try:
            said: tuple[str, Any] = self.link.recv()
        except (EOFError, OSError):
            raise PlaitError(DIED) from None
        return said


def _begun(members: list[_Member], sent: bytes) -> _Member:
    """A process more."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, sent))
    policy = os.environ.get("OMP_WAIT_POLICY", "PASSIVE")  # OpenMP's threads sleep while they wait
    with environment({"OMP_WAIT_POLICY": policy}):
        process.start()
    theirs.close()
    members.append(_Member(process, ours))
    return members[-1]


def _end(members: list[_Member], member: _Member) -> None:
    members.remove(member)
    member.process.terminate()
    member.process.join()
    member.link.close()


def _serve(link: "Connection[Any, Any]", sent: bytes) -> None:
    """Do items until nobody sends any more."""
    follow_parent()
    plain = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *rest: Any) -> None:
        if issubclass(category, PlaitWarning):
            link.send(("warned", str(message)))
        else:
            plain(message, category, *rest)

    warnings.showwarning = show  # type: ignore[assignment]
    do = pickle.loads(sent)
    while True:
        try:
            item = pickle.loads(link.recv_bytes())
        except EOFError:
            return
        try:
            said = "done", do(item, lambda some: link.send(("more", some)))
        except Exception as error:
            said = "failed", error if isinstance(error, PlaitError) else _unforeseen(error)
        link.send(said)


def _unforeseen(error: Exception) -> PlaitError:
    """What nobody has foreseen, where it came from as a note."""
    said = PlaitError(f"a worker process failed: {type(error).__name__}: {one_line(error)}")
    said.add_note("".join(traceback.format_exception(error)))
    return said


def held(pid: int | None) -> int:
    """Bytes of anonymous memory that a process holds; 0 where that is not told, or of one that is gone."""
    return _line(Path(f"/proc/{pid}/status"), "RssAnon:")


def free_memory() -> int | None:
    """Bytes that processes here may yet take, a container's limit included; None where nobody tells."""
    free = _line(Path("/proc/meminfo"), "MemAvailable:")
    return min([free, *_left_in_groups()]) if free else None


class _Group(NamedTuple):
    """Files of a control group: its limit, what it takes, and how much of that is a copy of files."""

    limit: str
    taken: str
    files: str


_GROUPS = {
    "": _Group("memory.max", "memory.current", "inactive_file"),
    "memory": _Group("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def _left_in_groups() -> Iterator[int]:
    """What the control groups that this process is in have left, where these have limits."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, kinds, place = line.split(":", 2)
            for kind in {"", "memory"}.intersection(kinds.split(",")):
                root = Path("/sys/fs/cgroup") / kind
                below = root / place.strip("/")
                for folder in dict.fromkeys([below, *below.parents, root]):
                    if folder.is_relative_to(root):
                        yield from _left(folder, _GROUPS[kind])


def _left(folder: Path, group: _Group) -> Iterator[int]:
    with suppress(OSError, ValueError):
        limit, taken = (int((folder / name).read_text()) for name in (group.limit, group.taken))
        copies = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        yield max(limit - taken + int(copies.get(group.files, 0)), 0)


def _line(file: Path, begins: str) -> int:
    """The bytes that a line of Linux's says in kB; 0 if there is none."""
    with suppress(OSError, ValueError):
        for line in file.read_text().splitlines():
            if line.startswith(begins):
                return 1024 * int(line.split()[1])
    return 0

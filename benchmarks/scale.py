"""How storage, time and memory grow with the clips of a study, and what that comes to at ten million.

    python benchmarks/scale.py [--sizes N,N,...] [--only PART,PART,...] [--to 10000000] [--quick]

Generated people of 100 clips each, in one recording: four small frames and 32 readings of four channels a
clip, four activities. Each part at each size is a process of its own. Parts:

* `table`: `plait clips` over recordings on disk of 1,000 windows of a second each (a small video, a log of 22
  columns at 25 Hz); the table is written and read.
* `study`: a study's clips are listed, cut, encoded by a frozen network, looked through for doubles; an
  epoch of video-led fusion in batches of 64, a third of the difference between four and one.
* `doctor`: what the doctor says of as many people with two sensors, before a study.
* `plan`: clips without tensors: five folds of people and their jobs, of two methods; a fold for each person
  and their jobs; a job on its way to a process and back.
* `report`: predictions of two methods, written, read, and made a report of.
* `dispatch`: jobs that do nothing, two at once, by processes and on a Ray cluster on this machine.

MB are RssAnon at most in a stage beyond what the process had before the first. A line through the origin or
not and a power law are fitted to what each stage takes, by least squares of relative errors, and that which
is nearer at its worst is taken to `--to` clips.
"""

import multiprocessing
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.optimize import nnls

from common import CLOCK, finish, machine, options, said
from plait.compute.cluster import joined
from plait.compute.executors import Work, workers_of
from plait.compute.schedule import do_missing
from plait.errors import ConfigError
from plait.progress import silent
from plait.store import atomic
from scale_parts import Gauge, doctor_part, plan_part, report_part, study_part, table_part

SIZES, QUICK, TO = (1_000, 3_000, 10_000, 30_000), (600,), 10_000_000


def dispatch_part(jobs: int, folder: Path, gauge: Gauge) -> None:
    """Jobs that do nothing, two at once; seconds are the clock's, for others do the work."""
    for executor in ("processes", "ray"):
        with ExitStack() as stack:
            cluster = None
            if executor == "ray":
                try:
                    cluster = stack.enter_context(joined("local", 1, "cpu"))
                except ConfigError as error:
                    print(f"  not run: {error}")
                    continue
            work = _work(folder / executor)
            pool = stack.enter_context(workers_of(executor, work, 2, 1, cluster))
            for stage, numbers in (("first two", range(2)), ("others", range(2, jobs + 2))):
                start = time.perf_counter()
                do_missing(numbers, work, nullcontext(pool), silent)
                gauge.note(f"{executor}: {stage}", s=time.perf_counter() - start)


def _work(out: Path) -> Work[int]:
    return Work(out, _leave, _folder, _nothing, _nothing, _same, _cost, str)


def _leave(job: int, out: Path) -> None:
    with atomic(out / _folder(job)) as folder:
        folder.mkdir()
        (folder / "done").write_text(str(job))


def _folder(job: int) -> str:
    return f"jobs/{job}"


def _nothing(job: int) -> tuple[Any, ...]:
    return ()


def _same(job: int, where: Mapping[Path, Path]) -> int:
    return job


def _cost(job: int) -> float:
    return 1.0


class Fit(NamedTuple):
    """What grows with clips as `at + by * clips ** power`, and how far it is off at most, as a share."""

    at: float
    by: float
    power: float
    off: float | None

    def __call__(self, clips: float) -> float:
        """What it comes to."""
        return self.at + self.by * float(clips**self.power)


def fitted(sizes: Sequence[int], values: Sequence[float]) -> Fit:
    """The line or power law that is nearer to `values` where it is furthest off."""
    n, y = np.array(sizes, dtype=np.float64), np.array(values, dtype=np.float64)
    if len(n) == 1 or min(y) <= 0:
        return Fit(float(y[-1]), 0.0, 1.0, None)
    found = []
    at, by = nnls(np.stack([1 / y, n / y], axis=1), np.ones(len(y)))[0]
    found.append((float(at), float(by), 1.0))
    power, log_by = np.polyfit(np.log(n), np.log(y), 1)
    found.append((0.0, float(np.exp(log_by)), float(power)))
    off = [float(np.abs((at + by * n**power) / y - 1).max()) for at, by, power in found]
    best = int(np.argmin(off))
    return Fit(*found[best], off[best])


PARTS: dict[str, Callable[[int, Path, Gauge], None]] = {
    "table": table_part,
    "study": study_part,
    "doctor": doctor_part,
    "plan": plan_part,
    "report": report_part,
    "dispatch": dispatch_part,
}


def _measured(part: str, clips: int, into: Any, warm: bool) -> None:
    """One part at one size, in this process alone; what is done once in a process is done before."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        for count, name in ((QUICK[0], "warm"), (clips, "cold"))[not warm :]:
            (Path(folder) / name).mkdir()
            gauge = Gauge()
            PARTS[part](count, Path(folder) / name, gauge)
    into.send(gauge.taken)


def taken(part: str, clips: int, warm: bool) -> dict[str, dict[str, float]]:
    """What the stages of a part take at one size: seconds, MB, bytes."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_measured, args=(part, clips, sender, warm))
    process.start()
    sender.close()
    try:
        told: dict[str, dict[str, float]] = receiver.recv()
    except EOFError:
        raise SystemExit(f"{part} failed at {clips} clips") from None
    process.join()
    return told


def main() -> None:
    """Measure all parts at all sizes; fit, and say what the stages come to."""
    parser = options(__doc__)
    parser.add_argument(
        "--sizes", type=lambda text: [int(float(n)) for n in text.split(",")], help="of clips"
    )
    parser.add_argument("--only", default=",".join(PARTS), help="parts, by commas")
    parser.add_argument("--to", type=float, default=TO, help="clips that fits are taken to")
    args = parser.parse_args()
    sizes = args.sizes or (QUICK if args.quick else SIZES)
    rows: list[dict[str, Any]] = []
    print(said(told := machine(1)))
    for part in args.only.split(","):
        counts = sizes if part != "dispatch" else [10] if args.quick else [200]
        points = {n: taken(part, n, warm=not args.quick and part != "dispatch") for n in counts}
        for stage, quantity in {(s, q): None for point in points.values() for s in point for q in point[s]}:
            at = {
                n: point[stage][quantity] for n, point in points.items() if quantity in point.get(stage, {})
            }
            row: dict[str, Any] = {"part": part, "stage": stage, "quantity": quantity, "points": at}
            if part != "dispatch":
                large = [n for n in at if 10 * n >= max(at)]
                fit = fitted(large, [at[n] for n in large])
                row |= {"fit": fit._asdict(), "to": fit(args.to)}
            rows.append(row)
            print(_line(row))
    finish(args.json, {**told, "sizes": list(sizes), "to": args.to, "clock": CLOCK.__name__, "rows": rows})


def _line(row: dict[str, Any]) -> str:
    points = "  ".join(f"{n:,}: {value:,.4g}" for n, value in row["points"].items())
    text = f"  {row['part']:8} {row['stage']:22} {row['quantity']:5} {points}"
    if "fit" in row:
        fit = row["fit"]
        law = f"{fit['at']:.3g} + {fit['by']:.3g} n^{fit['power']:.2f}"
        law += "" if fit["off"] is None else f", off {100 * fit['off']:.0f} %"
        text += f"  -> {row['to']:,.4g} ({law})"
    return text


if __name__ == "__main__":
    main()

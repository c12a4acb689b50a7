"""How well claps and motion lay sensor logs on a video's clock, on generated recordings with known truth.

    python benchmarks/sync.py [--recordings 60] [--seed 0] [--json FILE]

Half of the recordings have one clap and last at most 3 minutes, half have two or three and last 2 to 6
minutes; offsets up to 5 s, drifts up to 200 ppm, noise, and four other sounds and jerks each. Then the same
recordings without claps and without sound. The error of a log is the worst over its recording; a silent
failure is an error above 100 ms that is called sure.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

from plait.compute.machine import cores
from plait.recordings.sync import Fit, align, claps_heard
from signals import Signals, simulate


def worst_error_s(fit: Fit, signals: Signals, log: str) -> float:
    """The worst absolute error of a fit over the recording, in seconds of the log's clock."""
    video_s = np.array([0.0, signals.motion.times[-1]])
    fitted = (video_s + fit.offset_s) * (1 + fit.drift_ppm * 1e-6)
    true = (video_s + signals.offset_s[log]) * (1 + signals.drift_ppm[log] * 1e-6)
    return float(np.abs(fitted - true).max())


def recording(number: int, seed: int, claps: bool) -> Signals:
    """One generated recording; even ones are short with one clap."""
    rng = np.random.default_rng((seed, number))
    short = number % 2 == 0
    duration_s = rng.uniform(60, 180) if short else rng.uniform(120, 360)
    count = (1 if short else int(rng.integers(2, 4))) if claps else 0
    return simulate(int(rng.integers(2**31)), duration_s=duration_s, claps=count)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--recordings", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    told = {}
    for claps in (True, False):
        start, errors, sure = time.perf_counter(), [], []
        for number in range(args.recordings):
            signals = recording(number, args.seed, claps)
            heard = claps_heard(signals.audio) if claps else np.empty(0)
            for log, acceleration in signals.logs.items():
                fit = align(heard, signals.motion, acceleration)
                errors.append(worst_error_s(fit, signals, log) * 1e3)
                sure.append(fit.status == "sure")
        e, s = np.array(errors), np.array(sure)
        told["with claps" if claps else "without"] = {
            "logs": len(e),
            "median_ms": float(np.median(e)),
            "p95_ms": float(np.percentile(e, 95)),
            "sure": float(s.mean()),
            "silent_failures": int((e[s] > 100).sum()),
            "seconds": time.perf_counter() - start,
        }
    print(f"{args.recordings} recordings, seed {args.seed}, {cores()} cores")
    for how, row in told.items():
        print(
            f"{how:12} {row['logs']} logs: median {row['median_ms']:.0f} ms, "
            f"95th percentile {row['p95_ms']:.0f} ms, "
            f"sure {row['sure']:.0%}, silent failures {row['silent_failures']} ({row['seconds']:.0f} s)"
        )
    if args.json:
        args.json.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()

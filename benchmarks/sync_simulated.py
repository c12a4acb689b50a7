"""How well `plait sync` lays simulated recordings on their video's clock; the truth stands beside them.

    python benchmarks/sync_simulated.py [--recordings 20] [--clips 16] [--seed 1] [--json FILE]

Every recording is drawn, encoded, ingested and synchronised as a user's own would be. The error of a log is
the worst over its recording; a silent failure is an error above 100 ms that is called sure.
"""

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

from plait.compute.machine import cores
from plait.recordings.ingest import ingest
from plait.recordings.synchronise import synchronise
from plait.simulator.simulate import simulate
from plait.simulator.writer import Settings


def main() -> None:
    """Print the errors."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recordings", type=int, default=20)
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    errors, sure = [], []
    with tempfile.TemporaryDirectory() as folder:
        raw = simulate(Path(folder) / "raw", asked.recordings, Settings(asked.seed, asked.clips, 256, 30))
        for one in raw:
            truth = json.loads((one / "truth.json").read_text(encoding="utf-8"))
            made, _ = ingest([one], Path(folder) / "recordings")
            ends = np.array([0.0, truth["claps_s"][1]])
            for log, fit in synchronise(made).items():
                found = (ends + fit.offset_s) * (1 + fit.drift_ppm * 1e-6)
                true = (ends + truth["offset_s"][log]) * (1 + truth["drift_ppm"][log] * 1e-6)
                errors.append(1e3 * np.abs(found - true).max())
                sure.append(fit.status == "sure")
    wrong, known = np.array(errors), np.array(sure)
    print(f"{asked.recordings} recordings, seed {asked.seed}, {cores()} cores")
    print(
        f"{len(wrong)} logs: median {np.median(wrong):.0f} ms, "
        f"95th percentile {np.quantile(wrong, 0.95):.0f} ms, "
        f"sure {known.mean():.0%} (their median {np.median(wrong[known]):.0f} ms, 95th percentile "
        f"{np.quantile(wrong[known], 0.95):.0f} ms), silent failures {int((wrong[known] > 100).sum())}"
    )
    if asked.json:
        told = {
            "logs": len(wrong),
            "median_ms": float(np.median(wrong)),
            "p95_ms": float(np.quantile(wrong, 0.95)),
            "sure": float(known.mean()),
            "silent_failures": int((wrong[known] > 100).sum()),
        }
        asked.json.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()

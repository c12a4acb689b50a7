"""The paper's study at GloVid's size: random clips on disk, and the methods of `studies/glovid.toml`.

3800 clips of 19 people: a float16 array of grids 10x7x7x832 (3.1 GB, mapped), pooled features of single
frames, and glove readings 134x18.
"""

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from plait.clips import Clips, Rows
from plait.config import Study
from plait.datasets.glovid import EXPECTED_HANDS
from plait.encoders.glove import GloveNet
from plait.store import atomic
from plait.study.load import load_study
from plait.types import Clip, Dataset, Modality

SUBJECTS, EACH = 19, 200
SHAPES = {"video": (10, 7, 7, 832), "static": (2048,), "gloves": (134, 18)}
FILE = Path(__file__).parents[1] / "studies" / "glovid.toml"


def nothing(data: Path) -> Any:
    """No recordings: the clips are made already."""
    return iter(())


DATASET = Dataset(
    "glovid at random",
    tuple(EXPECTED_HANDS),
    (
        Modality("video", ("video",), 10, None, torch.from_numpy, lambda shape: nn.Identity()),
        Modality("static", ("static",), 1, None, torch.from_numpy, lambda shape: nn.Identity()),
        Modality("gloves", ("gloves",), 134, None, torch.from_numpy, GloveNet),
    ),
    nothing,
    "Generated; no publication.",
)


def generated(folder: Path, each: int) -> Clips:
    """Random clips of 19 people, `each` of every one, as arrays on disk."""
    activities = DATASET.activities
    table = [
        Clip(f"{who}/{i:03d}", who, who, activities[i % len(activities)], i, i + 1.0)
        for who in (f"{number:02d}" for number in range(1, SUBJECTS + 1))
        for i in range(each)
    ]
    generator = np.random.default_rng(0)
    arrays = {}
    for name, shape in SHAPES.items():
        arrays[name] = folder / f"{name}-{each}.npy"
        if arrays[name].exists():
            continue
        with atomic(arrays[name]) as making:
            made = np.lib.format.open_memmap(making, "w+", np.float16, (len(table), *shape))
            for start in range(0, len(table), 50):
                block = generator.standard_normal((len(made[start : start + 50]), *shape), np.float32)
                # features: after a ReLU
                made[start : start + 50] = np.maximum(block, 0) if name != "gloves" else block
            made.flush()
    for path in arrays.values():  # both sides find them where the second epoch of a study does, in memory
        with path.open("rb") as file:
            while file.read(2**24):
                pass
    return Clips(tuple(table), {name: Rows.of(path) for name, path in arrays.items()}, dict(SHAPES))


def asked(only: list[str] | None) -> Study:
    """The study of GloVid over the arrays: what a frozen network would make is there already."""
    table = tomllib.loads(FILE.read_text(encoding="utf-8"))
    del table["encoders"]
    table |= {"dataset": "glovid:DATASET", "modalities": ["gloves", "video", "static"]}
    for name, method in table["methods"].items():
        if name == "static":
            method |= {"args": {"modality": "static"}, "encoders": {}}
        elif "average" not in method and "modality" not in method.get("args", {}):
            method["modalities"] = ["gloves", "video"]
    study = load_study(table)
    return study if only is None else study.only(only)


def rows(study: Study) -> list[str]:
    """The methods that are trained, without what a sweep repeats of another row."""
    found: dict[str, str] = {}
    for name in study.order():
        found.setdefault(repr(replace(study.method(name), swept={})), name)
    return list(found.values())

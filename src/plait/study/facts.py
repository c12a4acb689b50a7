"""What a run says of itself: its methods, how each was made, and the machine and code that ran it."""

import inspect
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

from plait.compute.machine import cores
from plait.config import Encoder, Method, Study
from plait.features import Extraction
from plait.fusion import Concat, Single
from plait.objects import resolve
from plait.results import JobFacts, Kind, MethodFacts, Origin, RunFacts
from plait.study.jobs import At, Setting
from plait.study.work import Item
from plait.types import Dataset


def run_facts(
    study: Study,
    dataset: Dataset,
    *,
    methods: dict[str, MethodFacts],
    data: Path | None,
    setting: Setting,
    feature_threads: int,
    said: Sequence[str] = (),
    failed: Sequence[str] = (),
) -> RunFacts:
    """What a run says of itself.

    Args:
        study: as it was run.
        dataset: its data set.
        methods: what is known of each method, as `method_facts` gives it.
        data: where the data set lay.
        setting: what its jobs ran on.
        feature_threads: threads by which features were made.
        said: lines to know of the clips, such as what was dropped.
        failed: which jobs came to no scores, and why.
    """
    return RunFacts(
        study=study.name,
        dataset=dataset.name,
        cite=dataset.cite,
        activities=dataset.activities,
        modalities=study.modalities,
        protocol=asdict(study.protocol),
        seeds=study.seeds,
        methods=methods,
        comparisons=study.comparisons,
        versions=versions(),
        data=str(data.resolve()) if data else None,
        commit=commit(),
        device=setting.device,
        threads=setting.threads,
        feature_threads=feature_threads,
        cores=cores(),
        seconds=sum(method.train_seconds for method in methods.values()),
        said=tuple(said),
        failed=tuple(failed),
    )


def method_facts(
    study: Study, jobs: Mapping[At, Item], trained: Mapping[At, JobFacts]
) -> dict[str, MethodFacts]:
    """What a run knows of each method besides its scores, from what its jobs say of themselves."""
    methods: dict[str, MethodFacts] = {}
    for name, method in study.methods.items():
        done = [trained[at] for at in jobs if at[0] == name]
        methods[name] = MethodFacts(
            kind=_kind(method),
            modalities=method.modalities,
            head=_head(method),
            use=method.use,
            args=method.args,
            encoders={m: _origin(encoder) for m, encoder in method.encoders.items()},
            made_of=method.made_of,
            sweep=method.swept,
            keys={f"{fold}/{seed}": job.key for (row, fold, seed), job in jobs.items() if row == name},
            parameters=done[0].parameters if done else 0,
            jobs=len(done),
            train_seconds=sum(job.seconds for job in done),
        )
    return methods


def _origin(encoder: Encoder) -> Origin:
    def called(part: Extraction | Encoder) -> str:
        return f"{part.use} {part.args}" if part.args else str(part.use)

    return Origin(
        donor=encoder.donor,
        frozen=encoder.frozen,
        features=called(encoder.features) if encoder.features else None,
        network=called(encoder) if encoder.use else None,
        blocks=encoder.trainable.blocks if encoder.trainable else (),
    )


def _kind(method: Method) -> Kind:
    if method.making or not method.use:
        return method.making or "average"
    use = resolve(method.use, "use")
    if use is Single or len(method.modalities) == 1:
        return "single"
    return "concat" if use is Concat else "fusion"


def _head(method: Method) -> str | None:
    if not method.use:
        return None
    default = inspect.signature(resolve(method.use, "use")).parameters.get("head")
    head = method.args.get("head", default.default if default else None)
    return head if isinstance(head, str) else None


def versions() -> dict[str, str]:
    """The versions of Python, of plait, and of what it computes with."""
    packages = ("plait", "torch", "numpy", "polars", "scipy", "scikit-learn")
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in packages}}


def commit() -> str | None:
    """The commit of plait's own source, `+` behind it if anything is changed; None outside its checkout."""
    here = Path(__file__)
    git = ["git", "-C", str(here.parent)]
    own = ["ls-files", "--error-unmatch", here.name]  # fails where plait lies in a checkout of something else
    try:
        _, commit, changes = (
            subprocess.run([*git, *command], capture_output=True, text=True, check=True).stdout.strip()
            for command in (own, ["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changes else "")

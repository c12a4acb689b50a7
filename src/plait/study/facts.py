"""What a run says of itself: its methods, how each was made, and the machine and code that ran it."""

import inspect
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from plait.clips import Cut
from plait.compute.machine import cores
from plait.config import Encoder, Method, Study, Train
from plait.features import Extraction
from plait.fusion import Concat, Single
from plait.names import natural
from plait.objects import resolve
from plait.results import KEY, JobFacts, Kind, MethodFacts, Origin, PersonFacts, RunFacts, cut_key
from plait.study.jobs import At, Setting
from plait.study.work import Item
from plait.types import Dataset, Recording


def run_facts(
    study: Study,
    dataset: Dataset,
    *,
    methods: dict[str, MethodFacts],
    seconds: float,
    data: Path | None,
    setting: Setting,
    feature_threads: int,
    cuts: Sequence[Cut] = (),
    said: Sequence[str] = (),
    failed: Sequence[str] = (),
) -> RunFacts:
    """What a run says of itself.

    Args:
        study: as it was run.
        dataset: its data set.
        methods: what is known of each method, as `method_facts` gives it.
        seconds: that all jobs took together, each once, whatever rows share it.
        data: where the data set lay.
        setting: what its jobs ran on.
        feature_threads: threads by which features were made.
        cuts: its clips.
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
        seconds=seconds,
        said=tuple(said),
        failed=tuple(failed),
        streams=streams_of(study, dataset),
        people=people_facts(cuts),
    )


def streams_of(study: Study, dataset: Dataset) -> tuple[str, ...]:
    """The streams that the modalities of a study are made of."""
    return tuple(dict.fromkeys(stream for m in study.modalities for stream in dataset.modality(m).streams))


def people_facts(cuts: Sequence[Cut]) -> dict[str, PersonFacts]:
    """What a run has of each person whose clips these are, by name."""
    clips: dict[str, list[list[Any]]] = {}
    recordings: dict[str, dict[int, Recording]] = {}
    for recording, clip in cuts:
        clips.setdefault(clip.subject, []).append([clip.name, clip.activity, clip.start_s, clip.stop_s])
        recordings.setdefault(clip.subject, {})[id(recording)] = recording
    people = {}
    for who in sorted(clips, key=natural):
        streams: dict[str, list[str]] = {}
        for recording in sorted(recordings[who].values(), key=lambda one: natural(one.name)):
            for stream in recording.streams:
                if key := recording.content([stream]):
                    streams.setdefault(stream, []).append(key[:KEY])
        by_name = {stream: tuple(keys) for stream, keys in sorted(streams.items())}
        people[who] = PersonFacts(cut_key(clips[who]), by_name)
    return people


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
            train=_training(study, name) if method.use else {},
            keys={f"{fold}/{seed}": job.key for (row, fold, seed), job in jobs.items() if row == name},
            parameters=done[0].parameters if done else 0,
            jobs=len(done),
            train_seconds=sum(job.seconds for job in done),
        )
    return methods


def _training(study: Study, method: str) -> dict[str, Any]:
    """How a method is trained, in terms of JSON, but for who is told of it."""
    settings: dict[str, Any] = TypeAdapter(Train).dump_python(study.training(method), mode="json")
    del settings["log"]
    return settings


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

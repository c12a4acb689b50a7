"""What each method of a study is given: tensors of clips or, where it says so, features of them."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial

from plait.clips import Clips, Cut, Rows, stored
from plait.clips.apart import cut_apart
from plait.clips.arrays import rows_with
from plait.compute.cluster import Cluster
from plait.compute.crew import Crew
from plait.config import Encoder, Study
from plait.features import Extraction, extract
from plait.progress import Progress, silent
from plait.store import content_key
from plait.types import Dataset


def inputs(
    study: Study,
    dataset: Dataset,
    cuts: Sequence[Cut],
    device: str = "cpu",
    progress: Progress = silent,
    cluster: Cluster | None = None,
    threads: int | None = None,
    crew: Crew | None = None,
) -> dict[str, Clips]:
    """What each method of `study` is given of the clips, by its name; features are made unless they exist.

    Args:
        study: its methods.
        dataset: says what a modality's tensor is.
        cuts: the clips, each with its recording.
        device: what features are made on.
        progress: told how many clips of how many have features, and which features these are.
        cluster: shares the making of features, if there is one.
        threads: that features are made by; torch's own number by default.
        crew: cuts the clips of several films at a time, if there is one.

    Raises:
        ConfigError: an encoder of features does not do.
        DataError: a recording cannot be read.
    """
    extractions: dict[tuple[str, str], Extraction | None] = {}
    for name, method, _ in study.trainings():
        for modality in method.modalities:
            extractions[name, modality] = method.encoders.get(modality, Encoder()).features
    raw = {modality for (_, modality), extraction in extractions.items() if extraction is None}
    cut = [modality for modality in study.modalities if modality in raw]
    if crew:
        cut_apart(dataset, cuts, cut, crew)
    clips = stored(dataset, cuts, cut)
    make = partial(extract, dataset, device=device, threads=threads, progress=progress, cluster=cluster)
    arrays: dict[str, dict[str, Rows]] = {}
    features: dict[str, Rows] = {}
    for (name, modality), extraction in extractions.items():
        by_modality = arrays.setdefault(name, {})
        if extraction is None:
            by_modality[modality] = clips.arrays[modality]
            continue
        key = content_key([modality, asdict(extraction)])
        if key not in features:
            where = f"methods.{name}.encoders.{modality}.{'trainable' if extraction.cut else 'features'}"
            held = rows_with(cuts, modality)
            made = make([cuts[row] for row in held], modality, extraction, where=where)
            features[key] = made.rows.spread(held, len(cuts))
        by_modality[modality] = features[key]
    return {
        name: Clips(clips.table, by_modality, {m: rows.shape for m, rows in by_modality.items()})
        for name, by_modality in arrays.items()
    }

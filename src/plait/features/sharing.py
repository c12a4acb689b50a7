"""Clips that the nodes of a cluster encode."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from plait.clips import Cut, tensors
from plait.clips.apart import file_of, sent
from plait.compute.alike import bound
from plait.compute.cluster import Cluster
from plait.features.encoding import Encoding
from plait.features.rounding import Rounding
from plait.types import Modality

T = TypeVar("T")
SHARES, MOST_CLIPS = 4, 64  # tasks for each place on a cluster; clips of one


def batched(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items, `size` at a time."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def shared(
    cluster: Cluster, modality: Modality, parts: Sequence[Sequence[Cut]], encode: Encoding
) -> Iterator[np.ndarray]:
    """The rows that the nodes of a cluster make, in order; a task is some whole batches of one part."""
    encoder = cluster.keep(encode)
    share = min(math.ceil(sum(map(len, parts)) / (SHARES * cluster.room())), MOST_CLIPS)
    size = math.ceil(share / encode.how.batch) * encode.how.batch
    alike = sent([cut for cuts in parts for cut in cuts], modality)
    ends = accumulate(map(len, parts), initial=0)

    def tasks() -> Iterator[tuple[list[Path], tuple[Any, ...]]]:
        for start, stop in pairwise(ends):
            for cuts in batched(alike[start:stop], size):
                streams = [stream for recording, _ in cuts for stream in recording.streams.values()]
                files = dict.fromkeys(file for file in map(file_of, streams) if file)
                yield list(files), (encoder, modality, cuts)

    for rows, rounding in cluster.each(bound(_encode_share, encode.device), tasks()):
        encode.rounding.join(rounding)
        yield rows


def _encode_share(
    where: Mapping[Path, Path], encode: Encoding, modality: Modality, cuts: Sequence[Cut]
) -> tuple[np.ndarray, Rounding]:
    """The rows of some clips, whose recordings' files lie where `where` says, and what rounding took."""
    here = sent(cuts, modality, where)
    encode.rounding = Rounding()
    return np.concatenate(list(encode(tensors(modality, here), [len(here)]))), encode.rounding

"""OpenPack: packing of parcels by 16 people, four IMUs, two Empatica E4 and a camera's key points.

Its release 1.0.0 as it is unpacked, `Uxxxx/atr/atr0N/Sxxxx.csv` and so on (`KINDS`, `KEYPOINTS`), labelled by
`Uxxxx/annotation/openpack-operations-1hz/Sxxxx.csv`: ten operations in slots of one second of the wall clock.
8100 is what is ignored: nothing is trained on it, nothing scored. A session without labels, or without any
sensor's file, is left out, with a warning; what else the folder holds (depth, the 3-D key points, the
scanner's logs) is not looked at.

A clip is one labelled slot: a window of `seconds` around it, moved inwards at the ends of a recording. Macro
F1 over clips, pooled, is then the challenge's score: over all ten operations, 0 for one that is never right
(`openpack_toolkit.codalab.operation_segmentation`). The challenge takes the last of a slot's predictions;
here a slot has one.

Users U0202, U0203, U0204, U0205 and U0210 are U0105, U0108, U0110, U0107 and U0103 at a later time, as the
toolkit's list of users says. Subjects here are people, called by their first name, so that nobody stands in
two parts of a fold; recordings and sessions are called `U0202-S0100`.

Acceleration is documented in g and is refused where its median is far from 1 (`atr`). The E4's is documented
in g as well, but the rows that the documentation shows come to 1/9.81; it is taken as it is, and the network
standardises it. The toolkit's correction is made too: of `U0101/atr/atr01/S0500.csv` the first row is left
out, for its time is wrong. Its list of errors (sensors worn the wrong way round, ATR03 and ATR04 swapped) is
not acted on; the published split leaves most of those sessions out of the test.

The key points' folder is the one that the toolkit names; that of the 3-D ones is not the same in the
documentation as in the release, so they are not read.

Licence: CC BY-NC-SA 4.0 (doi:10.5281/zenodo.5909086): name the authors, no commercial use, share alike. Its
pictures, which are not read, have a licence of their own: academic research alone, not to be passed on.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from plait.clips.dropped import SHORT
from plait.clips.windows import ends_of
from plait.datasets.openpack.files import (
    E4,
    HIPS,
    IGNORED,
    LABELS,
    OPERATIONS,
    PLACES,
    POSE_HZ,
    SAME_PERSON,
    SHOULDERS,
    SIDES,
    Noted,
    read_slots,
    sessions,
    streams_of,
    users,
)
from plait.datasets.published import Metric, Published
from plait.datasets.windowed import Windowed
from plait.encoders.glove import SignalNet
from plait.encoders.skeleton import SkeletonNet
from plait.errors import DataError
from plait.types import Dropped, Modality, Recording, Span, Windows

SECONDS = 10.0  # what a network sees of the time around a slot
MACRO_F1 = "macro F1"
PILOT = "openpack-torch's README (2022): the pilot's split, `studies/openpack-pilot.toml`"
CHALLENGE = (
    "open-pack.github.io, results of the OpenPack Challenge 2022: its split, `studies/openpack.toml`, by the "
    "labels of release 0.3, some of which 1.0.0 corrects; any sensors"
)
PUBLISHED = (
    Published("1st of the challenge, tomoon", {MACRO_F1: 0.9633}, CHALLENGE),
    Published("2nd, vbu211", {MACRO_F1: 0.9592}, CHALLENGE),
    Published("3rd, Ritsumei", {MACRO_F1: 0.9241}, CHALLENGE),
    Published("4th, Malton", {MACRO_F1: 0.9171}, CHALLENGE),
    Published("5th, Shubham Wagh", {MACRO_F1: 0.9112}, CHALLENGE),
    Published("12th and last that is listed, syoka4156", {MACRO_F1: 0.8114}, CHALLENGE),
    Published("U-Net, accelerations", {MACRO_F1: 0.3747}, PILOT),
    Published("DeepConvLSTM, accelerations", {MACRO_F1: 0.7695}, PILOT),
    Published("ST-GCN, key points", {MACRO_F1: 0.6106}, PILOT),
)


def recordings(data: Path, seconds: float | None = SECONDS) -> Iterator[Recording]:
    """The sessions in `data` in order; each labelled slot is a span of `seconds` around it.

    A recording's clock begins at a whole second of the wall clock, with its first reading. A sensor whose
    file is missing is missing from the recording. Rows without a time of their own, or with something else
    than finite numbers, are no readings, and columns that are not OpenPack's are ignored; warnings say so.

    Args:
        data: the folder of users, or one that holds it.
        seconds: how long spans are; None: they are the labels, slots of one operation that touch as one.

    Raises:
        DataError: nothing of OpenPack lies there, or a file is not what its name says.
    """
    noted = Noted([], [], [], {})
    for folder in users(data):
        user = folder.name
        for session, sensed in sessions(folder).items():
            file = folder / LABELS / f"{session}.csv"
            slots = read_slots(file, user, session) if file.is_file() else []
            if not sensed or all(label in IGNORED for _, label in slots):
                (noted.unlabelled if sensed else noted.silent).append(file)
                continue
            origin_ms, streams = streams_of(folder, session, noted)
            name, subject = f"{user}-{session}", SAME_PERSON.get(user, user)
            whole = Recording(name, subject, streams, _labels(slots, origin_ms), session=name)
            _check_labels(file, whole)
            yield whole if seconds is None else _around(whole, seconds)
    noted.warn(data)


def _labels(slots: Iterable[tuple[int, int]], origin_ms: int) -> tuple[Span, ...]:
    """Slots of one operation that touch, as one label; null is none."""
    spans: list[Span] = []
    for time, label in slots:
        if label in IGNORED:
            continue
        start_s = (time - origin_ms) / 1000
        if spans and spans[-1].activity == OPERATIONS[label] and spans[-1].stop_s == start_s:
            spans[-1] = replace(spans[-1], stop_s=start_s + 1)
        else:
            spans.append(Span(start_s, start_s + 1, OPERATIONS[label]))
    return tuple(spans)


def _check_labels(file: Path, whole: Recording) -> None:
    """Refuse the labels of another session: none lies where some sensor has read."""
    ends = [ends_of(stream) for stream in whole.streams.values()]
    start_s, stop_s = min(start for start, _ in ends), max(stop for _, stop in ends)
    first_s, last_s = whole.spans[0].start_s, whole.spans[-1].stop_s
    if last_s <= start_s or first_s >= stop_s:
        got = f"labels from {first_s:.0f} s to {last_s:.0f} s after the first reading"
        raise DataError(f"{file}: {got}, expected some before {stop_s:.0f} s, when the last reading is")


def _around(whole: Recording, seconds: float) -> Recording:
    """A recording with a span of `seconds` around each of its slots.

    At both ends of what the IMUs (or, without any, all sensors) have read spans are moved inwards, as long as
    the slot is still in them.
    """
    imus = [stream for name, stream in whole.streams.items() if name in PLACES.values()]
    ends = [ends_of(stream) for stream in imus or whole.streams.values()]
    begin_s, end_s = max(start for start, _ in ends), min(stop for _, stop in ends)
    margin_s = (seconds - 1) / 2
    spans, short = [], []
    for label in whole.spans:
        if end_s - begin_s < seconds:
            slots = round(label.stop_s - label.start_s)
            short.append(Dropped(whole.name, whole.subject, label.activity, SHORT, slots))
            continue
        for slot_s in np.arange(label.start_s, label.stop_s - 0.5).tolist():
            inside_s = float(np.clip(slot_s - margin_s, begin_s, end_s - seconds))
            start_s = float(np.clip(inside_s, slot_s + 1 - seconds, slot_s))
            spans.append(Span(start_s, start_s + seconds, label.activity))
    return replace(whole, spans=tuple(spans), dropped=tuple(short))


def imu(readings: Float[np.ndarray, "samples 10"]) -> Float[Tensor, "samples 6"]:
    """Acceleration and turning, without the orientation, whose frame differs from session to session."""
    return torch.from_numpy(np.ascontiguousarray(readings[:, :6])).float()


def plain(readings: Float[np.ndarray, "samples channels"]) -> Float[Tensor, "samples channels"]:
    """Readings as they are."""
    return torch.from_numpy(readings).float()


def body(readings: Float[np.ndarray, "frames 17 3"]) -> Float[Tensor, "frames 17 3"]:
    """Joints about the middle of the shoulders over the clip, in lengths of the trunk; scores as they are.

    Raises:
        DataError: the trunk has no length.
    """
    found = torch.from_numpy(readings).float()
    shoulders, hips = found[:, SHOULDERS, :2].mean(1), found[:, HIPS, :2].mean(1)
    trunk = (shoulders - hips).norm(dim=-1).mean()
    if not trunk > 0:
        raise DataError("key points: shoulders and hips are at one place, expected them apart")
    return torch.cat(((found[..., :2] - shoulders.mean(0)) / trunk, found[..., 2:]), -1)


def openpack(seconds: float = SECONDS) -> Windowed:
    """OpenPack in slots of which networks see `seconds`, 1 or more: the slot in the middle."""
    signal = partial(
        SignalNet, widths=(24, 32, 48), kernels=(3, 3, 3), pools=(2, 2, 1), norm=True, standardise=True
    )

    def sensor(name: str, stream: str, rate_hz: float, prepare: Callable[..., Tensor] = plain) -> Modality:
        return Modality(name, (stream,), round(seconds * rate_hz), rate_hz, prepare, signal)

    imus = [sensor(place.replace(" ", "-"), place, 30.0, imu) for place in PLACES.values()]
    e4 = [
        sensor(f"{side}-{kind}", f"{side} {kind}", rate_hz)
        for side in SIDES.values()
        for kind, (_, rate_hz) in E4.items()
    ]
    frames = round(seconds * POSE_HZ)
    return Windowed(
        name="OpenPack",
        activities=tuple(OPERATIONS.values()),
        modalities=(*imus, Modality("keypoints", ("keypoints",), frames, POSE_HZ, body, SkeletonNet), *e4),
        recordings=partial(recordings, seconds=seconds),
        cite="N. Yoshimura, J. Morales, T. Maekawa, T. Hara. OpenPack: A Large-scale Dataset for Recognizing "
        "Packaging Works in IoT-enabled Logistic Environments. PerCom 2024. doi:10.5281/zenodo.5909086.",
        windows=Windows(seconds, purity=1.0 if seconds <= 1 else 0.6, stride_s=1.0),
        whole=partial(recordings, seconds=None),
        metrics=(Metric(MACRO_F1, "plait.analysis.benchmark:macro_f1"),),
        published=PUBLISHED,
    )


OPENPACK = openpack()

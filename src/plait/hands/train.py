"""A detector of hands, fine-tuned on boxes: a plain loop, the same detector from the same seed."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import ConfigDict, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass as checked
from torch import Tensor, nn
from torchvision import tv_tensors
from torchvision.models.detection import RetinaNet
from torchvision.transforms import v2

from plait.compute.machine import settled, settled_numerics
from plait.errors import ConfigError, DataError
from plait.hands.boxes import ANNOTATIONS, Picture, read_boxes
from plait.hands.detector import (
    DESCRIPTION,
    SIDES,
    WEIGHTS,
    DetectorFacts,
    pretrained,
    read_description,
    save,
)
from plait.keying import source_key
from plait.progress import Progress, Step, silent
from plait.store import checksum, content_key, sweep, taken

PROGRESS_S = 5.0  # between two words on progress


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class Training:
    """How a detector is trained.

    Args:
        network: RetinaNet's backbone.
        side: pixels of a picture's shorter side in the network; by default the network's own.
        steps: how many batches it is trained on.
        batch: pictures of a batch.
        learning_rate: the highest of the cycle.
        seed: of the initial weights, the pictures' order and how they vary.
    """

    network: Literal["lite0", "resnet50"] = "lite0"
    side: PositiveInt | None = None
    steps: PositiveInt = 300
    batch: PositiveInt = 8
    learning_rate: PositiveFloat = 1e-3
    seed: NonNegativeInt = 0


def train(
    boxes: Path,
    out: Path,
    training: Training,
    *,
    weights: Path | None = None,
    device: str = "cpu",
    progress: Progress = silent,
) -> Path:
    """Train a detector on the boxes in a folder, and write it as the folder `out`; returns `out`.

    AdamW, one cycle of the learning rate, RetinaNet's focal and smooth-L1 losses; pictures are mirrored half
    of the time and vary in brightness, contrast and colour. Normalisations keep the statistics that they came
    with. A detector that stands already, trained on the same boxes alike, is left as it is.

    On a CPU the same boxes, settings and initial weights give the same bytes, whatever the process has
    computed, drawn or set in torch before, as long as these are the same: the number of threads
    (`torch.set_num_threads`), the instructions that the processor has (or `ONEDNN_MAX_CPU_ISA` and
    `ATEN_CPU_CAPABILITY` leave of them), the versions of torch and torchvision. Otherwise sums round
    otherwise, and 160 steps later a score may differ by 0.2. On a GPU nothing is promised: its sums have no
    fixed order.

    Args:
        boxes: the folder of pictures and `annotations.json`.
        out: the folder of the detector.
        training: how it is trained.
        weights: what `resnet50` starts from; by default COCO's, downloaded once.
        device: where it is trained, such as "cuda".
        progress: told how many steps of how many are done, and the loss.

    Raises:
        ConfigError: `weights` are not for this network.
        DataError: the boxes cannot be read, hold no hand at all, or `out` cannot be written.
    """
    pictures = read_boxes(boxes)
    if not any(len(picture.boxes) for picture in pictures):
        raise DataError(f"{boxes / ANNOTATIONS}: annotations: no box of a hand, expected some to learn from")
    side = training.side or SIDES[training.network]
    settings: dict[str, Any] = {name: getattr(training, name) for name in Training.__annotations__}
    files = [checksum(boxes / ANNOTATIONS), *(checksum(picture.file) for picture in pictures)]
    start = None if weights is None else checksum(weights)
    here = [device, torch.get_num_threads(), settled_numerics(device)]
    key = content_key([settings, files, start, source_key([train]), here])
    sweep(out.parent)
    if (out / DESCRIPTION).is_file() and read_description(out).trained.get("key") == key:
        return out
    if taken(out, besides=(DESCRIPTION, WEIGHTS)):
        why = "stands already, and is no detector that was trained here"
        raise ConfigError(f"{out}: {why}: expected another folder")
    with settled(), torch.random.fork_rng():
        torch.manual_seed(training.seed)
        network = pretrained(training.network, side, weights).to(device)
        loss = _fit(network, pictures, training, device, progress)
    hands = sum(len(picture.boxes) for picture in pictures)
    outcome = {
        "pictures": len(pictures),
        "hands": hands,
        "loss": loss,
        "torch": torch.__version__,
        "key": key,
    }
    save(network, DetectorFacts(training.network, side, {**settings, **outcome}), out)
    return out


def _fit(
    network: RetinaNet, pictures: Sequence[Picture], training: Training, device: str, progress: Progress
) -> float:
    """The loop; returns the mean loss of its last tenth."""
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    learned = [weight for weight in network.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=training.learning_rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, training.learning_rate, total_steps=training.steps + 1, pct_start=0.1
    )
    losses: list[float] = []
    reported_s = time.monotonic()
    progress(Step(0, training.steps, "training steps", "begins"))
    for step, batch in enumerate(_batches(pictures, training), 1):
        images = [image.to(device) for image, _ in batch]
        targets = [{name: value.to(device) for name, value in target.items()} for _, target in batch]
        loss: Tensor = sum(network(images, targets).values(), torch.zeros((), device=device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(learned, 5.0)
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if step == training.steps or time.monotonic() - reported_s > PROGRESS_S:
            reported_s = time.monotonic()
            loss_now = f"training step, loss {np.mean(losses[-20:]):.3f}"
            progress(Step(step, training.steps, loss_now))
    return round(float(np.mean(losses[-max(1, training.steps // 10) :])), 4)


def _batches(
    pictures: Sequence[Picture], training: Training
) -> Iterator[list[tuple[Tensor, dict[str, Tensor]]]]:
    """`training.steps` batches; every picture comes once before any comes again."""
    vary = v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(brightness=0.3, contrast=0.2, saturation=0.3, hue=0.05),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )
    order: list[int] = []
    for _ in range(training.steps):
        while len(order) < training.batch:
            order += torch.randperm(len(pictures)).tolist()
        chosen, order = order[: training.batch], order[training.batch :]
        yield [vary(*_target(pictures[number])) for number in chosen]


def _target(picture: Picture) -> tuple[tv_tensors.Image, dict[str, Tensor]]:
    """A picture and its boxes as torchvision's transforms and detectors want them."""
    image = tv_tensors.Image(torch.from_numpy(picture.load()).permute(2, 0, 1))
    boxes = tv_tensors.BoundingBoxes(
        torch.from_numpy(picture.boxes), format="XYXY", canvas_size=(picture.height, picture.width)
    )
    return image, {"boxes": boxes, "labels": torch.zeros(len(picture.boxes), dtype=torch.int64)}

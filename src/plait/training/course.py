"""A network on its way through training: batches, optimizer, what validation says, and when it is over."""

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from plait.clips import Clips
from plait.compute.machine import small_products
from plait.compute.seeds import seed_all
from plait.config import Encoder, Method, Train
from plait.encoders.chain import Tuned
from plait.errors import ConfigError, PlaitError, one_line
from plait.fusion.grids import is_known
from plait.objects import resolve
from plait.training.inputs import Augment, Batch, Inputs, Tensors
from plait.training.joined import Joined
from plait.training.network import Network
from plait.training.objectives.base import Draws, Instead, Objective, Step, number_of
from plait.training.objectives.row import step_of
from plait.training.ranks import Ranks
from plait.training.rmsprop import one_pass
from plait.types import Dataset, Fold

SMALL = 2**12  # numbers of a clip's grid: up to here MKL's products take less time than oneDNN's
Epoch = tuple[str, int, float, float | None, float | None, float | None]  # a row of `results.EPOCH`


@dataclass(frozen=True)
class Task:
    """What is trained on what: a method of a study, on the clips of one fold, from one seed.

    Args:
        method: what is trained.
        train: how.
        dataset: whose activities are told apart.
        clips: what the method is given.
        fold: who trains, who validates and who is tested.
        seed: of weights, order and whatever else is drawn.
        refit: a network is trained once more, on who validated as well.
        donors: folders of finished jobs, by the modality whose encoder is taken from there.
        teachers: folders of finished jobs, by the modality whose encoder an objective looks at, with the
            settings of that encoder.
        device: what is computed on.
        epochs: how many training takes, where another one has chosen; the schedule is that of `train`.
        ranks: which of the devices this is that train together.
    """

    method: Method
    train: Train
    dataset: Dataset
    clips: Clips
    fold: Fold
    seed: int
    refit: bool = False
    donors: Mapping[str, Path] = field(default_factory=dict)
    device: str = "cpu"
    epochs: int | None = None
    teachers: Mapping[str, tuple[Path, Encoder]] = field(default_factory=dict)
    ranks: Ranks = field(default_factory=Ranks)


@dataclass(frozen=True)
class Phase:
    """One training of a task.

    Args:
        name: what `history` calls it, `train` or `refit`.
        rows: of the clips that train.
        val: rows of the clips that validate, if any do.
        epochs: how many it takes; by default as many as validation or the settings say.
    """

    name: str
    rows: np.ndarray
    val: np.ndarray | None
    epochs: int | None = None


class Course:
    """One phase's training: `network` sees the clips in an order that the seed decides.

    Whoever trains takes the batches of an epoch from `batches` within `products`, of each its `parts`, calls
    `clear`, asks for the `loss` of each part, leaves gradients in the network, calls `step` after each batch
    and `close` at the end; `over` then says whether it was the last. `finish` gives the network the weights
    of the epoch that was chosen.

    Args:
        task: what is trained, and how.
        phase: on which clips, for how long.
        network: as its seed and its donors have left it.
        inputs: what it is given of all the task's clips.
        objectives: what it is trained by, prepared; without any, the cross-entropy of its logits.
    """

    def __init__(
        self,
        task: Task,
        phase: Phase,
        network: Network,
        inputs: Inputs,
        objectives: Sequence[Objective] = (),
    ) -> None:
        activities, train = task.dataset.activities, task.train
        self.network, self.inputs, self.train, self.phase = network, inputs, train, phase.name
        self.rows, self.val, self.classes = phase.rows, phase.val, len(activities)
        self.ranks, self.clips, self.share = task.ranks, 0, 1.0
        self.seed, self.shuffle = task.seed, torch.Generator().manual_seed(task.seed)
        steps = math.ceil(len(phase.rows) / train.batch_size)
        self.objectives = tuple(objectives)
        trained = nn.ModuleList([network, *objectives])
        self.weights = list(trained.parameters())
        self.optimizer, self.schedule = optimizer_of(train, trained, "train", steps * train.max_epochs)
        self.joined = [Joined(self.optimizer, group) for group in self.optimizer.param_groups]
        self.augments = augments_of(task.method, "methods")
        self.labels = torch.tensor([activities.index(clip.activity) for clip in inputs.clips.table])
        self.history: list[Epoch] = []
        self.epochs = phase.epochs or train.max_epochs
        self.chooses = phase.val is not None and train.choose == "best"
        self.best, self.best_accuracy, self.best_weights = 0, -1.0, network.state_dict()
        self.total, self.over = 0.0, False
        self.learning_rate: float | None = None  # of the last batch
        self.draws = Draws(task.seed, 0, 0)
        self.taken: Step | None = None

    def batches(self) -> Iterator[tuple[Tensors, Tensors, Tensor]]:
        """Tensors, grids and labels of one epoch's batches, or this device's share; the last may be smaller.

        What is drawn in a batch depends on the seed, the epoch, the batch and the modality alone, so that
        methods of one seed see the same clips augmented alike.
        """
        self.network.train()
        self.total = 0.0
        order = self.rows[torch.randperm(len(self.rows), generator=self.shuffle).numpy()]
        batches = np.split(order, range(self.train.batch_size, len(order), self.train.batch_size))
        swaps = any(type(objective).clips is not Objective.clips for objective in self.objectives)
        coming = None if swaps or self.ranks.count > 1 else self.inputs.reading(batches)
        for number, rows in enumerate(batches):
            self.draws = Draws(self.seed, len(self.history), number)
            augments = {
                name: partial(seeded, augment, self.draws.named(name))
                for name, augment in self.augments.items()
            }
            instead: Instead = {}
            for objective in self.objectives:
                instead |= objective.clips(rows, self.draws)
            self.clips, places = len(rows), self.ranks.share(len(rows))
            self.share = len(places) / len(rows)
            if self.ranks.count == 1:
                batch = self.inputs.read(rows, instead) if coming is None else next(coming)
                tensors, grids = self.inputs.moved(batch, augments)
            else:  # one clip without weight keeps a device in step that has none
                places = places if len(places) else np.array([0])
                tensors, grids = self._dealt(rows, places, augments)
                rows = rows[places]
            yield tensors, grids, self.labels[rows].to(self.inputs.device)

    def _dealt(self, rows: np.ndarray, places: np.ndarray, augments: Mapping[str, Augment]) -> Batch:
        """The clips at some places of a batch, augmented as the whole batch is."""
        if not augments:
            return self.inputs.batch(rows[places])
        whole = self.inputs.batch(rows, augments)
        if self.ranks.number:  # all have drawn alike until here; what drops out of others' clips is another
            seed_all(number_of(self.draws.named(f"device {self.ranks.number}")))
        return _some(whole, torch.from_numpy(places).to(self.inputs.device))

    def parts(
        self, tensors: Tensors, grids: Tensors, target: Tensor
    ) -> Iterator[tuple[Tensors, Tensors, Tensor, float]]:
        """A batch in as many parts as settings say, each with its share in the mean over all of its clips."""
        if self.train.accumulate == 1:
            yield tensors, grids, target, self.share
            return
        size = math.ceil(len(target) / self.train.accumulate)
        for start in range(0, len(target), size):
            at = slice(start, start + size)
            share = self.share * len(target[at]) / len(target)
            yield *_some((tensors, grids), at), target[at], share

    def products(self) -> AbstractContextManager[None]:
        """How matrices are multiplied in a batch's forward and backward pass, by their sizes.

        Small ones are those of a network that is given nothing but grids of at most `SMALL` numbers.
        """
        shapes = self.inputs.grids.shapes
        known = all(is_known(name, self.inputs.grids.arrays) for name in self.inputs.modalities)
        small = known and all(math.prod(shape) <= SMALL for shape in shapes.values())
        return small_products() if small else nullcontext()

    def clear(self) -> None:
        """Let go of the gradients of the batch before."""
        for weight in self.weights:
            weight.grad = None

    def loss(self, tensors: Tensors, grids: Tensors, target: Tensor) -> Tensor:
        """What is made small on the batch that was taken last.

        Raises:
            ConfigError: the network cannot be trained on a single clip, which is all that this batch holds.
        """
        batch, smoothing = (tensors, grids, target), self.train.label_smoothing
        alone = f"train.batch_size: {self.train.batch_size} leaves a batch or a part of one clip, which fails"
        with refusing(alone, passing=(PlaitError,)) if len(target) == 1 else nullcontext():
            self.taken, loss = step_of(self.objectives, self.network, batch, self.draws, smoothing)
        return loss

    def look(self, rows: np.ndarray) -> Iterator[Step]:
        """The clips in `rows`, unaugmented, in batches, as the network is now; none lacks what it reads."""
        self.network.eval()
        for group in np.array_split(rows, math.ceil(len(rows) / 16)):
            with torch.inference_mode():
                tensors, known = self.inputs.batch(group)
                grids = self.network.enter(tensors, known)
                outputs = self.network.outputs(grids)
            target = self.labels[group].to(self.inputs.device)
            yield Step(self.network, tensors, grids, outputs, target, self.draws)

    def step(self, loss: float) -> None:
        """Follow the gradients that a batch of this mean loss has left, as objectives have them."""
        loss = self.ranks.add(self.weights, loss)
        if self.taken is not None:
            for objective in self.objectives:
                objective.gradients(self.taken)
        self.optimizer.step()
        self.learning_rate = _rate(self.optimizer)
        if self.schedule is not None:
            self.schedule.step()
        self.total += loss * self.clips

    def close(self) -> None:
        """End an epoch: note it, validate, keep the best weights, decide whether it was the last."""
        epoch, loss = len(self.history) + 1, self.total / len(self.rows)
        self.over = epoch >= self.epochs
        self.ranks.settle(self.network)
        if self.val is None:
            self.history.append((self.phase, epoch, loss, None, None, self.learning_rate))
            return
        probabilities = self.ranks.first(self.scores(self.val))  # all decide alike
        truth = self.labels[self.val].numpy()
        accuracy = float((probabilities.argmax(axis=1) == truth).mean())
        val_loss = float(-np.log(probabilities[np.arange(len(truth)), truth].clip(1e-12)).mean())
        self.history.append((self.phase, epoch, loss, accuracy, val_loss, self.learning_rate))
        if self.chooses and accuracy > self.best_accuracy:
            self.best, self.best_accuracy = epoch, accuracy
            self.best_weights = {name: weight.clone() for name, weight in self.network.state_dict().items()}
        if self.chooses and epoch - self.best >= self.train.patience:
            self.over = True

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """Probabilities `(len(rows), classes)` of the clips in `rows`, as the network is now."""
        return scores(self.network, self.inputs, rows, self.classes)

    def finish(self) -> int:
        """Give the network the weights that were chosen; how many epochs led to them."""
        for joined in self.joined:
            joined.part()
        if not self.chooses:
            return len(self.history)
        self.network.load_state_dict(self.best_weights)
        return self.best


def scores(network: Network, inputs: Inputs, rows: np.ndarray, classes: int) -> np.ndarray:
    """Probabilities `(len(rows), classes)`, float32, of the clips in `rows`; leaves the network in eval mode.

    Those that hold the same modalities are scored together, each time all that they hold. Of clips that lack
    what the network needs, it says nothing: every activity has the same probability.
    """
    probabilities = np.full((len(rows), classes), 1 / classes, dtype=np.float32)
    network.eval()
    for held, places in inputs.clips.alike(inputs.modalities, rows):
        if not network.sees(held):
            continue
        groups = np.array_split(rows[places], math.ceil(len(places) / 16))
        with torch.inference_mode():
            logits = [network(*inputs.moved(batch)) for batch in inputs.reading(groups)]
            probabilities[places] = torch.cat(logits).float().softmax(dim=1).cpu().numpy()
    return probabilities


@contextmanager
def refusing(failure: str, passing: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Whatever is raised within, save `passing`, is one line that says which `failure` of a setting it is.

    Raises:
        ConfigError: something is raised.
    """
    try:
        yield
    except passing:
        raise
    except Exception as error:  # whatever a user's objects do not like
        raise ConfigError(f"{failure}: {one_line(error)}") from error


def _some(batch: Batch, at: slice | Tensor) -> Batch:
    """The clips at some places of a batch."""
    tensors, grids = ({name: x[at] for name, x in part.items()} for part in batch)
    return tensors, grids


def seeded(augment: Augment, draw: str, batch: Tensor) -> Tensor:
    """An augmentation whose draws are those of the name `draw`."""
    seed_all(number_of(draw))
    return augment(batch)


def optimizer_of(
    train: Train, network: nn.Module, where: str, steps: int
) -> tuple[torch.optim.Optimizer, Any]:
    """The optimizer over a network's parameters, and its schedule or None.

    Args:
        train: names both.
        network: whose parameters are optimized, the frozen ones apart, with those of objectives.
        where: what errors call the settings.
        steps: batches over which the schedule goes, unless it is told otherwise.

    Raises:
        ConfigError: naming the setting that does not do.
    """
    make = resolve(train.optimizer, f"{where}.optimizer")
    with refusing(f"{where}.args: {train.optimizer}"):
        optimizer = make(groups_of(network), **train.args)
    if train.schedule is None:  # a schedule may change more of an optimizer than its learning rate
        return one_pass(optimizer), None
    make = resolve(train.schedule.use, f"{where}.schedule.use")
    with refusing(f"{where}.schedule.args: {train.schedule.use}"):
        parameters, names = inspect.signature(make).parameters, ["total_steps", "T_max"]
        if inspect.isclass(make) and issubclass(make, torch.optim.lr_scheduler.PolynomialLR):
            names.append("total_iters")  # of others the length of a start
        length = {name: steps for name in names if name in parameters}
        rates = [group.get("lr") for group in optimizer.param_groups]
        schedule = make(optimizer, **{**length, **train.schedule.args})
    if len(rates) > 1 and len({group["lr"] for group in optimizer.param_groups}) < len(set(rates)):
        expected = "expected a schedule that keeps the blocks' lr, or its rates as a list, one for each group"
        raise ConfigError(f"{where}.schedule: {train.schedule.use} gives all weights one rate, {expected}")
    return optimizer, schedule


def groups_of(network: nn.Module) -> list[Any]:
    """What an optimizer is given: all that is trained or, where blocks have a rate of their own, groups.

    The first group is what has none.
    """
    rates = {
        id(parameter): part.learning_rate
        for part in network.modules()
        if isinstance(part, Tuned) and part.learning_rate is not None
        for parameter in part.parameters()
    }
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if not rates:
        return trained
    groups: list[Any] = [{"params": [one for one in trained if id(one) not in rates]}]
    for rate in dict.fromkeys(rates.values()):
        groups.append({"params": [one for one in trained if rates.get(id(one)) == rate], "lr": rate})
    return [group for group in groups if group["params"]]


def _rate(optimizer: object) -> float | None:
    """The learning rate of an optimizer's first group; None of one that has none."""
    groups = getattr(optimizer, "param_groups", None)
    rate = groups[0].get("lr") if groups else None
    return None if rate is None else float(rate)


def augments_of(method: Method, where: str) -> Mapping[str, Augment]:
    """The functions of `method.augment`, from a batch to a batch, which draw from global generators.

    Raises:
        ConfigError: naming the one that is no function.
    """
    augments = {name: resolve(path, f"{where}.augment.{name}") for name, path in method.augment.items()}
    for name, augment in augments.items():
        if not callable(augment):
            path = method.augment[name]
            raise ConfigError(f"{where}.augment.{name}: {path!r} is no function, expected batch -> batch")
    return augments

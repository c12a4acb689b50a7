"""A trained method, put to use: one window's tensors -> scores."""

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from plait.analysis.calibration import tempered
from plait.compute.machine import device_called, settled, wide_products
from plait.config import Encoder, Method
from plait.contents import network_key
from plait.encoders.frames import FrameNet
from plait.errors import ConfigError, DataError, PlaitError, PlaitWarning, one_line
from plait.features import Extraction
from plait.features.engine import Encode, accelerate
from plait.features.extraction import frozen_encoder
from plait.fusion import Stack
from plait.keying import source_key
from plait.objects import resolve
from plait.recogniser.fused import Fused, fused, layers_of
from plait.recogniser.held import code_of, with_held
from plait.recogniser.model import MODEL, WEIGHTS, Model, ModelFacts, NetworkFacts, read_model
from plait.recogniser.probe import answer, differ
from plait.recogniser.windows import seen
from plait.training.network import Network, build, maker, stand_ins_of
from plait.trust import NOBODY, Trust
from plait.types import Dataset, Modality


class Member(NamedTuple):
    """One of a recogniser's networks: which of its encoders see features, and whose grids are rounded."""

    name: str
    network: Network
    features: dict[str, str]
    rounded: frozenset[str]

    @property
    def needs(self) -> frozenset[str]:
        """The modalities without which it sees nothing."""
        return self.network.needs

    def sees(self, held: Collection[str]) -> bool:
        """Whether it gives scores where only these modalities are present."""
        return self.network.sees(held)

    def logits(self, clip: Mapping[str, Tensor], features: Mapping[str, Tensor]) -> Tensor:
        """Of one window: `(classes,)`, from tensors by modality and features by their keys."""
        given: dict[str, Tensor] = {}
        for modality in self.network.encoders:
            key = self.features.get(modality)
            source, name = (clip, modality) if key is None else (features, key)
            if name in source:
                given[modality] = source[name].to(torch.float32, copy=True)[None]  # others see it, too
        grids = {
            modality: self.network.encoders[modality](given[modality]).half().float()
            for modality in self.rounded
            if modality in given
        }
        logits: Tensor = self.network(given, grids)
        return logits[0]


@dataclass
class Front:
    """A frozen encoder that makes features of a modality's windows, run as it was for the study.

    Where it looks at frames one by one, those that were in the last windows are not looked at again. Each
    goes through the network by itself, so that what comes out does not depend on what was before.
    """

    modality: str
    how: Extraction
    encoder: nn.Module
    device: str
    run: Encode | None = field(default=None, repr=False)
    seen: "Looked | None" = field(default=None, repr=False)

    def __call__(self, tensor: Tensor) -> Tensor:
        """The features of one window, rounded to float16 as those of a study are."""
        if self.by_frame:
            return torch.stack([self._frame(frame) for frame in tensor])
        batch = tensor.to(torch.float32, copy=True)[None].to(self.device)
        if self.run is None:
            self.run = accelerate(self.encoder.to(self.device), batch, self.how.engine)
        return self.run(batch)[0].half().float()

    @property
    def by_frame(self) -> bool:
        """Whether it looks at frames one by one, so that it can begin before a window is over."""
        alone = isinstance(self.encoder, FrameNet) and self.encoder.by_frame
        return alone and self.device == "cpu" and self.how.engine == "torch"  # where that is as fast

    def _frame(self, frame: Tensor) -> Tensor:
        assert isinstance(self.encoder, FrameNet)
        if self.run is None:
            self.run = accelerate(self.encoder.of_one_frame(), frame[None, None].float(), self.how.engine)
        if self.seen is None:
            self.seen = Looked(2 * self.encoder.shape[0], frame)
        features = self.seen.features(frame)
        if features is None:
            features = self.run(frame[None, None].float())[0, 0].half().float()
            self.seen.add(frame, features)
        return features


class Looked:
    """The last frames that were looked at, and what came of them, in memory that is taken once.

    Args:
        count: how many.
        like: a frame.
    """

    def __init__(self, count: int, like: Tensor) -> None:
        self.frames = like.new_empty((count, *like.shape))
        self.maps: Tensor | None = None
        self.keys: list[bytes | None] = [None] * count
        self.places: dict[bytes, int] = {}
        self.coming = 0

    def features(self, frame: Tensor) -> Tensor | None:
        """What came of a frame that is here, value for value; None: it is not."""
        place = self.places.get(self._key(frame))
        if place is None or self.maps is None or not torch.equal(self.frames[place], frame):
            return None
        return self.maps[place]

    def add(self, frame: Tensor, features: Tensor) -> None:
        """Keep a frame in the oldest one's place."""
        if self.maps is None:
            self.maps = features.new_empty((len(self.keys), *features.shape))
        place, key, old = self.coming, self._key(frame), self.keys[self.coming]
        if old is not None and self.places.get(old) == place:
            del self.places[old]
        self.frames[place], self.maps[place], self.keys[place] = frame, features, key
        self.places[key] = place
        self.coming = (place + 1) % len(self.keys)

    def _key(self, frame: Tensor) -> bytes:
        """Some of a frame's values, which differ where frames do, most often."""
        return bytes(frame.flatten()[:: 1 + frame.numel() // 256].numpy().tobytes())


class Recogniser:
    """What `plait fit` made, ready to be given windows.

    `modalities` say of which streams a window's tensors are made, and how; `facts` all else.
    `Recogniser.load("models/video-led")(clip)` are the probabilities of `activities`, in that order, of a
    clip `{modality: tensor}`, each tensor of the shape that `facts.sensors[modality].shape` says.

    Args:
        facts: what its `model.toml` says.
        modalities: by name, in the order of `facts.sensors`.
        members: its networks.
        fuse: how the scores of several become one.
        fronts: frozen encoders before them, by their keys.
        device: what is computed on.
    """

    def __init__(
        self,
        facts: ModelFacts,
        modalities: Mapping[str, Modality],
        members: tuple[Member, ...],
        fuse: Fused,
        fronts: Mapping[str, Front],
        device: str = "cpu",
    ) -> None:
        self.facts, self.modalities, self.members, self.fronts = (
            facts,
            dict(modalities),
            members,
            dict(fronts),
        )
        self.fuse, self.device = fuse, device
        self.activities = facts.activities

    @cached_property
    def code(self) -> str:
        """A digest of the code that makes tensors of windows and scores of them, as it is now."""
        parts = [type(part) for member in self.members for part in member.network.modules()]
        prepares = [modality.prepare for modality in self.modalities.values()]
        encoders = [front.encoder for front in self.fronts.values()]
        code = [Recogniser, Fused, seen, *prepares, *map(type, encoders), *dict.fromkeys(parts)]
        return with_held(source_key(code), prepares)

    @classmethod
    def load(cls, folder: Path | str, *, trust: Trust = NOBODY, device: str = "cpu") -> "Recogniser":
        """The recogniser in a model's folder, or `hf://ORG/NAME`.

        Args:
            folder: where it lies.
            trust: whose code may run, where the model names other modules than plait's.
            device: `auto`, `cpu`, `cuda` or `cuda:N`.

        Raises:
            ConfigError: what it names is not there, or neither plait's nor trusted.
            DataError: a file is missing or damaged, or of other code.
        """
        from plait.recogniser.hub import fetched

        computed_on = device_called(device)  # before anything is fetched
        model = read_model(fetched(str(folder)))
        where, facts = str(model.folder / MODEL), model.facts
        dataset = trust.dataset(facts.dataset, f"{where}: dataset")
        for name, network in facts.networks.items():
            for at, path in _paths(network):
                trust.network(path, f"{where}: networks.{name}.{at}")
        changed = _changed(facts, dataset, where)
        networks = {name: _network(model, dataset, name, changed) for name in facts.networks}
        if changed:
            other = "other code, or other versions of packages, than it was trained with"
            warnings.warn(f"{where}: {other}: {', '.join(changed)}", PlaitWarning, stacklevel=2)
        layers = [_layer(model, name, over) for name, over in layers_of(facts.method, facts.fusing).items()]
        return assembled(facts, dataset, networks, computed_on, where, layers=layers)

    def present(self, streams: Collection[str]) -> list[str]:
        """The modalities all of whose streams are among these."""
        return [name for name, sensor in self.facts.sensors.items() if set(sensor.streams) <= set(streams)]

    def can_see(self, present: Collection[str]) -> bool:
        """Whether it gives scores where only these modalities are present."""
        return any(member.sees(present) for member in self.members)

    def lacks(self, present: Collection[str]) -> str:
        """One line on why it gives no scores where only these modalities are present."""
        member = self.members[0]
        needed = member.needs or frozenset(member.network.encoders)  # without needs: any one of them
        absent = ", ".join(name for name in self.facts.sensors if name in needed - set(present))
        method = self.facts.networks[member.name].use
        return f"{self.facts.method} ({method}) sees nothing without {absent}"

    def __call__(self, clip: Mapping[str, Tensor]) -> np.ndarray:
        """The scores `(activities,)`, float32, of one window.

        Args:
            clip: by modality, the tensor that `modalities[name].prepare` makes of the window's readings,
                without a batch axis. One that is missing must be one that the method does without; of
                several networks, those whose sensors are there have a say.

        Raises:
            ConfigError: too little is there, or a tensor of another shape.
        """
        return self.scores(clip, self.features(clip))

    def features(self, clip: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What frozen encoders make of one window, by their keys: the first half of a call.

        Raises:
            ConfigError: as a call does.
        """
        for name, tensor in clip.items():
            sensor = self.facts.sensors.get(name)
            if sensor is None or tuple(tensor.shape) != sensor.shape:
                expected = ", ".join(f"{known} {facts.shape}" for known, facts in self.facts.sensors.items())
                raise ConfigError(f"window: {name} {tuple(tensor.shape)}, expected some of: {expected}")
        able = [member for member in self.members if member.sees(clip.keys())]
        if not able:
            raise ConfigError(f"window: {self.lacks(clip.keys())}")
        used = {key for member in able for key in member.features.values()}
        with settled(), wide_products(), torch.inference_mode():
            return {
                key: front(clip[front.modality])
                for key, front in self.fronts.items()
                if key in used and front.modality in clip
            }

    def ahead(self, modality: str, tensor: Tensor) -> None:
        """Look at the first frames of a window that is not over, so that the rest is left when it is.

        Args:
            modality: whose.
            tensor: what its `prepare` makes of them.
        """
        with settled(), wide_products(), torch.inference_mode():
            for front in self.fronts.values():
                if front.modality == modality and front.by_frame:
                    front(tensor)

    def scores(self, clip: Mapping[str, Tensor], features: Mapping[str, Tensor]) -> np.ndarray:
        """The scores of one window whose `features` are known: the other half of a call."""
        says = torch.tensor([[member.sees(clip.keys())] for member in self.members])
        classes = len(self.activities)
        scores = torch.full((len(self.members), 1, classes), 1 / classes)
        with settled(), wide_products(), torch.inference_mode():
            tensors = {name: tensor.to(self.device) for name, tensor in clip.items()}
            for place, member in enumerate(self.members):
                if says[place]:
                    scores[place, 0] = member.logits(tensors, features).softmax(dim=0).cpu()
            mean: np.ndarray = self.fuse(scores, says)[0].numpy()
        if self.facts.temperature == 1:
            return mean
        cooled: np.ndarray = tempered(mean[None], self.facts.temperature)[0].astype(np.float32)
        return cooled


def feature_key(modality: str, how: Extraction) -> str:
    """What features of a modality are called among a recogniser's."""
    return f"{modality} through {how}"


def _paths(network: NetworkFacts) -> list[tuple[str, str]]:
    """What a network is built from, each with the setting that says so."""
    paths = [("use", network.use)]
    for modality, encoder in network.encoders.items():
        if encoder.use:
            paths.append((f"encoders.{modality}.use", encoder.use))
        if encoder.features:
            paths.append((f"encoders.{modality}.features.use", encoder.features.use))
    return paths


def assembled(
    facts: ModelFacts,
    dataset: Dataset,
    networks: Mapping[str, Network],
    device: str,
    where: str,
    fronts: dict[str, Front] | None = None,
    layers: Sequence[Stack] = (),
) -> Recogniser:
    """A recogniser of networks that have their weights.

    Args:
        facts: what it is to say of itself.
        dataset: whose code makes tensors of windows.
        networks: by name, as in `facts`.
        device: what is computed on.
        where: what errors call `facts`.
        fronts: frozen encoders that are there already; what is missing is added.
        layers: of a stack.

    Raises:
        ConfigError: the data set has no such modality, or an encoder of features cannot be had.
        DataError: such an encoder has other weights.
    """
    modalities = {name: _modality(facts, dataset, name, where) for name in facts.sensors}
    members: list[Member] = []
    fronts = {} if fronts is None else fronts
    for name, network in networks.items():
        encoders = facts.networks[name].encoders
        features = {m: feature_key(m, one.features) for m, one in encoders.items() if one.features}
        rounded = frozenset(modality for modality, encoder in encoders.items() if encoder.frozen)
        members.append(Member(name, network.eval().requires_grad_(False).to(device), features, rounded))
        fronts |= _fronts(facts, name, device, fronts, f"{where}: networks.{name}")
    fuse = fused([*networks], facts.fusing, layers)
    return Recogniser(facts, modalities, tuple(members), fuse, fronts, device)


def _modality(facts: ModelFacts, dataset: Dataset, name: str, where: str) -> Modality:
    sensor = facts.sensors[name]
    try:
        known = dataset.modality(name)
        return Modality(name, sensor.streams, sensor.samples, sensor.rate_hz, known.prepare, known.encoder)
    except PlaitError as error:
        raise ConfigError(f"{where}: sensors: {error}") from error


def _encoders(facts: NetworkFacts) -> dict[str, Encoder]:
    """A network's encoders, as a study would name them."""
    return {
        modality: Encoder(
            encoder.features, encoder.use, encoder.args, frozen=encoder.frozen, trainable=encoder.trainable
        )
        for modality, encoder in facts.encoders.items()
    }


def _changed(facts: ModelFacts, dataset: Dataset, where: str) -> list[str]:
    """Which parts of a model have other code than they were trained with."""
    changed = {
        f"prepare of {name}": sensor.code != code_of(_modality(facts, dataset, name, where).prepare)
        for name, sensor in facts.sensors.items()
    }
    for name, network in facts.networks.items():
        changed[network.use] = network.code != source_key(
            [resolve(network.use, f"{where}: networks.{name}.use")]
        )
        for modality, encoder in _encoders(network).items():
            make = maker(encoder, dataset, modality, f"{where}: networks.{name}")
            changed[f"{name}'s encoder of {modality}"] = network.encoders[modality].code != source_key([make])
    return [part for part, differs in changed.items() if differs]


def _network(model: Model, dataset: Dataset, name: str, changed: Collection[str]) -> Network:
    """One of a model's networks, with its weights.

    Raises:
        DataError: the weights are of other shapes; which code has `changed` is said.
    """
    where, facts = f"{model.folder / MODEL}: networks.{name}", model.facts.networks[name]
    method = Method(facts.use, facts.args, modalities=tuple(facts.encoders), encoders=_encoders(facts))
    classes = replace(dataset, activities=model.facts.activities)
    state = model.of(name)
    network = build(
        method, classes, facts.shapes, where, getattr(torch, facts.precision), stand_ins_of(state)
    )
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        fault = one_line(error).partition(": ")[2] or one_line(error)
        other = f"; other code than it was trained with: {', '.join(changed)}" if changed else ""
        raise DataError(f"{model.folder / WEIGHTS}: {name}: {fault[:300].strip()}{other}") from error
    network.eval()
    if facts.says and differ(facts.says, answer(network, facts.shapes), facts.precision == "bfloat16"):
        line = (
            "says something else of a made-up clip than when it was fitted: its code, a file that it reads "
            "or a library is another one, or it holds what is not among its weights"
        )
        warnings.warn(f"{where}: {line}", PlaitWarning, stacklevel=3)
    return network


def _layer(model: Model, name: str, over: int) -> Stack:
    """The layer of a model's stack over so many networks.

    Raises:
        DataError: its weights are missing or of other shapes.
    """
    layer = Stack(over, len(model.facts.activities))
    try:
        layer.load_state_dict(model.of(name))
    except RuntimeError as error:
        raise DataError(f"{model.folder / WEIGHTS}: the stack's layer: {one_line(error)}") from error
    return layer


def _fronts(
    facts: ModelFacts, name: str, device: str, known: Collection[str], where: str
) -> dict[str, Front]:
    """The frozen encoders of a network's features that are not `known` yet, by their keys."""
    fronts: dict[str, Front] = {}
    for modality, encoder in facts.networks[name].encoders.items():
        if encoder.features is None or (key := feature_key(modality, encoder.features)) in known:
            continue
        here = f"{where}.encoders.{modality}.features"
        frozen = frozen_encoder(encoder.features, facts.sensors[modality].shape, here)
        if encoder.weights is not None and network_key(frozen) != encoder.weights:
            expected = f"expected those of checksum {encoder.weights}"
            raise DataError(f"{here}: {encoder.features.use} has other weights than in training, {expected}")
        fronts[key] = Front(modality, encoder.features, frozen, device)
    return fronts


def refuse_missing(recogniser: Recogniser, streams: Collection[str], where: str) -> None:
    """Refuse a recording of which the recogniser would see nothing at all.

    Raises:
        DataError: naming the method and the sensors.
    """
    present = recogniser.present(streams)
    if not recogniser.can_see(present):
        raise DataError(f"{where}: {recogniser.lacks(present)}")

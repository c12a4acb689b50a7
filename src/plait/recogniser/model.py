"""A model's folder: what a recogniser is and has learned, without code.

MODEL/model.toml           `ModelFacts`
MODEL/model.safetensors    the weights of its networks, `NETWORK/parameter`
MODEL/README.md            a model card
"""

from collections.abc import Mapping
from dataclasses import asdict, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from safetensors.torch import save
from torch import Tensor, nn

from plait.config import Policy, Trainable
from plait.encoders.weights import read_weights
from plait.errors import DataError, first_fault, one_line
from plait.features import Extraction
from plait.recogniser.decoding import Decoding
from plait.recogniser.levels import StreamFacts
from plait.recordings.between import Between
from plait.store import checksum, read_bytes, toml_of, write_bytes, write_text, write_toml
from plait.types import LONGEST_S, Windows

MODEL, WEIGHTS, CARD = "model.toml", "model.safetensors", "README.md"
FILES = (MODEL, WEIGHTS, CARD)
_STRICT = ConfigDict(extra="forbid")
Seconds = Annotated[float, Field(gt=0, le=LONGEST_S)]
Share = Annotated[float, Field(ge=0, le=1)]
Shape = tuple[Annotated[int, Field(ge=1)], ...]


@dataclass(frozen=True, config=_STRICT)
class SensorFacts:
    """One modality, as its data set's code makes a tensor of a window.

    Args:
        streams: of a recording, in the order of `prepare`'s arguments.
        samples: readings of each stream in a window.
        shape: of the window's tensor.
        code: a digest of the code of `prepare`.
        rate_hz: of the samples; without, they lie evenly between the window's ends.
    """

    streams: tuple[str, ...]
    samples: Annotated[int, Field(ge=1)]
    shape: Shape
    code: str
    rate_hz: Annotated[float | None, Field(gt=0)] = None


@dataclass(frozen=True, config=_STRICT)
class EncoderFacts:
    """A network's encoder of one modality.

    Args:
        shape: of what it is given: the window's tensor, or features of it.
        code: a digest of its code.
        use: its path; without, the data set's encoder, or nothing upon features.
        args: its settings.
        frozen: its grids are rounded to float16, as they were while the method was trained.
        features: the frozen encoder before it.
        weights: a checksum of all numbers of that one.
        trainable: the blocks of `use` that were trained; those in front of them are in `features`.
    """

    shape: Shape
    code: str
    use: str | None = None
    args: dict[str, Any] = field(default_factory=dict)
    frozen: bool = False
    features: Extraction | None = None
    weights: str | None = None
    trainable: Trainable | None = None


@dataclass(frozen=True, config=_STRICT)
class NetworkFacts:
    """One trained network: encoders, and a method over their grids.

    Args:
        use: the method's path.
        code: a digest of its code.
        encoders: by modality.
        epochs: how many it was trained.
        args: the method's settings.
        precision: that it computes in.
        says: its logits of a clip that is made up (`plait.recogniser.probe`), where it gives any.
    """

    use: str
    code: str
    encoders: dict[str, EncoderFacts]
    epochs: int
    args: dict[str, Any] = field(default_factory=dict)
    precision: Literal["float32", "bfloat16"] = "float32"
    says: tuple[FiniteFloat, ...] = ()

    @property
    def shapes(self) -> dict[str, Shape]:
        """Of what its encoders are given, by modality."""
        return {modality: encoder.shape for modality, encoder in self.encoders.items()}


@dataclass(frozen=True, config=_STRICT)
class Fusing:
    """How the scores of several networks become one.

    Args:
        making: of a group: `average`, `mixture` by confidence, `stack`, whose layer is among the weights, or
            `first`, that of the first network which has its sensors.
        groups: names of networks, those of one seed together; of several groups the mean is taken. By
            default all networks are one.
        confidence: of a mixture, as in `plait.fusion.Mixture`.
        temperatures: of a mixture, for each network of each group.
    """

    making: Literal["average", "mixture", "stack", "first"] = "average"
    groups: tuple[tuple[str, ...], ...] = ()
    confidence: Literal["entropy", "highest"] = "entropy"
    temperatures: tuple[tuple[Annotated[FiniteFloat, Field(gt=0)], ...], ...] = ()


@dataclass(frozen=True, config=_STRICT)
class Unlabelled:
    """What the time is in which no activity is labelled.

    Args:
        policy: an `activity` of its own; left out (`leave-out`), so that whatever is recognised there stands;
            or refused by score (`refuse`): where the highest is below `threshold`, nothing is recognised.
        activity: which one.
        threshold: chosen on validation people.
    """

    policy: Policy = "leave-out"
    activity: str | None = None
    threshold: Share | None = None


@dataclass(frozen=True, config=_STRICT)
class Training:
    """What a model was trained on.

    Args:
        people: whose clips.
        clips: how many.
        seed: of weights, order and whatever else is drawn.
        left_out: people of the data set who were left out by name.
        epochs: what chose how many.
        settings: what temperature and decoding were chosen on.
        seeds: of an ensemble, all of them.
        row: `results.row_key` of the run's row of these settings, if there was a run.
    """

    people: tuple[str, ...]
    clips: int
    seed: int
    left_out: tuple[str, ...] = ()
    epochs: str = ""
    settings: str = ""
    seeds: tuple[int, ...] = ()
    row: str = ""


@dataclass(frozen=True, config=_STRICT)
class ModelFacts:
    """What `model.toml` says.

    Args:
        key: of all that decided the model.
        study, method: names of what it was trained as.
        dataset: `"package.module:NAME"` of the data set whose modalities these are.
        activities: in the order of the scores.
        sensors: by modality.
        columns: of each stream that is a log, in the order that networks know.
        between: which of them are not linear between readings, where some are not.
        streams: how fast and how strong they were.
        networks: by the method that each was trained as, and of an ensemble by seed.
        fusing: how the scores of several become one.
        training: what they were trained on.
        seconds: the length of a window; without, a window is a whole recording.
        stride_s: from one window's start to the next one's.
        lasting_s: without, the shortest and the longest clip that it was trained on.
        temperature: that scores are divided by, as logarithms.
        decoding: how windows' scores become segments.
        transitions: between activities, from training labels, where decoding asks for them.
        unlabelled: what time without a label is.
        cite: whom to cite for the data.
        versions: of plait and of what it computes with.
        commit: of plait's own source.
        weights: the checksum of `model.safetensors`, if it was kept.
        format: of this file.
    """

    key: str
    study: str
    method: str
    dataset: str
    activities: tuple[str, ...]
    sensors: dict[str, SensorFacts]
    networks: dict[str, NetworkFacts]
    training: Training
    columns: dict[str, tuple[str, ...]] = field(default_factory=dict)
    between: dict[str, Between] = field(default_factory=dict)
    streams: dict[str, StreamFacts] = field(default_factory=dict)
    fusing: Fusing = field(default_factory=Fusing)
    seconds: Seconds | None = None
    stride_s: Seconds | None = None
    lasting_s: tuple[Seconds, Seconds] | None = None
    temperature: Annotated[FiniteFloat, Field(gt=0)] = 1.0
    decoding: Decoding = field(default_factory=Decoding)
    transitions: tuple[tuple[Share, ...], ...] = ()
    unlabelled: Unlabelled = field(default_factory=Unlabelled)
    cite: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    commit: str | None = None
    weights: str | None = None
    format: Literal[1] = 1

    @property
    def cut(self) -> Windows | None:
        """How labels of recordings are to be read: whether the time between them is an activity."""
        activity = self.unlabelled.activity
        return None if activity is None else Windows(self.seconds or 1.0, unlabelled=activity)


class Model(NamedTuple):
    """A model's folder, read: what it says, and the weights of its networks."""

    folder: Path
    facts: ModelFacts
    weights: dict[str, Tensor]

    def of(self, network: str) -> dict[str, Tensor]:
        """The weights of one of its networks, by the parameter's name."""
        prefix = f"{network}/"
        return {
            name.removeprefix(prefix): weight
            for name, weight in self.weights.items()
            if name.startswith(prefix)
        }


def write_model(folder: Path, facts: ModelFacts, networks: Mapping[str, nn.Module], card: str) -> ModelFacts:
    """Write a model's folder; `model.toml` comes last, so that with it the folder is whole.

    What it says then has the weights' checksum, too.

    Args:
        folder: where.
        facts: what it says.
        networks: with their weights, by name.
        card: the model card, Markdown.

    Raises:
        DataError: the folder cannot be written.
    """
    weights = {
        f"{name}/{parameter}": weight.detach().cpu().contiguous().clone()
        for name, network in networks.items()
        for parameter, weight in network.state_dict().items()
    }
    (folder / MODEL).unlink(missing_ok=True)
    write_bytes(folder / WEIGHTS, save(weights))
    write_text(folder / CARD, card)
    facts = replace(facts, weights=checksum(folder / WEIGHTS))
    write_toml(folder / MODEL, asdict(facts))
    return facts


def read_facts(folder: Path) -> ModelFacts:
    """What a model's `model.toml` says.

    Raises:
        DataError: it is missing, damaged, or contradicts itself.
    """
    path = folder / MODEL
    try:
        facts = TypeAdapter(ModelFacts).validate_python(toml_of(read_bytes(path).decode()))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; `plait fit` makes it") from error
    except ValidationError as error:
        raise DataError(f"{path}: {first_fault(error)}") from error
    except ValueError as error:
        raise DataError(f"{path}: not a TOML file: {one_line(error)}") from error
    _check(facts, path)
    return facts


def read_model(folder: Path) -> Model:
    """A model's folder.

    Raises:
        DataError: a file is missing or damaged, or the weights are another model's.
    """
    facts, weights = read_facts(folder), read_weights(folder / WEIGHTS)
    if facts.weights is not None and (found := checksum(folder / WEIGHTS)) != facts.weights:
        line = f"checksum {found[:12]}, expected {facts.weights[:12]} as {MODEL} says"
        raise DataError(f"{folder / WEIGHTS}: {line}: weights of another model, or changed since the fit")
    return Model(folder, facts, weights)


def _check(facts: ModelFacts, path: Path) -> None:
    """Refuse what no model can be."""
    count = len(facts.activities)
    if not count or len(set(facts.activities)) < count:
        raise DataError(f"{path}: activities: expected names, each once")
    if facts.lasting_s is not None and facts.lasting_s[0] > facts.lasting_s[1]:
        raise DataError(f"{path}: lasting_s: {[*facts.lasting_s]}, expected the shortest first")
    if not facts.networks:
        raise DataError(f"{path}: networks: empty, expected at least one")
    for name, network in facts.networks.items():
        if unknown := network.encoders.keys() - facts.sensors.keys():
            expected = f"expected some of: {', '.join(facts.sensors)}"
            raise DataError(f"{path}: networks.{name}.encoders: unknown {min(unknown)!r}, {expected}")
        if not network.encoders:
            raise DataError(f"{path}: networks.{name}.encoders: empty, expected at least one")
    fusing = facts.fusing
    if fusing.groups and sorted(name for group in fusing.groups for name in group) != sorted(facts.networks):
        expected = f"expected each of: {', '.join(facts.networks)}"
        raise DataError(f"{path}: fusing.groups: {[*map(list, fusing.groups)]}, {expected}")
    alike = [*map(len, fusing.temperatures)] == [*map(len, fusing.groups)]
    if fusing.making == "mixture" and not (fusing.groups and alike):
        raise DataError(f"{path}: fusing.temperatures: expected one for each network of each group")
    if fusing.making in ("stack", "first") and not fusing.groups:
        raise DataError(f"{path}: fusing.groups: empty, expected at least one")
    if facts.transitions and any(len(row) != count for row in (facts.transitions, *facts.transitions)):
        raise DataError(f"{path}: transitions: expected {count} rows of {count} shares")
    named = facts.unlabelled.activity
    if (named is not None or facts.unlabelled.policy == "activity") and named not in facts.activities:
        expected = f"expected one of: {', '.join(facts.activities)}"
        raise DataError(f"{path}: unlabelled.activity: {named!r}, {expected}")

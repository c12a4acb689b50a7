"""A study as frozen dataclasses; `load` reads them from a file."""

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, field, fields, replace
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import ConfigDict, Field, NonNegativeInt, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from plait.errors import ConfigError, shown
from plait.features import Extraction
from plait.patterns import matching

T = TypeVar("T")
Count = Annotated[int, Field(ge=1, le=10**9)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]  # a table's column holds no larger ones
_STRICT = ConfigDict(extra="forbid", coerce_numbers_to_str=True)


@dataclass(frozen=True, config=_STRICT)
class Protocol:
    """Who trains, validates and is tested.

    `leave-one-subject-out` tests every subject once, or every one of `subjects` if given, and leaves all others alone;
    the `val_subjects` next ones in sorted order, cyclic, validate. None have to where `choose = "last"`.
    `fixed` takes `train`, `val` and `test` as lists of subjects. With `refit`, a method is trained once more on the
    training and validation subjects together, for as many epochs as validation chose.

    Each list of `same_person` holds the names of one person, who is called by the first; each of `different`, names of
    people or activities that look alike or share recordings, and are several all the same. With a seed as
    `shuffle_labels` the study is a control (`plait.study.shuffled`).
    """

    kind: Literal["leave-one-subject-out", "fixed"] = "leave-one-subject-out"
    val_subjects: NonNegativeInt = 1
    subjects: tuple[str, ...] = ()
    train: tuple[str, ...] = ()
    val: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    refit: bool = False
    same_person: tuple[tuple[str, ...], ...] = ()
    different: tuple[tuple[str, ...], ...] = ()
    shuffle_labels: Seed | None = None


@dataclass(frozen=True, config=_STRICT)
class Schedule:
    """A learning-rate schedule, `"package.module:Name"`, stepped after every batch.

    `total_steps` or `T_max`, where the class has one and `args` does not give it, is the number of batches in
    `max_epochs` epochs.
    """

    use: str
    args: dict[str, Any] = field(default_factory=dict)


_RMSPROP: dict[str, Any] = {"lr": 1e-3, "alpha": 0.9, "eps": 1e-7}


@dataclass(frozen=True, config=_STRICT)
class Train:
    """How a method is trained; the defaults are the paper's section 4.3.

    `patience` is in epochs without better validation accuracy. `choose` says which epoch's weights are kept: the
    `best` on validation (ties: the earliest) or the `last`. `args` not named keep their value from the level below as
    long as the optimizer is the same. `precision` is what a method's products are computed in, by `torch.autocast`;
    encoders, weights and softmax are float32 either way, and so is what would gain nothing: products of a batch's rows
    alone, as `Concat` and `Single` make without a hidden layer. Processors without bfloat16 of their own are slower in
    it, not faster.
    """

    optimizer: str = "torch.optim:RMSprop"
    args: dict[str, Any] = field(default_factory=lambda: dict(_RMSPROP))
    schedule: Schedule | None = None
    batch_size: Count = 8
    patience: Count = 20
    max_epochs: Count = 200
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    choose: Literal["best", "last"] = "best"
    precision: Literal["float32", "bfloat16"] = "float32"


@dataclass(frozen=True, config=_STRICT)
class Encoder:
    """Where a method's encoder for one modality comes from, if not from the data set.

    Either `use = "package.module:Name"`, called with the clip's shape and `args`; or `from = "method"`: the encoder
    that method, the donor, trained in the same fold with the same seed, to be trained further or, if `frozen`, not.
    With `features`, clips are replaced by what a frozen encoder makes of them, once for the whole study; `use` is
    then what is trained on top, by default nothing.
    """

    features: Extraction | None = None
    use: str | None = None
    args: dict[str, Any] = field(default_factory=dict)
    donor: str | None = Field(default=None, alias="from")  # `from` is a word of Python's own
    frozen: bool = False


@dataclass(frozen=True, config=_STRICT)
class Method:
    """One row of the table: a class that is trained (`use`), or an `average` of other methods' scores.

    `modalities` default to the study's, or to the one that `args` call `modality`. `train` overrides the study's.
    `sweep` gives lists of values for `args`: one row each, called `name[arg=value]`; which it
    is stands in `swept`.
    """

    use: str | None = None
    args: dict[str, Any] = field(default_factory=dict)
    average: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    encoders: dict[str, Encoder] = field(default_factory=dict)
    augment: dict[str, str] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    sweep: dict[str, list[Any]] = field(default_factory=dict)
    swept: dict[str, Any] = field(default_factory=dict)

    def networks(self) -> Iterator[tuple[str, str]]:
        """What it is built from, `"package.module:Name"`, and which setting says so."""
        if self.use:
            yield "use", self.use
        for name, own in self.encoders.items():
            if own.use:
                yield f"encoders.{name}.use", own.use
            if own.features:
                yield f"encoders.{name}.features.use", own.features.use


class Training(NamedTuple):
    """A method that is trained: its name, all that it is, and how it is trained."""

    name: str
    method: Method
    train: Train


@dataclass(frozen=True, config=_STRICT)
class Study:
    """A whole study: methods x folds x seeds on one data set.

    `encoders` are those of every method that does not name its own.
    """

    name: str
    dataset: str
    modalities: tuple[str, ...]
    methods: dict[str, Method]
    encoders: dict[str, Encoder] = field(default_factory=dict)
    seeds: tuple[Seed, ...] = (0,)
    protocol: Protocol = field(default_factory=Protocol)
    train: Train = field(default_factory=Train)

    def method(self, name: str) -> Method:
        """The method `name`, with every donor's encoder spelled out: what it is of whoever first trained it."""
        method = self.methods[name]
        encoders = dict(method.encoders)
        for modality, own in encoders.items():
            if own.donor:
                first = self.method(own.donor).encoders.get(modality, Encoder())
                alias = {"from": own.donor}
                encoders[modality] = Encoder(
                    first.features, first.use, first.args, frozen=own.frozen, **alias
                )
        return replace(method, encoders=encoders)

    @property
    def needed(self) -> tuple[str, ...]:
        """The modalities that its methods use, in the study's order."""
        return tuple(
            m for m in self.modalities if any(m in method.modalities for method in self.methods.values())
        )

    def only(self, patterns: Sequence[str]) -> "Study":
        """The methods whose names match one of `patterns` (`*`, `?`), and those that they are made from.

        Raises:
            ConfigError: a pattern matches no method.
        """
        wanted: list[str] = []
        for pattern in patterns:
            found = matching(pattern, self.methods)
            if not found:
                raise ConfigError(f"only: no method {pattern!r}, expected some of: {', '.join(self.methods)}")
            wanted += found
        kept: set[str] = set()
        while wanted:
            name = wanted.pop()
            kept.add(name)
            method = self.methods[name]
            wanted += [*method.average, *(own.donor for own in method.encoders.values() if own.donor)]
        return replace(self, methods={name: method for name, method in self.methods.items() if name in kept})

    def without(self, names: Collection[str]) -> "Study":
        """All methods but these, and but those that are made from them."""
        lost: set[str] = set()
        while more := {
            name
            for name, method in self.methods.items()
            if name not in lost
            and (name in names or lost & {*method.average, *(own.donor for own in method.encoders.values())})
        }:
            lost |= more
        return replace(
            self, methods={name: method for name, method in self.methods.items() if name not in lost}
        )

    def order(self) -> tuple[str, ...]:
        """The methods that are trained, donors before those who take encoders from them."""
        names: dict[str, None] = {}

        def add(name: str) -> None:
            for own in self.methods[name].encoders.values():
                if own.donor and own.donor not in names:
                    add(own.donor)
            names[name] = None

        for name, method in self.methods.items():
            if method.use:
                add(name)
        return tuple(names)

    def trainings(self) -> tuple[Training, ...]:
        """Every method that is trained, in the order of `order`, with all that it is and how it is trained."""
        return tuple(Training(name, self.method(name), self.training(name)) for name in self.order())

    def training(self, method: str) -> Train:
        """The training settings of `method`: the study's, overridden by its own."""
        overridden = override(asdict(self.train), self.methods[method].train)
        return validated(Train, overridden, self.name, ("methods", method, "train"))


def override(base: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `own` settings on top; optimizer args are kept only under the same optimizer."""
    merged = {**base, **own}
    same = own.get("optimizer", base["optimizer"]) == base["optimizer"]
    if same and isinstance(own.get("args", {}), Mapping):
        merged["args"] = {**base["args"], **own.get("args", {})}
    elif not same:
        merged["args"] = own.get("args", {})
    return merged


def validated(kind: type[T], value: Any, file: str, prefix: tuple[str, ...] = ()) -> T:
    """`value` as a `kind`; `file` and the path `prefix` within it say where it stands.

    Raises:
        ConfigError: an unknown key, one that is missing, or a value that its key does not take.
    """
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        loc = (*prefix, *(str(part) for part in first["loc"]))
        message = first["msg"]
        if first["type"] == "unexpected_keyword_argument":
            known = [getattr(f.default, "alias", None) or f.name for f in fields(_table_at(loc[:-1]))]
            known += ["extends"] if len(loc) == 1 else []
            near = difflib.get_close_matches(loc[-1], known, 1)
            message = f"unknown key, did you mean {near[0]!r}?" if near else "unknown key"
            message += f" Expected one of: {', '.join(known)}"
        elif first["type"] == "missing":
            message = "missing, expected a value"
        else:
            message = f"got {shown(first['input'])}: {message}"
        raise ConfigError(f"{file}: {'.'.join(loc)}: {message}") from error


def _table_at(loc: tuple[str, ...]) -> Any:
    """The dataclass behind the table at `loc` of a study file."""
    match loc:
        case ("protocol",):
            return Protocol
        case ("train",) | ("methods", _, "train"):
            return Train
        case (*_, "schedule"):
            return Schedule
        case ("methods", _):
            return Method
        case (*_, "encoders", _, "features"):
            return Extraction
        case ("encoders", _) | ("methods", _, "encoders", _):
            return Encoder
        case _:
            return Study

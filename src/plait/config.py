"""A study as frozen dataclasses; `load` reads them from a file."""

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, field, fields, is_dataclass, replace
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, get_args

from pydantic import BeforeValidator, ConfigDict, Field, NonNegativeInt, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from plait.errors import ConfigError, quote
from plait.features import Extraction
from plait.patterns import matching
from plait.types import FINEST_S, LONGEST_S, Missing

T = TypeVar("T")
Count = Annotated[int, Field(ge=1, le=10**9)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]  # a table's column holds no larger ones
Policy = Literal["activity", "leave-out", "refuse"]  # of time without a label
Tracker = Literal["tensorboard", "mlflow"]
Making = Literal["average", "mixture", "stack", "first", "ensemble"]  # how a row is made of other rows
MAKINGS: tuple[Making, ...] = get_args(Making)
BY_SESSION = ("leave-one-session-out", "fixed-sessions")  # kinds of protocol whose folds are made of sessions
# What networks know of who is tested, by the kind of protocol: people who are ...
KNOWN = {
    "leave-one-session-out": "known from other sessions",
    "fixed-sessions": "perhaps known from other sessions",
}
UNKNOWN = "not in the training data"
PRETRAINED = "pretrained"  # `zero_h` where encoders are: a fusion then starts as what it is compared with
_STRICT = ConfigDict(extra="forbid", coerce_numbers_to_str=True)


@dataclass(frozen=True, config=_STRICT)
class Protocol:
    """Who trains, who validates and who is tested.

    Args:
        kind: `leave-one-subject-out` tests every subject once; `subject-folds`, every one of `folds` groups
            of subjects; `leave-n-out`, every set of `leave` ones; `fixed` takes `train`, `val` and `test`;
            `leave-one-session-out` tests everybody's session of one name after training on all others, those
            of the same people among them: not how well strangers are recognised, but known people later.
            `fixed-sessions` is `fixed` with sessions for subjects, whoever's they are.
        val_subjects: how many validate: those after the ones tested, cyclic, in sorted order or, of folds, as
            they are dealt. By default one where some method chooses its best epoch, else nobody. Where
            sessions are left out, how many sessions.
        subjects: the only ones that take part; by default all.
        folds: how many groups, as equal as they can be.
        seed: deals the subjects to the groups.
        leave: how many subjects are tested at once.
        train, test: the subjects, or sessions, of each part, where fixed.
        val: who validates, where fixed; elsewhere, who does in every fold and is never trained on nor tested.
        refit: train each method once more, on the training and validation subjects together, for as many
            epochs as validation chose.
        same_person: lists of names of one person each, who is called by the first.
        different: lists of names that look alike or share recordings, yet are several people or activities.
        shuffle_labels: a seed makes the study a control (`plait.study.shuffled`).
    """

    kind: Literal[
        "leave-one-subject-out",
        "subject-folds",
        "leave-n-out",
        "leave-one-session-out",
        "fixed",
        "fixed-sessions",
    ] = "leave-one-subject-out"
    val_subjects: NonNegativeInt | None = None
    subjects: tuple[str, ...] = ()
    folds: Annotated[int, Field(ge=2)] | None = None
    seed: Seed = 0
    leave: Count | None = None
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

    What counts steps in `args` counts batches, not epochs. Where the class has a `total_steps` or a `T_max`,
    or is a `PolynomialLR` with its `total_iters`, and `args` does not give it, it is the number of batches in
    `max_epochs` epochs.
    """

    use: str
    args: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, config=_STRICT)
class Objective:
    """What training makes small, and what it does on the way, `"package.module:Name"`.

    Args:
        use: a `plait.training.objectives.base:Objective`.
        args: its settings.
        teachers: by modality, a method whose trained encoder of the same fold and seed it looks at.
    """

    use: str
    args: dict[str, Any] = field(default_factory=dict)
    teachers: dict[str, str] = field(default_factory=dict)


def _listed(value: Any) -> Any:
    return (value,) if isinstance(value, Mapping) else value


Objectives = Annotated[tuple[Objective, ...], BeforeValidator(_listed)]  # or one, without a list


@dataclass(frozen=True, config=_STRICT)
class Train:
    """How a method is trained; the defaults are the paper's section 4.3.

    Args:
        optimizer: `"package.module:Name"`.
        args: the optimizer's; those not named keep the study's value while the optimizer is the study's.
        schedule: of the learning rate, stepped after every batch; by default constant.
        batch_size: clips.
        patience: epochs without better validation accuracy after which training stops.
        max_epochs: after which training stops in any case.
        label_smoothing: share of the target that is spread over all activities.
        choose: the epoch whose weights are kept: the `best` on validation (of equals the first) or the
            `last`.
        objective: one, or several in a row, each of which goes on from what those before it have made; by
            default the cross-entropy of the method's logits.
        devices: that share every batch; several need `plait[finetune]`.
        accumulate: into how many parts a batch is split, one after another, whose gradients are added.
        precision: of a method's products, by `torch.autocast`; processors without bfloat16 of their own are
            slower in it. Encoders, weights and softmax stay float32, and so do products that gain nothing:
            those of a batch's rows alone, as `Concat` and `Single` make without a hidden layer.
        log: trackers that are told of loss, accuracy and learning rate (`plait.study.trackers`); they decide
            nothing, and no key hangs on them.
    """

    optimizer: str = "torch.optim:RMSprop"
    args: dict[str, Any] = field(default_factory=lambda: {"lr": 1e-3, "alpha": 0.9, "eps": 1e-7})
    schedule: Schedule | None = None
    batch_size: Count = 8
    patience: Count = 20
    max_epochs: Count = 200
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    choose: Literal["best", "last"] = "best"
    objective: Objectives = ()
    devices: Annotated[int, Field(ge=1, le=1024)] = 1
    accumulate: Count = 1
    precision: Literal["float32", "bfloat16"] = "float32"
    log: tuple[Tracker, ...] = ()


def _several(value: Any) -> Any:
    """A list of one where a file says one value."""
    return value if isinstance(value, list | tuple) else (value,)


@dataclass(frozen=True, config=_STRICT)
class Trainable:
    """Which blocks of a network are trained with the method; what is in front of them is run once.

    Args:
        blocks: names or patterns (`Mixed_5*`), one or a list.
        lr: their learning rate; by default as for all else.
        statistics: those of batch normalisations in these blocks are `kept`, or `moving` with every batch.
        checkpoint: activations within blocks are made once more for the gradient, which takes less memory.
        precision: that blocks compute in; weights and what comes out stay float32.
    """

    blocks: Annotated[tuple[str, ...], BeforeValidator(_several), Field(min_length=1)]
    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    statistics: Literal["kept", "moving"] = "kept"
    checkpoint: bool = False
    precision: Literal["float32", "bfloat16"] = "float32"


def _blocks(value: Any) -> Any:
    """A table where a file names blocks alone."""
    return {"blocks": value} if isinstance(value, str | list | tuple) else value


@dataclass(frozen=True, config=_STRICT)
class Encoder:
    """Where a method's encoder for one modality comes from, if not from the data set: `use` or a donor.

    Args:
        features: how a frozen encoder replaces the clips, once for the whole study.
        use: `"package.module:Name"`, called with the clip's shape and `args`; with features, trained on top.
        args: settings of `use`.
        donor: written `from`: the method whose encoder of the same fold and seed is taken.
        frozen: the donor's encoder is not trained further.
        trainable: the blocks of `use` that are trained; what is in front of them is frozen and run once.
    """

    features: Extraction | None = None
    use: str | None = None
    args: dict[str, Any] = field(default_factory=dict)
    donor: str | None = Field(default=None, alias="from")  # `from` is a word of Python's own
    frozen: bool = False
    trainable: Annotated[Trainable | None, BeforeValidator(_blocks)] = None

    @property
    def spelled(self) -> "Encoder":
        """The same with the frozen front of its network as features."""
        if self.trainable is None or self.use is None or self.features:
            return self
        front = Extraction(self.use, self.args, cut=self.trainable.blocks)
        return Encoder(front, self.use, self.args, trainable=self.trainable)


@dataclass(frozen=True, config=_STRICT)
class Mixing:
    """How a mixture weighs its methods, clip by clip.

    Args:
        confidence: a method's weight is one over the `entropy` of its scores (H. Misra, H. Bourlard and
            V. Tyagi, ICASSP 2003), or its `highest` score.
        calibrated: scores are first made as sure as they are right, by a temperature (C. Guo et al., ICML
            2017) that is fitted on the people who validate in the fold; where nobody does, it is 1.
    """

    confidence: Literal["entropy", "highest"] = "entropy"
    calibrated: bool = True


Decays = Annotated[
    tuple[Annotated[float, Field(gt=0, le=1e6)], ...],
    BeforeValidator(_several),
    Field(min_length=1, max_length=50),
]


@dataclass(frozen=True, config=_STRICT)
class Stacking:
    """How a stack's layer is fitted.

    Args:
        folds: into how many groups the people who train are dealt; the scores of each come from networks that
            were trained on the others.
        l2: half of it, times the sum of squared weights, is added to the mean loss. Of several the one is
            taken with the least loss on groups that the layer was not fitted on.
    """

    folds: Annotated[int, Field(ge=2, le=1000)] = 3
    l2: Decays = (1.0, 0.1, 0.01, 1e-3, 1e-4)


@dataclass(frozen=True, config=_STRICT)
class Method:
    """One row of the table: a class that is trained, or a row that is made of other rows' scores.

    Args:
        use: the class, `"package.module:Name"`.
        args: its settings; of a mixture `Mixing`, of a stack `Stacking`.
        average: the methods whose scores are averaged.
        mixture: the methods whose scores are weighted by how sure each is of a clip.
        stack: the methods over whose scores a logistic layer is fitted.
        first: methods in order; of each clip the first speaks that has the sensors it needs.
        ensemble: the row whose scores are averaged over the study's seeds.
        modalities: by default the study's, or the one that `args` call `modality`.
        encoders: by modality; those not named are the study's.
        augment: functions that vary a training clip, `"package.module:name"` by modality.
        train: overrides the study's.
        sweep: lists of values for `args`: one row each, called `name[arg=value]`.
        swept: of such a row, the values that it has.
    """

    use: str | None = None
    args: dict[str, Any] = field(default_factory=dict)
    average: tuple[str, ...] = ()
    mixture: tuple[str, ...] = ()
    stack: tuple[str, ...] = ()
    first: tuple[str, ...] = ()
    ensemble: str | None = None
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
        for modality, encoder in self.encoders.items():
            if encoder.use:
                yield f"encoders.{modality}.use", encoder.use
            if encoder.features:
                yield f"encoders.{modality}.features.use", encoder.features.use

    @property
    def making(self) -> Making | None:
        """How it is made of other rows' scores; None of a method that is trained."""
        return next((making for making in MAKINGS if getattr(self, making)), None)

    @property
    def made_of(self) -> tuple[str, ...]:
        """The rows of whose scores it is made."""
        named: str | tuple[str, ...] = getattr(self, self.making) if self.making else ()
        return (named,) if isinstance(named, str) else named

    @property
    def donors(self) -> tuple[str, ...]:
        """The methods that it takes encoders from, or learns from as its teachers: trained before it is."""
        encoders = [encoder.donor for encoder in self.encoders.values() if encoder.donor]
        teachers = [name for objective in self.objectives for name in objective.teachers.values()]
        return tuple(dict.fromkeys([*encoders, *teachers]))

    @property
    def objectives(self) -> Objectives:
        """Those that its own `train` says; the study's have no teachers."""
        said: Objectives = TypeAdapter(Objectives).validate_python(self.train.get("objective", ()))
        return said

    @property
    def sources(self) -> set[str]:
        """The methods that it is made from: those whose scores it takes, and its donors."""
        return {*self.made_of, *self.donors}


class Training(NamedTuple):
    """A method that is trained: its name, all that it is, and how it is trained."""

    name: str
    method: Method
    train: Train


@dataclass(frozen=True, config=_STRICT)
class Comparisons:
    """What a study is to decide, named before it runs; nothing else is tested.

    Args:
        contrasts: pairs of methods, the first against the second.
        order: `sequence` tests them as they stand at the full `alpha`, until one shows no difference; `holm`
            tests all of them, in any order, at a stricter level.
        margin: a difference in accuracy, as a share, within which two methods count as equivalent; by default
            equivalence is not tested.
        alpha: how often one of the tests may be wrong where there is no difference.
    """

    contrasts: tuple[tuple[str, str], ...] = ()
    order: Literal["sequence", "holm"] = "holm"
    margin: Annotated[float, Field(gt=0, lt=1)] | None = None
    alpha: Annotated[float, Field(gt=0, le=0.5)] = 0.05


@dataclass(frozen=True, config=_STRICT)
class Evaluate:
    """What is measured beside clips.

    Args:
        continuous: every fold's test recordings are recognised whole, window after window, and scored against
            their labels: of people of whom nothing was trained on, whatever folds are made of.
        stride_s: from one window's start to the next one's; by default half a window.
    """

    continuous: bool = False
    stride_s: Annotated[float | None, Field(ge=FINEST_S, le=LONGEST_S)] = None


@dataclass(frozen=True, config=_STRICT)
class Study:
    """A whole study: methods x folds x seeds on one data set.

    Args:
        name, dataset: what it is called, and the data set's `"package.module:NAME"`.
        modalities: those that its methods may use.
        methods: the rows of its table, by name.
        encoders: those of every method that does not name its own, by modality.
        seeds: each trains every method in every fold; ensembles are over them.
        protocol: who trains, who validates and who is tested.
        train: how methods are trained that say nothing else.
        comparisons: what it is to decide.
        evaluate: what is measured beside clips.
        unlabelled: what time without a label is: an `activity` of its own, left out (`leave-out`), or refused
            where scores are low (`refuse`); by default the first where clips are cut so, else the second.
        doctor: whether the doctor looks at its recordings before it runs, and says what it finds.
        missing: what becomes of clips that lack a modality which some method reads: the study is refused, or
            they are dropped, or they stay, and each method does without what it can do without.
    """

    name: str
    dataset: str
    modalities: tuple[str, ...]
    methods: dict[str, Method]
    encoders: dict[str, Encoder] = field(default_factory=dict)
    seeds: tuple[Seed, ...] = (0,)
    protocol: Protocol = field(default_factory=Protocol)
    train: Train = field(default_factory=Train)
    comparisons: Comparisons = field(default_factory=Comparisons)
    evaluate: Evaluate = field(default_factory=Evaluate)
    unlabelled: Policy | None = None
    missing: Missing = "drop"
    doctor: bool = True

    def method(self, name: str) -> Method:
        """The method `name`; encoders from donors are spelled out as whoever first trained them has them.

        So are the features in front of blocks that are trained, and `zero_h = "pretrained"`: true where every
        encoder comes from a donor, is run once, or is a network some blocks of which are trained.
        """
        method = self.methods[name]
        encoders = {modality: encoder.spelled for modality, encoder in method.encoders.items()}
        for modality, encoder in encoders.items():
            if encoder.donor:
                first = self.method(encoder.donor).encoders.get(modality, Encoder())
                origin: dict[str, Any] = {"from": encoder.donor, "frozen": encoder.frozen}
                origin["trainable"] = first.trainable
                encoders[modality] = Encoder(first.features, first.use, first.args, **origin)
        args = method.args
        if args.get("zero_h") == PRETRAINED:
            own = (method.encoders.get(modality, Encoder()) for modality in method.modalities)
            args = {**args, "zero_h": all(e.donor or e.trainable or (e.features and not e.use) for e in own)}
        return replace(method, args=args, encoders=encoders)

    def teachers(self, train: Train) -> dict[str, tuple[str, Encoder]]:
        """By modality, the method whose encoder objectives look at in a training, and how that is made."""
        return {
            modality: (teacher, self.method(teacher).encoders.get(modality, Encoder()))
            for objective in train.objective
            for modality, teacher in objective.teachers.items()
        }

    @property
    def needed(self) -> tuple[str, ...]:
        """The modalities that its methods use, in the study's order."""
        used = {modality for method in self.methods.values() for modality in method.modalities}
        return tuple(modality for modality in self.modalities if modality in used)

    def only(self, patterns: Sequence[str]) -> "Study":
        """The methods whose names match one of `patterns` (`*`, `?`), and those that they are made from.

        Raises:
            ConfigError: a pattern matches no method.
        """
        wanted: list[str] = []
        for pattern in patterns:
            names = matching(pattern, self.methods)
            if not names:
                raise ConfigError(f"only: no method {pattern!r}, expected some of: {', '.join(self.methods)}")
            wanted += names
        kept: set[str] = set()
        while wanted:
            name = wanted.pop()
            kept.add(name)
            wanted += self.methods[name].sources
        return self._restricted_to(kept)

    def without(self, names: Collection[str]) -> "Study":
        """All methods but these, and but those that are made from them."""
        lost: set[str] = set(names)
        while more := {name for name in self.methods.keys() - lost if lost & self.methods[name].sources}:
            lost |= more
        return self._restricted_to(self.methods.keys() - lost)

    def _restricted_to(self, names: Collection[str]) -> "Study":
        return replace(self, methods={name: method for name, method in self.methods.items() if name in names})

    def order(self) -> tuple[str, ...]:
        """The methods that are trained, donors before those who take encoders from them."""
        names: dict[str, None] = {}

        def add(name: str) -> None:
            for donor in self.methods[name].donors:
                if donor not in names:
                    add(donor)
            names[name] = None

        for name, method in self.methods.items():
            if method.use:
                add(name)
        return tuple(names)

    def trainings(self) -> tuple[Training, ...]:
        """Every method that is trained, donors first, with all that it is and how it is trained."""
        return tuple(Training(name, self.method(name), self.training(name)) for name in self.order())

    def training(self, method: str) -> Train:
        """The training settings of `method`: the study's, overridden by its own."""
        overridden = override(asdict(self.train), self.methods[method].train)
        return validated(Train, overridden, self.name, ("methods", method, "train"))


def known_of(protocol: Mapping[str, Any]) -> str:
    """What networks know of those who are tested, in words that follow "people who are"."""
    return KNOWN.get(str(protocol.get("kind")), UNKNOWN)


def override(base: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `own` settings on top; optimizer args are kept only under the same optimizer."""
    merged = {**base, **own}
    args = own.get("args", {})
    if merged["optimizer"] != base["optimizer"]:
        merged["args"] = args
    elif isinstance(args, Mapping):
        merged["args"] = {**base["args"], **args}
    return merged


def validated(kind: type[T], value: Any, file: str, prefix: tuple[str, ...] = ()) -> T:
    """`value` as a `kind`.

    Args:
        kind: a type that pydantic knows.
        value: what a file says.
        file: its name, for errors.
        prefix: the path within it, for errors.

    Raises:
        ConfigError: an unknown key, one that is missing, or a value that its key does not take.
    """
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors()[0]
        loc = (*prefix, *(str(part) for part in first["loc"]))
        if first["type"] == "unexpected_keyword_argument":
            table = kind if len(first["loc"]) == 1 and is_dataclass(kind) else _table_at(loc[:-1])
            keys = [getattr(f.default, "alias", None) or f.name for f in fields(table)]
            keys += ["extends"] if len(loc) == 1 else []
            near = difflib.get_close_matches(loc[-1], keys, 1)
            message = f"unknown key, did you mean {near[0]!r}?" if near else "unknown key"
            message += f" Expected one of: {', '.join(keys)}"
        elif first["type"] == "missing":
            message = "missing, expected a value"
        else:
            message = f"got {quote(first['input'])}: {first['msg']}"
        raise ConfigError(f"{file}: {'.'.join(loc)}: {message}") from error


def _table_at(loc: tuple[str, ...]) -> Any:
    """The dataclass behind the table at `loc` of a study file."""
    match loc:
        case ("protocol",):
            return Protocol
        case ("comparisons",):
            return Comparisons
        case ("evaluate",):
            return Evaluate
        case ("train",) | ("methods", _, "train"):
            return Train
        case (*_, "schedule"):
            return Schedule
        case (*_, "objective", _):
            return Objective
        case ("methods", _):
            return Method
        case (*_, "encoders", _, "features"):
            return Extraction
        case (*_, "encoders", _, "trainable"):
            return Trainable
        case ("encoders", _) | ("methods", _, "encoders", _):
            return Encoder
        case _:
            return Study

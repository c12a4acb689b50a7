"""A study file as frozen dataclasses: read, overridden, validated, resolved."""

import difflib
import fnmatch
import itertools
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ConfigDict, Field, NonNegativeInt, PositiveInt, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from plait.errors import ConfigError
from plait.features import Extraction

T = TypeVar("T")
_STRICT = ConfigDict(extra="forbid", coerce_numbers_to_str=True)


@dataclass(frozen=True, config=_STRICT)
class Protocol:
    """Who trains, validates and is tested.

    `leave-one-subject-out` tests every subject once, or every one of `subjects` if given, and leaves all others alone;
    the `val_subjects` next ones in sorted order, cyclic, validate. None have to where `choose = "last"`.
    `fixed` takes `train`, `val` and `test` as lists of subjects. With `refit`, a method is trained once more on the
    training and validation subjects together, for as many epochs as validation chose.
    """

    kind: Literal["leave-one-subject-out", "fixed"] = "leave-one-subject-out"
    val_subjects: NonNegativeInt = 1
    subjects: tuple[str, ...] = ()
    train: tuple[str, ...] = ()
    val: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    refit: bool = False


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
    long as the optimizer is the same. `folds_at_once` folds of a method are trained side by side, their parameters
    stacked: the same training up to rounding, save for what a network itself draws at random.
    """

    optimizer: str = "torch.optim:RMSprop"
    args: dict[str, Any] = field(default_factory=lambda: dict(_RMSPROP))
    schedule: Schedule | None = None
    batch_size: PositiveInt = 8
    patience: PositiveInt = 20
    max_epochs: PositiveInt = 200
    label_smoothing: float = 0.0
    choose: Literal["best", "last"] = "best"
    folds_at_once: PositiveInt = 1


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
    seeds: tuple[int, ...] = (0,)
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
                encoders[modality] = Encoder(first.features, first.use, first.args, frozen=own.frozen, **alias)
        return replace(method, encoders=encoders)

    def only(self, patterns: Sequence[str]) -> "Study":
        """The methods whose names match one of `patterns` (`*`, `?`), and those that they are made from.

        Raises:
            ConfigError: a pattern matches no method.
        """
        wanted: list[str] = []
        for pattern in patterns:
            found = fnmatch.filter(self.methods, pattern.replace("[", "[[]"))  # rows of a sweep have brackets
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

    def training(self, method: str) -> Train:
        """The training settings of `method`: the study's, overridden by its own."""
        overridden = _override(asdict(self.train), self.methods[method].train)
        return _validate(Train, overridden, self.name, ("methods", method, "train"))


def load_study(source: Path | str | Mapping[str, Any], sets: Sequence[str] = ()) -> Study:
    """Read a study file, or a mapping of the same form, and apply `key.path=value` overrides.

    A file may say `extends = "other.toml"`, relative to itself: it is then laid on top of that file, table by table.

    Raises:
        ConfigError: the file cannot be read, a key is unknown, or a value is not what its key expects.
    """
    if isinstance(source, Mapping):
        file, table = "study", _copied(source)
    else:
        table, file = _read(Path(source))
    for text in sets:
        _apply(table, text)
    train = table.get("train")
    if isinstance(train, dict):
        table["train"] = _override(asdict(Train()), train)
    return _resolved(_validate(Study, table, file), file)


def setting(text: str) -> tuple[str, Any]:
    """The key and value of `key=value`; the value is TOML, or else a string.

    Raises:
        ConfigError: it is not of that form.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {text}: expected key.path=value")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def _read(path: Path, readers: tuple[Path, ...] = ()) -> tuple[dict[str, Any], str]:
    """A study file's table, on top of the file's that it `extends`, if any, and how to call it in errors."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a TOML file: {error}") from error
    base = table.pop("extends", None)
    if base is None:
        return table, str(path)
    if not isinstance(base, str) or path.resolve() in readers:
        raise ConfigError(f"{path}: extends: got {base!r}, expected the path of another study file")
    below, called = _read(path.parent / base, (*readers, path.resolve()))
    return _merged(below, table), f"{path} (extends {called})"


def _merged(base: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `own` on top, table by table."""
    for key, value in own.items():
        below = base.get(key)
        base[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, Mapping) else value
    return base


def _copied(source: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copied(value) if isinstance(value, Mapping) else value for key, value in source.items()}


def _apply(table: dict[str, Any], text: str) -> None:
    """Write one `key.path=value` into `table`; the value is TOML, or else a string."""
    path, value = setting(text)
    keys = path.split(".")
    if not all(keys):
        raise ConfigError(f"--set {text}: expected key.path=value")
    for key in keys[:-1]:
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise ConfigError(f"--set {text}: {key!r} holds a value, expected a table")
    table[keys[-1]] = value


def _override(base: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `own` settings on top; optimizer args are kept only under the same optimizer."""
    merged = {**base, **own}
    same = own.get("optimizer", base["optimizer"]) == base["optimizer"]
    if same and isinstance(own.get("args", {}), Mapping):
        merged["args"] = {**base["args"], **own.get("args", {})}
    elif not same:
        merged["args"] = own.get("args", {})
    return merged


def _validate(kind: type[T], value: Any, file: str, prefix: tuple[str, ...] = ()) -> T:
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
            message = f"got {first['input']!r}: {message}"
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


def _resolved(study: Study, file: str) -> Study:
    """Sweeps expanded, every method's modalities filled in, names checked against each other."""
    if not study.methods:
        raise ConfigError(f"{file}: methods: empty, expected at least one [methods.NAME]")
    if not study.seeds or len(set(study.seeds)) < len(study.seeds):
        raise ConfigError(f"{file}: seeds: got {list(study.seeds)}, expected at least one, each once")
    if not study.modalities or len(set(study.modalities)) < len(study.modalities):
        raise ConfigError(f"{file}: modalities: got {list(study.modalities)}, expected at least one, each once")
    for name, own in study.encoders.items():
        if name not in study.modalities:
            known = ", ".join(study.modalities)
            raise ConfigError(f"{file}: encoders: unknown modality {name!r}, expected one of: {known}")
        if own.donor:
            raise ConfigError(f"{file}: encoders.{name}.from: expected 'use' or 'features', for it is for all methods")
    methods = {row: method for name, m in study.methods.items() for row, method in _swept(name, m)}
    for name, method in methods.items():
        where = f"{file}: methods.{name}"
        if bool(method.use) == bool(method.average):
            raise ConfigError(f"{where}: expected exactly one of 'use' and 'average'")
        if method.use:
            methods[name] = _checked(method, study, where)
    for name, method in methods.items():
        where = f"{file}: methods.{name}"
        if method.average:
            methods[name] = _checked_average(method, methods, where)
        else:
            _check_encoders(name, methods, where)
    resolved = replace(study, methods=methods)
    for name in methods:
        resolved.training(name)
    return resolved


def _swept(name: str, method: Method) -> Iterator[tuple[str, Method]]:
    if not method.sweep:
        yield name, method
        return
    for values in itertools.product(*method.sweep.values()):
        own = dict(zip(method.sweep, values, strict=True))
        label = ",".join(f"{key}={value}" for key, value in own.items())
        yield f"{name}[{label}]", replace(method, args={**method.args, **own}, sweep={}, swept=own)


def _checked(method: Method, study: Study, where: str) -> Method:
    named = method.args.get("modality")
    modalities = method.modalities or ((str(named),) if named is not None else study.modalities)
    for key, names in (("modalities", modalities), ("encoders", method.encoders), ("augment", method.augment)):
        allowed = study.modalities if key == "modalities" else modalities
        for name in names:
            if name not in allowed:
                raise ConfigError(f"{where}.{key}: unknown modality {name!r}, expected one of: {', '.join(allowed)}")
    shared = {name: own for name, own in study.encoders.items() if name in modalities}
    return replace(method, modalities=modalities, encoders={**shared, **method.encoders})


def _check_encoders(name: str, methods: Mapping[str, Method], where: str) -> None:
    """Refuse encoders from nowhere, from two places at once, or from a method that waits for this one."""
    for modality, own in methods[name].encoders.items():
        here = f"{where}.encoders.{modality}"
        if own.donor and own.features:
            raise ConfigError(f"{here}.features: they are the donor's, expected none beside 'from'")
        if bool(own.use) == bool(own.donor) and (own.donor or not own.features):
            raise ConfigError(f"{here}: expected exactly one of 'use' and 'from'")
        if own.args and not own.use and not own.donor:
            raise ConfigError(f"{here}.args: expected 'use' beside them; those of features are features.args")
        if own.features and modality in methods[name].augment:
            raise ConfigError(f"{where}.augment.{modality}: its features are made once, as they are")
        if own.donor is None:
            if own.frozen:
                raise ConfigError(f"{here}.frozen: only an encoder 'from' another method is trained already")
            continue
        if own.args:
            raise ConfigError(f"{here}.args: they are the donor's, expected none beside 'from'")
        donors = [other for other, m in methods.items() if m.use and modality in m.modalities and other != name]
        if own.donor not in donors:
            known = ", ".join(donors) or "none"
            raise ConfigError(f"{here}.from: no other method {own.donor!r} trains {modality}, expected one of: {known}")
        if own.frozen and modality in methods[name].augment:
            raise ConfigError(
                f"{where}.augment.{modality}: its encoder is frozen, and its grids are made once, as they are"
            )
        if name in _ancestors(own.donor, methods, set()):
            raise ConfigError(f"{here}.from: {own.donor!r} itself waits for {name!r}, expected a donor that runs first")


def _ancestors(name: str, methods: Mapping[str, Method], found: set[str]) -> set[str]:
    """All methods that `name` has encoders from, directly or not."""
    for own in methods[name].encoders.values():
        if own.donor is not None and own.donor in methods and own.donor not in found:
            found.add(own.donor)
            _ancestors(own.donor, methods, found)
    return found


def _checked_average(method: Method, methods: Mapping[str, Method], where: str) -> Method:
    if len(set(method.average)) < 2:
        raise ConfigError(f"{where}.average: got {list(method.average)}, expected two methods or more")
    own = {key for key in ("args", "encoders", "augment", "train") if getattr(method, key)}
    if own:
        raise ConfigError(f"{where}: an average trains nothing, so it takes no {sorted(own)[0]!r}")
    trained = [name for name, m in methods.items() if m.use]
    for name in method.average:
        if name not in trained:
            raise ConfigError(f"{where}.average: no trained method {name!r}, expected some of: {', '.join(trained)}")
    used = dict.fromkeys(modality for name in method.average for modality in methods[name].modalities)
    return replace(method, modalities=tuple(used))

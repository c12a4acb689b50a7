"""A study file read, overridden, its sweeps expanded and its names checked against each other."""

import difflib
import itertools
import math
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from plait.config import (
    MAKINGS,
    Comparisons,
    Encoder,
    Method,
    Mixing,
    Objectives,
    Stacking,
    Study,
    Train,
    override,
    validated,
)
from plait.errors import ConfigError, PlaitWarning, one_line, quote
from plait.store import read_bytes, toml_of
from plait.study.likes import left_as_they_were
from plait.study.shipped import own_studies, study_path

MOST_ROWS = 1000  # of a sweep
_ARGS: dict[str, type] = {"mixture": Mixing, "stack": Stacking}


def load_study(
    source: Path | str | Mapping[str, Any], sets: Sequence[str] = (), *, whole: bool = True
) -> Study:
    """Read a study file, or a mapping of the same form, and apply `key.path=value` overrides.

    A file that is not there may be one of plait's own (`plait.study.shipped`).
    A file may say `extends = "other.toml"`, relative to itself: it is then laid on top of that file, table by
    table; `without = ["methods.static"]` beside it names keys of that file that are left out. A method may
    say `like = "another"`: it is then that method but for what it says itself.

    Args:
        source: the file, plait's own study's name, or the mapping.
        sets: overrides. What is set for one method is set for it alone; those that are like it and would have
            had it in a file are named in a warning.
        whole: whether all methods of its contrasts must stand in it; of a run, which may be of some, they
            need not.

    Raises:
        ConfigError: the file cannot be read, a key is unknown, or a value is not what its key expects.
    """
    file = "study" if isinstance(source, Mapping) else str(source)
    likes: dict[str, str] = {}
    try:
        if isinstance(source, Mapping):
            table = _spell_out(_copy(source), {}, file, likes)
        else:
            table, file = _read(study_path(source), likes)
        before = _copy(_as_table(table.get("methods")))
        for text in sets:
            _apply(table, text)
        for line in left_as_they_were(before, _as_table(table.get("methods")), map(setting, sets), likes):
            warnings.warn(line, PlaitWarning, stacklevel=2)
        train = table.get("train")
        if isinstance(train, dict):
            table["train"] = override(asdict(Train()), train)
        return _resolve(validated(Study, table, file), file, whole)
    except RecursionError:
        raise ConfigError(f"{file}: methods: too many that build upon each other in a row") from None


def setting(text: str) -> tuple[str, Any]:
    """The key and value of `key=value`; the value is TOML, or else a string.

    Raises:
        ConfigError: it is not of that form.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {text}: expected key.path=value")
    try:
        return key.strip(), toml_of(f"value = {value}")["value"]
    except ValueError:
        return key.strip(), value.strip()


def _read(path: Path, likes: dict[str, str], readers: tuple[Path, ...] = ()) -> tuple[dict[str, Any], str]:
    """A study file's table, on top of the file's that it `extends`, if any, and how to call it in errors.

    Which method is like which is noted in `likes`.
    """
    try:
        table = toml_of(read_bytes(path).decode())
    except OSError as error:
        hint = ""
        if isinstance(error, FileNotFoundError) and (
            near := difflib.get_close_matches(path.stem, own_studies(), 1)
        ):
            hint = f"; of plait's own studies there is {near[0]}"
        raise ConfigError(f"{path}: cannot be read: {error.strerror}{hint}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not a TOML file: {one_line(error)}") from error
    base, left_out = table.pop("extends", None), table.pop("without", [])
    if base is None and not left_out:
        return _spell_out(table, {}, str(path), likes), str(path)
    if not isinstance(base, str) or path.resolve() in readers:
        raise ConfigError(f"{path}: extends: got {base!r}, expected the path of another study file")
    below, called = _read(study_path(base, path.parent), likes, (*readers, path.resolve()))
    for key in left_out if isinstance(left_out, list) else [left_out]:
        _leave_out(below, key, path)
    return _merge(below, _spell_out(table, below, str(path), likes)), f"{path} (extends {called})"


def _spell_out(
    table: dict[str, Any], below: Mapping[str, Any], file: str, likes: dict[str, str]
) -> dict[str, Any]:
    """A study's table with every method that is `like` another spelled out: the other's keys, its own on top.

    The other is a method of the same file, or of those `below` it. Which is like which is noted in `likes`.

    Raises:
        ConfigError: there is no such method, or it is like itself.
    """
    methods = table.get("methods")
    if not isinstance(methods, dict):
        return table
    bases = {**_as_table(below.get("methods")), **methods}

    def spell_out(name: str, heirs: tuple[str, ...] = ()) -> Any:
        method = bases[name]
        if not isinstance(method, dict) or "like" not in method:
            return method
        like = method["like"]
        if not isinstance(like, str) or like not in bases or like in (*heirs, name):
            got = f"{file}: methods.{name}.like: got {quote(like)}"
            raise ConfigError(f"{got}, expected another method of this file")
        likes[name] = like
        base = _copy(_as_table(spell_out(like, (*heirs, name))))
        return _merge(base, {key: value for key, value in method.items() if key != "like"}, like=True)

    return {**table, "methods": {name: spell_out(name) for name in methods}}


def _merge(base: dict[str, Any], top: Mapping[str, Any], like: bool = False) -> dict[str, Any]:
    """`top` on top of `base`, table by table.

    The tables of a file and of the one that it extends are two parts of one: what the upper one does not name
    stays. A method that is `like` another is a method of its own: an empty table of its says that nothing is
    in it, and `args` of the other's `use` or `from` are nothing to one that names another.
    """
    if like and any(key in top and top[key] != base.get(key) for key in ("use", "from")):
        base.pop("args", None)
    for key, value in top.items():
        inner = base.get(key)
        if isinstance(inner, dict) and isinstance(value, Mapping) and (value or not like):
            value = _merge(inner, value, like)
        base[key] = value
    return base


def _as_table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _leave_out(table: dict[str, Any], key: Any, path: Path) -> None:
    """Take one `key.path` out of the table that a file extends."""
    *above, last = str(key).split(".")
    inner: Any = table
    for name in above:
        inner = inner.get(name) if isinstance(inner, dict) else None
    if not isinstance(inner, dict) or last not in inner:
        raise ConfigError(f"{path}: without: {key!r}, expected a key of the file that is extended")
    del inner[last]


def _copy(source: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in source.items()}


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


def _resolve(study: Study, file: str, whole: bool) -> Study:
    """Sweeps expanded, every method's modalities filled in, names checked against each other."""
    if not study.methods:
        raise ConfigError(f"{file}: methods: empty, expected at least one [methods.NAME]")
    for key, values in (("seeds", study.seeds), ("modalities", study.modalities)):
        if not values or len(set(values)) < len(values):
            raise ConfigError(f"{file}: {key}: got {list(values)}, expected at least one, each once")
    for modality, encoder in study.encoders.items():
        if modality not in study.modalities:
            unknown = f"{file}: encoders: unknown modality {modality!r}"
            raise ConfigError(f"{unknown}, expected one of: {', '.join(study.modalities)}")
        if encoder.donor:
            where = f"{file}: encoders.{modality}.from"
            raise ConfigError(f"{where}: expected 'use' or 'features', for it is for all methods")
    methods: dict[str, Method] = {}
    for name, swept in study.methods.items():
        for row, method in _expand_sweep(name, swept, file):
            if row in methods:
                raise ConfigError(f"{file}: methods.{name}: comes to a row {row!r}, which is there already")
            methods[row] = method
    if any(objective.teachers for objective in study.train.objective):
        where = f"{file}: train.objective.teachers"
        raise ConfigError(f"{where}: they are a method's own, expected them in methods.NAME.train.objective")
    for name, method in methods.items():
        where = f"{file}: methods.{name}"
        if "objective" in method.train:
            methods[name] = method = _spell_objectives(name, method, file)
        kinds = ("use", *MAKINGS)
        if sum(bool(getattr(method, kind)) for kind in kinds) != 1:
            expected = f"{', '.join(map(repr, kinds[:-1]))} and {kinds[-1]!r}"
            raise ConfigError(f"{where}: expected exactly one of {expected}")
        if method.use:
            methods[name] = _fill_in(method, study, where)
    for name, method in methods.items():
        if method.use:
            _check_encoders(name, methods, f"{file}: methods.{name}")
    for name, method in methods.items():  # those of which an ensemble may be made come before ensembles
        if method.making and not method.ensemble:
            methods[name] = _fill_in_made(name, methods, file)
    for name, method in methods.items():
        if method.ensemble:
            methods[name] = _fill_in_made(name, methods, file)
    resolved = replace(study, methods=methods)
    for name in methods:
        _check_teachers(name, resolved, f"{file}: methods.{name}")
    if study.evaluate.continuous and study.protocol.kind == "leave-one-session-out":
        raise ConfigError(
            f"{file}: evaluate.continuous: of people who were not trained on, expected no kind = "
            "'leave-one-session-out'"
        )
    if whole:
        _check_comparisons(study.comparisons, methods, file)
    chooses = [resolved.training(name).choose for name in methods]
    protocol = study.protocol
    if protocol.val_subjects is None and protocol.kind not in ("fixed", "fixed-sessions"):
        protocol = replace(protocol, val_subjects=int("best" in chooses and not protocol.val))
    return replace(resolved, protocol=protocol)


def _check_comparisons(comparisons: Comparisons, methods: Mapping[str, Method], file: str) -> None:
    """Refuse contrasts of methods that there are not, of one with itself, twice, or with a row of a sweep."""
    seen: set[frozenset[str]] = set()
    for contrast in comparisons.contrasts:
        where = f"{file}: comparisons.contrasts: {list(contrast)}"
        for name in contrast:
            if name not in methods:
                raise ConfigError(f"{where}: no method {name!r}, expected two of: {', '.join(methods)}")
        if len(set(contrast)) < 2 or frozenset(contrast) in seen:
            raise ConfigError(f"{where}: expected two different methods, each pair once")
        if methods[contrast[1]].swept:
            raise ConfigError(
                f"{where}: {contrast[1]!r} is a row of a sweep, expected a method to compare to"
            )
        seen.add(frozenset(contrast))


def _spell_objectives(name: str, method: Method, file: str) -> Method:
    """The method with its objectives in a list, checked, and without what they leave empty."""
    at = ("methods", name, "train", "objective")
    row = validated(Objectives, method.train["objective"], file, at)
    if not row:
        plain = "plain training is plait.training.objectives:CrossEntropy"
        raise ConfigError(f"{file}: {'.'.join(at)}: empty, expected one or more; {plain}")
    tables = [{key: value for key, value in asdict(one).items() if value} for one in row]
    return replace(method, train={**method.train, "objective": tables})


def _expand_sweep(name: str, method: Method, file: str) -> Iterator[tuple[str, Method]]:
    if not method.sweep:
        yield name, method
        return
    rows = math.prod(len(values) for values in method.sweep.values())
    if not 1 <= rows <= MOST_ROWS:
        raise ConfigError(f"{file}: methods.{name}.sweep: comes to {rows} rows, expected 1 to {MOST_ROWS}")
    for values in itertools.product(*method.sweep.values()):
        swept = dict(zip(method.sweep, values, strict=True))
        label = ",".join(f"{key}={value}" for key, value in swept.items())
        yield f"{name}[{label}]", replace(method, args={**method.args, **swept}, sweep={}, swept=swept)


def _fill_in(method: Method, study: Study, where: str) -> Method:
    """A method that is trained, with its modalities, and with encoders that are the study's."""
    alone = method.args.get("modality")
    modalities = method.modalities or (study.modalities if alone is None else (str(alone),))
    named: dict[str, Collection[str]] = {"encoders": method.encoders, "augment": method.augment}
    for key, names in {"modalities": modalities, **named}.items():
        allowed = study.modalities if key == "modalities" else modalities
        for name in names:
            if name not in allowed:
                unknown = f"{where}.{key}: unknown modality {name!r}"
                raise ConfigError(f"{unknown}, expected one of: {', '.join(allowed)}")
    shared = {name: encoder for name, encoder in study.encoders.items() if name in modalities}
    return replace(method, modalities=modalities, encoders={**shared, **method.encoders})


def _check_encoders(name: str, methods: Mapping[str, Method], where: str) -> None:
    """Refuse encoders from nowhere, from two places at once, or from a method that waits for this one."""
    augmented = methods[name].augment
    for modality, encoder in methods[name].encoders.items():
        here = f"{where}.encoders.{modality}"
        if encoder.trainable:
            _check_trainable(encoder, modality in augmented, where, modality)
        if encoder.donor and encoder.features:
            raise ConfigError(f"{here}.features: they are the donor's, expected none beside 'from'")
        if bool(encoder.use) == bool(encoder.donor) and (encoder.donor or not encoder.features):
            raise ConfigError(f"{here}: expected exactly one of 'use' and 'from'")
        if encoder.args and not encoder.use and not encoder.donor:
            raise ConfigError(f"{here}.args: expected 'use' beside them; those of features are features.args")
        if encoder.features and modality in augmented:
            raise ConfigError(f"{where}.augment.{modality}: its features are made once, as they are")
        if encoder.donor is None:
            if encoder.frozen:
                raise ConfigError(f"{here}.frozen: only an encoder 'from' another method is trained already")
            continue
        if encoder.args:
            raise ConfigError(f"{here}.args: they are the donor's, expected none beside 'from'")
        trainers = [row for row, method in methods.items() if method.use and modality in method.modalities]
        donors = [row for row in trainers if row != name]
        if encoder.donor not in donors:
            unknown = f"{here}.from: no other method {encoder.donor!r} trains {modality}"
            raise ConfigError(f"{unknown}, expected one of: {', '.join(donors) or 'none'}")
        if encoder.frozen and modality in augmented:
            frozen = "its encoder is frozen, and its grids are made once, as they are"
            raise ConfigError(f"{where}.augment.{modality}: {frozen}")
        if modality in augmented and _first_of(name, modality, methods).spelled.features:
            made = f"{encoder.donor!r} is given features of it, which are made once, as they are"
            raise ConfigError(f"{where}.augment.{modality}: {made}")
        if name in _ancestors(encoder.donor, methods, set()):
            waits = f"{encoder.donor!r} itself waits for {name!r}"
            raise ConfigError(f"{here}.from: {waits}, expected a donor that runs first")


def _first_of(name: str, modality: str, methods: Mapping[str, Method]) -> Encoder:
    """The encoder of a modality as whoever trains it first has it; none where donors wait for each other."""
    seen: set[str] = set()
    while name in methods and name not in seen:
        seen.add(name)
        encoder = methods[name].encoders.get(modality, Encoder())
        if encoder.donor is None:
            return encoder
        name = encoder.donor
    return Encoder()


def _check_trainable(encoder: Encoder, augmented: bool, where: str, modality: str) -> None:
    """Refuse blocks that are trained of no network, behind other features, or on augmented clips."""
    here = f"{where}.encoders.{modality}.trainable"
    if encoder.donor:
        raise ConfigError(f"{here}: it is the donor's, expected none beside 'from'")
    if not encoder.use:
        raise ConfigError(f"{here}: expected 'use' beside it, the network whose blocks these are")
    if encoder.features:
        raise ConfigError(f"{here}: expected no 'features' beside it, for it makes its own")
    if augmented:
        raise ConfigError(f"{where}.augment.{modality}: what is in front of its trained blocks is made once")


def _check_teachers(name: str, study: Study, where: str) -> None:
    """Refuse teachers that are none, that see something else, or that wait for this method."""
    methods = study.methods
    for objective in methods[name].objectives:
        for modality, teacher in objective.teachers.items():
            here = f"{where}.train.objective.teachers.{modality}"
            if modality not in methods[name].modalities:
                expected = ", ".join(methods[name].modalities)
                raise ConfigError(f"{here}: unknown modality {modality!r}, expected one of: {expected}")
            trainers = [row for row, other in methods.items() if other.use and modality in other.modalities]
            teachers = [row for row in trainers if row != name]
            if teacher not in teachers:
                unknown = f"{here}: no other method {teacher!r} trains {modality}"
                raise ConfigError(f"{unknown}, expected one of: {', '.join(teachers) or 'none'}")
            if name in _ancestors(teacher, methods, set()):
                waits = f"{teacher!r} itself waits for {name!r}"
                raise ConfigError(f"{here}: {waits}, expected a teacher that runs first")
            pair = (study.method(each).encoders.get(modality, Encoder()).features for each in (teacher, name))
            if len({str(features) for features in pair}) > 1:
                raise ConfigError(f"{here}: {teacher!r} is given other features, expected the same of both")


def _ancestors(name: str, methods: Mapping[str, Method], ancestors: set[str]) -> set[str]:
    """`ancestors`, and all methods besides that `name` has encoders or teachers from, directly or not."""
    for donor in methods[name].donors:
        if donor in methods and donor not in ancestors:
            ancestors.add(donor)
            _ancestors(donor, methods, ancestors)
    return ancestors


def _fill_in_made(name: str, methods: Mapping[str, Method], file: str) -> Method:
    """A row that is made of other rows' scores, with their modalities and, in `args`, all that decides it."""
    method, where = methods[name], f"{file}: methods.{name}"
    making, kind = method.making, _ARGS.get(method.making or "")
    article = "an" if str(making)[0] in "ae" else "a"
    for key in ("augment", "encoders", "train", *(() if kind else ("args",))):
        if getattr(method, key):
            raise ConfigError(f"{where}: {article} {making} trains no network, so it takes no {key!r}")
    if making != "ensemble" and (len(method.made_of) < 2 or len(set(method.made_of)) < len(method.made_of)):
        expected = "expected two methods or more, each once"
        raise ConfigError(f"{where}.{making}: got {list(method.made_of)}, {expected}")
    able = [
        row for row, other in methods.items() if other.use or (making == "ensemble" and not other.ensemble)
    ]
    for row in method.made_of:
        if row not in able:
            near = difflib.get_close_matches(row, able, 1)
            unknown = f"{where}.{making}: no {'row' if making == 'ensemble' else 'trained method'} {row!r}"
            hint = f", did you mean {near[0]!r}? Expected" if near else ", expected"
            raise ConfigError(f"{unknown}{hint} some of: {', '.join(able)}")
    args = method.args
    if kind:
        args = asdict(validated(kind, args, file, ("methods", name, "args")))
    modalities = dict.fromkeys(modality for row in method.made_of for modality in methods[row].modalities)
    return replace(method, args=args, modalities=tuple(modalities))

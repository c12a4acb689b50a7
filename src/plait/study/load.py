"""A study file read, overridden, its sweeps expanded and its names checked against each other."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from plait.config import Method, Study, Train, override, validated
from plait.errors import ConfigError, one_line, shown
from plait.store import read_bytes, toml_of

MOST_ROWS = 1000  # of a sweep


def load_study(source: Path | str | Mapping[str, Any], sets: Sequence[str] = ()) -> Study:
    """Read a study file, or a mapping of the same form, and apply `key.path=value` overrides.

    A file may say `extends = "other.toml"`, relative to itself: it is then laid on top of that file, table by table;
    `without = ["methods.static"]` beside it names keys of that file that are left out. A method may say
    `like = "another"`: it is then that method but for what it says itself.

    Raises:
        ConfigError: the file cannot be read, a key is unknown, or a value is not what its key expects.
    """
    if isinstance(source, Mapping):
        file, table = "study", _filled(_copied(source), {}, "study")
    else:
        table, file = _read(Path(source))
    for text in sets:
        _apply(table, text)
    train = table.get("train")
    if isinstance(train, dict):
        table["train"] = override(asdict(Train()), train)
    try:
        return _resolved(validated(Study, table, file), file)
    except RecursionError:
        raise ConfigError(f"{file}: methods: too many that take encoders from each other in a row") from None


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


def _read(path: Path, readers: tuple[Path, ...] = ()) -> tuple[dict[str, Any], str]:
    """A study file's table, on top of the file's that it `extends`, if any, and how to call it in errors."""
    try:
        table = toml_of(read_bytes(path).decode())
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not a TOML file: {one_line(error)}") from error
    base, left_out = table.pop("extends", None), table.pop("without", [])
    if base is None and not left_out:
        return _filled(table, {}, str(path)), str(path)
    if not isinstance(base, str) or path.resolve() in readers:
        raise ConfigError(f"{path}: extends: got {base!r}, expected the path of another study file")
    below, called = _read(path.parent / base, (*readers, path.resolve()))
    for key in left_out if isinstance(left_out, list) else [left_out]:
        _leave_out(below, key, path)
    return _merged(below, _filled(table, below, str(path))), f"{path} (extends {called})"


def _filled(table: dict[str, Any], below: Mapping[str, Any], file: str) -> dict[str, Any]:
    """A study's table with every method that is `like` another spelled out: the other's keys, its own on top of them.

    The other is one of the same file, or of those `below` it. Under another `use` or `from`, `args` are its own; an
    empty table leaves nothing of the other's.

    Raises:
        ConfigError: there is no such method, or it is like itself.
    """
    methods = table.get("methods")
    if not isinstance(methods, dict):
        return table
    known = {**_table(below.get("methods")), **methods}

    def spelled(name: str, heirs: tuple[str, ...] = ()) -> Any:
        method = known[name]
        if not isinstance(method, dict) or "like" not in method:
            return method
        like = method["like"]
        if not isinstance(like, str) or like not in known or like in (*heirs, name):
            raise ConfigError(
                f"{file}: methods.{name}.like: got {shown(like)}, expected another method of this file"
            )
        base = spelled(like, (*heirs, name))
        return _inherited(
            _copied(_table(base)), {key: value for key, value in method.items() if key != "like"}
        )

    return {**table, "methods": {name: spelled(name) for name in methods}}


def _inherited(base: dict[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """`own` on top of `base`, both tables of a method, or of what it holds."""
    if any(key in own and own[key] != base.get(key) for key in ("use", "from")):
        base.pop("args", None)
    for key, value in own.items():
        inner = base.get(key)
        if isinstance(inner, dict) and isinstance(value, Mapping) and value:
            base[key] = _inherited(inner, value)
        else:
            base[key] = value
    return base


def _table(value: Any) -> dict[str, Any]:
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


def _resolved(study: Study, file: str) -> Study:
    """Sweeps expanded, every method's modalities filled in, names checked against each other."""
    if not study.methods:
        raise ConfigError(f"{file}: methods: empty, expected at least one [methods.NAME]")
    if not study.seeds or len(set(study.seeds)) < len(study.seeds):
        raise ConfigError(f"{file}: seeds: got {list(study.seeds)}, expected at least one, each once")
    if not study.modalities or len(set(study.modalities)) < len(study.modalities):
        raise ConfigError(
            f"{file}: modalities: got {list(study.modalities)}, expected at least one, each once"
        )
    for name, own in study.encoders.items():
        if name not in study.modalities:
            known = ", ".join(study.modalities)
            raise ConfigError(f"{file}: encoders: unknown modality {name!r}, expected one of: {known}")
        if own.donor:
            raise ConfigError(
                f"{file}: encoders.{name}.from: expected 'use' or 'features', for it is for all methods"
            )
    methods: dict[str, Method] = {}
    for name, m in study.methods.items():
        for row, method in _swept(name, m, file):
            if row in methods:
                raise ConfigError(f"{file}: methods.{name}: comes to a row {row!r}, which is there already")
            methods[row] = method
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


def _swept(name: str, method: Method, file: str) -> Iterator[tuple[str, Method]]:
    if not method.sweep:
        yield name, method
        return
    rows = math.prod(len(values) for values in method.sweep.values())
    if not 1 <= rows <= MOST_ROWS:
        raise ConfigError(f"{file}: methods.{name}.sweep: comes to {rows} rows, expected 1 to {MOST_ROWS}")
    for values in itertools.product(*method.sweep.values()):
        own = dict(zip(method.sweep, values, strict=True))
        label = ",".join(f"{key}={value}" for key, value in own.items())
        yield f"{name}[{label}]", replace(method, args={**method.args, **own}, sweep={}, swept=own)


def _checked(method: Method, study: Study, where: str) -> Method:
    named = method.args.get("modality")
    modalities = method.modalities or ((str(named),) if named is not None else study.modalities)
    for key, names in (
        ("modalities", modalities),
        ("encoders", method.encoders),
        ("augment", method.augment),
    ):
        allowed = study.modalities if key == "modalities" else modalities
        for name in names:
            if name not in allowed:
                raise ConfigError(
                    f"{where}.{key}: unknown modality {name!r}, expected one of: {', '.join(allowed)}"
                )
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
        donors = [
            other for other, m in methods.items() if m.use and modality in m.modalities and other != name
        ]
        if own.donor not in donors:
            known = ", ".join(donors) or "none"
            raise ConfigError(
                f"{here}.from: no other method {own.donor!r} trains {modality}, expected one of: {known}"
            )
        if own.frozen and modality in methods[name].augment:
            raise ConfigError(
                f"{where}.augment.{modality}: its encoder is frozen, and its grids are made once, as they are"
            )
        if name in _ancestors(own.donor, methods, set()):
            raise ConfigError(
                f"{here}.from: {own.donor!r} itself waits for {name!r}, expected a donor that runs first"
            )


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
            raise ConfigError(
                f"{where}.average: no trained method {name!r}, expected some of: {', '.join(trained)}"
            )
    used = dict.fromkeys(modality for name in method.average for modality in methods[name].modalities)
    return replace(method, modalities=tuple(used))

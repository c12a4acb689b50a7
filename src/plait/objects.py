"""What settings name as `package.module:Name`, and the code that must travel with it."""

import difflib
import importlib
import importlib.machinery
import importlib.metadata
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from plait.errors import ConfigError, PlaitError, one_line, raised
from plait.source import among_installed


def resolve(path: str, where: str) -> Any:
    """The object that `"package.module:Name"` names; `where` says which setting asked for it.

    Raises:
        ConfigError: the path is not of that form, or nothing is there.
    """
    module, colon, name = path.partition(":")
    if not colon or not module or not name:
        raise ConfigError(f"{where}: got {path!r}, expected 'package.module:Name'")
    try:
        value: Any = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(f"{where}: no module {error.name!r} (from {path!r})") from error
    except TypeError as error:
        raise ConfigError(f"{where}: got {path!r}, expected a module's full name") from error
    except (Exception, SystemExit) as error:  # a user's own code
        raise ConfigError(f"{where}: module {module!r} cannot be imported: {raised(error)}") from error
    for part in name.split("."):
        if not hasattr(value, part):
            near = difflib.get_close_matches(part, dir(value), 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"{where}: module {module!r} has no {part!r}{hint}")
        value = getattr(value, part)
    return value


def made(make: object, positional: tuple[object, ...], named: Mapping[str, object], where: str) -> nn.Module:
    """The module that a class or a function makes.

    Args:
        make: what makes it.
        positional: its arguments by place.
        named: its arguments by name.
        where: which setting asked for it.

    Raises:
        PlaitError: it does not take its arguments, refuses them, or is something else.
    """
    try:
        module = make(*positional, **named)  # type: ignore[operator]
    except PlaitError as error:
        raise type(error)(f"{where}: {error}") from error
    except (TypeError, RuntimeError, MemoryError, OverflowError) as error:  # an odd argument, or too large
        raise ConfigError(f"{where}: {one_line(error)}") from error
    except Exception as error:
        raise ConfigError(f"{where}: {raised(error)}") from error
    if not isinstance(module, nn.Module):
        raise ConfigError(f"{where}: made a {type(module).__name__}, expected a torch.nn.Module")
    return module


def own_modules() -> list[Path]:
    """What must travel: files and package folders of what was imported but not installed, and plait's."""
    paths: set[Path] = set()
    for name, module in list(sys.modules.items()):
        if "." in name or name == "__main__" or not isinstance(module, ModuleType):
            continue
        file = getattr(module, "__file__", None)
        places = list(getattr(module, "__path__", ())) or ([file] if file else [])
        for path in (Path(place).resolve() for place in places):
            foreign = name != "plait" and among_installed(str(path))
            if not foreign and (path.is_dir() or path.suffix == ".py"):
                paths.add(path)
    return sorted(paths)

"""Where a user's own modules are looked for, and which are trusted."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from plait.errors import ConfigError

if TYPE_CHECKING:
    from plait.trust import Trust


def beside(folder: Path) -> None:
    """Let a user's own modules be found that lie in `folder`, behind all that is installed."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def trusted(named: Sequence[str], *paths: str | None) -> "Trust":
    """The modules that a command line names, as they are (`named`) or as `"module:Name"` (`paths`).

    A name may also be a module's file. Those that are not plait's are looked for here or beside the file.

    Raises:
        ConfigError: a file is none of Python's.
    """
    from plait.trust import Trust

    modules = {path.partition(":")[0] for path in paths if path and ":" in path}
    for name in named:
        file = Path(name)
        if file.exists() or file.suffix == ".py":
            if file.suffix != ".py" or not file.is_file():
                raise ConfigError(f"--trust {name}: expected a module's name, or its file, name.py")
            beside(file.resolve().parent)
            modules.add(file.stem)
        else:
            modules.add(name)
    if any(module.partition(".")[0] != "plait" for module in modules):
        beside(Path.cwd())
    return Trust(frozenset(modules))

"""Whose code may run. A study that is started is code; a run, a clip table, a recording, a cache is data.

What data names is taken from plait itself, and only if it is what its place asks for, or from modules that
somebody has named.
"""

import functools
import inspect
import typing
from dataclasses import dataclass
from typing import Any

from torch import nn

from plait.errors import ConfigError
from plait.objects import resolve
from plait.types import Dataset


@dataclass(frozen=True)
class Trust:
    """Modules whose code may run because data names it; `all` where the data is somebody's own."""

    modules: frozenset[str] = frozenset()
    all: bool = False

    def dataset(self, path: str, where: str) -> Dataset:
        """The data set that `"package.module:NAME"` names; `where` says which file or setting names it.

        Raises:
            ConfigError: its module is neither plait's nor trusted, or it is no data set.
        """
        self._admit(path, where)
        dataset = resolve(path, where)
        if not isinstance(dataset, Dataset):
            raise ConfigError(f"{where}: {path!r} is no plait.types.Dataset")
        return dataset

    def network(self, path: str, where: str) -> None:
        """Check that what `"package.module:Name"` names makes networks.

        Raises:
            ConfigError: its module is neither plait's nor trusted, or it is something else of plait's.
        """
        self._admit(path, where)
        checked = not self.all and _is_plait_s(path.partition(":")[0])
        if checked and not _makes_networks(resolve(path, where)):
            raise ConfigError(f"{where}: {path} makes no networks, expected what gives a torch.nn.Module")

    def own(self, path: str, where: str) -> Any:
        """The object that `"package.module:Name"` names, of whatever kind; nothing of plait's is.

        Raises:
            ConfigError: its module is not trusted, or there is none.
        """
        if not self.all and _is_plait_s(path.partition(":")[0]):
            raise ConfigError(f"{where}: {path} is plait's, expected something of your own")
        self._admit(path, where)
        return resolve(path, where)

    def _admit(self, path: str, where: str) -> None:
        module = path.partition(":")[0]
        if self.all or _is_plait_s(module) or any(_within(module, package) for package in self.modules):
            return
        raise ConfigError(
            f"{where}: names {path!r}, which is not plait's; code of others is run only where you say so: "
            f"--trust {module}, or --trust and the path of its file, if you know what it does"
        )


NOBODY = Trust()
OWN = Trust(all=True)  # for what the process itself has just made


def _within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def _is_plait_s(module: str) -> bool:
    """Whether a module is plait's, and none that does something as it is imported."""
    return _within(module, "plait") and not _within(module, "plait.cli") and not module.endswith("__main__")


def _makes_networks(maker: Any) -> bool:
    """Whether something is a class of networks, or a function that says it gives one, and is plait's."""
    while isinstance(maker, functools.partial):
        maker = maker.func
    if not _is_plait_s(str(getattr(maker, "__module__", ""))):
        return False
    if inspect.isfunction(maker):
        maker = typing.get_type_hints(maker).get("return")
    return inspect.isclass(maker) and issubclass(maker, nn.Module)

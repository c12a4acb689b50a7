"""Processes that start as commands and scripts do, from a server that has loaded what all of them need."""

import multiprocessing
import os
import sys
import tempfile
from pathlib import Path
from types import ModuleType

import pytest

from plait import cli

LOADED = [
    "torchvision",
    "timm",
    "scipy.stats",
    "torch._dynamo",
    "matplotlib.figure",
    "plait.encoders",
    "tests.commands",
]


class Started:
    """A process that was started; what it says goes to files."""

    def __init__(self, main, words, folder=None, **environment):
        told = tempfile.mkdtemp("", "said", Path(os.environ["PLAIT_CACHE"]).parent)  # where pytest cleans up
        self.said = tuple(Path(told, name) for name in ("out", "err"))
        server = multiprocessing.get_context("forkserver")
        server.set_forkserver_preload(LOADED)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OMP_NUM_THREADS", "1")  # the server's too, should it start now
            environment = os.environ | environment
            self.process = server.Process(
                target=_be, args=(main, words, folder or Path.cwd(), environment, self.said)
            )
            self.process.start()

    def ended(self):
        """Its exit code, once it has ended, and what it said on either stream."""
        self.process.join()
        return self.process.exitcode, *(file.read_text() for file in self.said)


def started(*words, folder=None, **environment):
    """A `plait` command on its way."""
    return Started(_command, [sys.executable, *map(str, words)], folder, **environment)


def script(file, *words, **environment):
    """A Python file that runs as a script does."""
    return Started(_script, [str(file), *map(str, words)], **environment)


def _be(main, words, folder, environment, said):
    for stream, file in enumerate(said, 1):
        os.dup2(os.open(file, os.O_CREAT | os.O_WRONLY), stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = words
    multiprocessing.set_start_method(None, force=True)  # as a process comes
    main(words[0])


def _command(_):
    sys.modules["__main__"] = sys.modules["__mp_main__"] = ModuleType("__main__")
    cli.main()


def _script(file):
    sys.path.insert(0, str(Path(file).parent))
    main = ModuleType("__main__")
    main.__file__ = file
    sys.modules["__main__"] = sys.modules["__mp_main__"] = main
    exec(compile(Path(file).read_bytes(), file, "exec"), vars(main))

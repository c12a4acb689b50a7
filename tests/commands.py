"""Processes that start as commands, scripts and workers do, from a server that has loaded what all need."""

import gc
import multiprocessing
import os
import signal
import sys
import tempfile
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from types import ModuleType

import pytest

from plait import cli
from plait.recordings import synchronise
from plait.report import drawing
from tests.figures import blank, no_picture

LOADED = [
    "torchvision",
    "timm",
    "scipy.stats",
    "torch._dynamo",
    "matplotlib.figure",
    "plait.encoders",
    "plait.serving",
    "tests.warm",
    "tests.commands",
]


gc.freeze()  # of a server, which comes here last: what is loaded is shared by all who are forked


class Worker(ForkServerProcess):
    """A process of the server's with the environment of whoever starts it, as a spawned one has."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.environment = dict(os.environ)

    def run(self):
        os.environ.clear()
        os.environ.update(self.environment)
        super().run()


class Server(ForkServerContext):
    """What `plait.compute.executors` takes in the place of a context that spawns."""

    Process = Worker


def workers_of_server(patch):
    """Have the worker processes of studies come from the server, which spawned ones cost seconds to load."""
    others = multiprocessing.get_context
    others("forkserver").set_forkserver_preload(LOADED)
    patch.setattr(multiprocessing, "get_context", lambda kind: Server() if kind == "spawn" else others(kind))


class Started:
    """A process that was started; what it says goes to files."""

    def __init__(self, main, words, folder=None, said=None, session=False, **environment):
        if said is None:  # where pytest cleans up
            told = tempfile.mkdtemp("", "said", Path(os.environ["PLAIT_CACHE"]).parent)
            said = tuple(Path(told, name) for name in ("out", "err"))
        self.said = said
        server = multiprocessing.get_context("forkserver")
        server.set_forkserver_preload(LOADED)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OMP_NUM_THREADS", "1")  # the server's too, should it start now
            environment = os.environ | environment
            self.process = server.Process(
                target=_be, args=(main, words, folder or Path.cwd(), environment, self.said, session)
            )
            self.process.start()

    def ended(self):
        """Its exit code, once it has ended, and what it said on either stream."""
        self.process.join()
        return self.process.exitcode, *(file.read_text() for file in self.said)


def started(*words, folder=None, spawns=False, **environment):
    """A `plait` command on its way; its workers come from the server, too, unless it `spawns` them."""
    main = _command if spawns else _command_of_server
    return Started(main, [sys.executable, *map(str, words)], folder, **environment)


def script(file, *words, **environment):
    """A Python file that runs as a script does."""
    return Started(_script, [str(file), *map(str, words)], **environment)


def benchmark(file, *words):
    """A benchmark that runs as a script does, but for the processes that `atwork` starts: from the server."""
    return Started(_benchmark, [str(file), *map(str, words)])


class Command:
    """As much of `subprocess.Popen` as `atwork.plait` gives: a command in a session of its own."""

    def __init__(self, *words, log, folder):
        words = [sys.executable, *map(str, words)]
        own = {"said": (log, log), "session": True, "PLAIT_CACHE": str(folder / "cache")}
        self._process = Started(_command_of_server, words, **own).process
        self.pid = self._process.pid

    @property
    def returncode(self):
        return self._process.exitcode

    poll = returncode.fget

    def wait(self):
        self._process.join()
        return self.returncode


def _be(main, words, folder, environment, said, session):
    forkserver._forkserver.ensure_running = lambda: None  # whose child this is
    os.fsync, drawing._save = lambda descriptor: None, blank  # as in every test
    synchronise.draw = no_picture
    if session:
        os.setsid()
    for stream, file in enumerate(said, 1):
        os.dup2(os.open(file, os.O_CREAT | os.O_WRONLY | os.O_APPEND), stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = words
    multiprocessing.set_start_method(None, force=True)  # as a process comes
    main(words[0])


def _command(_):
    sys.modules["__main__"] = sys.modules["__mp_main__"] = ModuleType("__main__")
    try:
        cli.main()
    except KeyboardInterrupt:  # as Python ends
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except SystemExit:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # what comes is multiprocessing's
        raise


def _command_of_server(_):
    with pytest.MonkeyPatch.context() as patch:
        workers_of_server(patch)
        _command(_)


def _benchmark(file):
    sys.path.insert(0, str(Path(file).parent))
    import atwork

    atwork.plait, atwork.get_context = Command, lambda _: Server()
    _script(file)


def _script(file):
    sys.path.insert(0, str(Path(file).parent))
    main = ModuleType("__main__")
    main.__file__ = file
    sys.modules["__main__"] = sys.modules["__mp_main__"] = main
    exec(compile(Path(file).read_bytes(), file, "exec"), vars(main))

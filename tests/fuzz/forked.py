"""Commands of plait in processes of their own, forked, for to import everything anew takes longer than they do.

Whoever forks must not have computed with polars or torch, whose threads a fork lacks: it would wait for them.
"""

import os
import sys
import tempfile
import traceback

from plait.cli import main as plait


def forked(command, said, **environment):
    """Start a command in a process group of its own; what it says goes to the file `said`. Its process."""
    if child := os.fork():
        return child
    code = 1
    try:
        os.setsid()
        with said.open("w") as into:
            for stream in (1, 2):
                os.dup2(into.fileno(), stream)
        os.environ |= environment
        tempfile.tempdir = None
        sys.argv = ["plait", *command]
        plait()
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def ended(child, said):
    """The exit code of a process that was forked, once it has ended, and the last line that it said."""
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, (said.read_text().splitlines() or [""])[-1]

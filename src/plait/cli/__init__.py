"""Verbs -> functions; the only place that prints or exits."""

import errno
import functools
import io
import sys
import warnings
from pathlib import Path
from typing import Annotated, NoReturn

import typer

import plait
from plait.cli import cache, demo, doctor, hands, info, live, recogniser, recordings, robustness, studies
from plait.errors import PlaitError, PlaitWarning
from plait.names import encodable

STOPPED = 130  # what typer makes of Ctrl-C

app = typer.Typer(
    name="plait",
    help="Recognise activities from heterogeneous sensors, fused by non-local operations.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"plait {plait.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say which.")
    ] = False,
) -> None:
    """Options of plait itself; after a verb `sys.path` is again what it was before a user's folders came."""
    context.call_on_close(functools.partial(setattr, sys, "path", sys.path.copy()))


for verbs in (studies, robustness, doctor, demo, recogniser, live, recordings, cache, info):
    app.add_typer(verbs.app)
app.add_typer(hands.app, name="hands")


def main() -> None:
    """Run the command line; bad input ends it with one line and exit code 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a console may lack letters that a file's name has
            stream.reconfigure(errors="backslashreplace")
    plain = warnings.formatwarning
    warnings.formatwarning = lambda message, kind, *rest: (
        f"plait: {message}\n" if issubclass(kind, PlaitWarning) else plain(message, kind, *rest)
    )
    try:
        _check_folder_and_words()
        app(prog_name="plait")
    except PlaitError as error:
        _refuse(str(error))
    except OSError as error:
        if error.filename is None and error.errno not in (errno.ENOSPC, errno.EIO, errno.EDQUOT):
            raise
        _refuse(f"{error.filename or 'standard output'}: {error.strerror}")
    except RuntimeError as error:
        if not str(error).startswith("Symlink loop"):
            raise
        path = str(error).partition(" from ")[2].strip("'")
        _refuse(f"{path}: a link to itself, expected a file or a folder")
    except SystemExit as ended:
        if ended.code == STOPPED:
            goes_on = "" if "live" in sys.argv[1:2] else "; the same command goes on from here"
            typer.echo(f"plait: stopped{goes_on}", err=True)
        raise
    finally:
        warnings.formatwarning = plain


def _check_folder_and_words() -> None:
    """Refuse to work where nothing is any more, or on names that cannot be written down."""
    try:
        Path.cwd()
    except OSError:
        _refuse("the folder that this was started in is gone, expected one that stands")
    if odd := [word for word in sys.argv if not encodable(word)]:
        _refuse(f"{odd[0]!r}: a name that is not UTF-8, expected one that is: rename it")


def _refuse(why: str) -> NoReturn:
    """End with one line."""
    typer.echo(f"plait: {' '.join(why.split())}", err=True)
    raise SystemExit(2) from None

"""Where a user's own modules are looked for."""

import sys
from pathlib import Path


def beside(folder: Path) -> None:
    """Let a user's own modules be found that lie in `folder`."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def beside_run(run: Path) -> None:
    """Let a user's own modules be found: those here, and those beside the study file that made `run`, if it stands."""
    from plait.store import read_json

    beside(Path.cwd())
    file = read_json(run / "run.json").get("file") if (run / "run.json").is_file() else None
    if isinstance(file, str) and Path(file).is_file() and run.resolve() not in Path(file).resolve().parents:
        beside(Path(file).parent)

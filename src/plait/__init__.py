"""plait: activity recognition from heterogeneous sensors, fused by non-local operations."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plait.recogniser.recogniser import Recogniser

__all__ = ["Recogniser", "__version__", "run"]
__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    """`Recogniser`, once it is asked for: whoever wants a version does not wait for torch."""
    if name != "Recogniser":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from plait.recogniser.recogniser import Recogniser

    return Recogniser


def run(study: Path | str | Mapping[str, Any], data: Path | str, out: Path | str, **options: Any) -> Path:
    """Run a study and write its tables and page; the same as `plait run STUDY --data DATA --out OUT`.

    Args:
        study: a study file, or a mapping of the same form.
        data: the folder of the data set.
        out: the folder of the results; finished jobs in it are not done again.
        **options: `sets`, `only`, `executor`, `workers`, `threads`, `device`, `ray_address`, `doctor`,
            `progress`: see `plait.study.run.run_study`.

    Returns:
        The path of the page, `OUT/index.html`.

    Raises:
        PlaitError: the study, the data or the output folder does not do, in one line.
    """
    from plait.progress import silent
    from plait.recogniser.continuous import write_continuous
    from plait.report import write_report
    from plait.report.cases import write_cases
    from plait.report.sheet import SHEET, write_sheet
    from plait.study.finished import FinishedRun
    from plait.study.run import run_study

    def report(finished: FinishedRun) -> None:
        if not (finished.folder / SHEET).exists():
            write_sheet(finished.dataset, finished.cuts, finished.folder)
        write_cases(finished)
        if finished.study.evaluate.continuous:
            write_continuous(finished, options.get("progress", silent))
        write_report(finished.folder, results=finished.results)

    run_study(study, Path(data), Path(out), then=report, **options)
    return Path(out) / "index.html"

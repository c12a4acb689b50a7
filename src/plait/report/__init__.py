"""A finished run as tables, figures and one page to pass on."""

from pathlib import Path

from plait.analysis.benchmark import read_benchmark
from plait.report.drawing import to_svg, write_figure
from plait.report.page import LIMIT, Report, render
from plait.report.tables import latex_tables, markdown, unshown
from plait.results import Results, read_hands, read_histories, read_lacking, read_results
from plait.store import write_csv, write_text

__all__ = ["write_report"]
PARTIAL = (
    "contrasts",
    "comparisons",
    "gains",
    "widths",
    "hands",
    "lacking",
    "benchmark",
    "calibration",
    "learning",
)


def write_report(run: Path, limit: int = LIMIT, results: Results | None = None) -> Path:
    """Write the page of the finished run in folder `run` beside its predictions; returns its path.

    The page takes `limit` bytes at most: films of clips that do not fit stay beside it, in `RUN/cases`.
    Beside it stand every table as `.csv` and `.tex`, `table.md`, and every figure as `.svg` and `.pdf`;
    `docs/report.md` names the function behind each. The same run gives the same bytes.

    Raises:
        DataError: `predictions.parquet` or `run.json` is missing, unreadable, or the two do not belong
            together; or the folder cannot be written.
    """
    facts, predictions, validation = results or read_results(run)
    hands, histories = read_hands(run, facts, predictions), read_histories(run, facts)
    beside = read_benchmark(run)
    report = Report.of(facts, predictions, validation, hands, histories, read_lacking(run), beside)
    tables, figures = report.tables(), report.figures()
    texts = latex_tables(facts, tables)
    for name, table in tables.items():
        write_csv(run / f"{name}.csv", table)
    for name, text in texts.items():
        write_text(run / f"{name}.tex", text)
    stays = {"svg": {*figures}, "pdf": {*figures}, "csv": {*tables}, "tex": {*texts}}
    for name in {*PARTIAL, *tables}:  # of an earlier state, which had them; a table without rows has no .tex
        for ending in ("svg", "pdf", "csv", "tex") if name in PARTIAL else ("tex",):
            if name not in stays[ending]:
                (run / f"{name}.{ending}").unlink(missing_ok=True)
    wide: dict[str, str] = {}
    for name, draw in figures.items():
        figure = draw()
        wide[name] = to_svg(figure)
        write_figure(figure, run / name, wide[name])
    described = report.comparisons, report.lacking, report.benchmark, unshown(report.activities)
    text = markdown(facts, report.main, report.contrasts, *described)
    write_text(run / "table.md", text)
    write_text(run / "index.html", render(report, run, limit, wide))
    return run / "index.html"

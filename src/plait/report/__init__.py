"""A finished run as tables, figures and one page to pass on."""

from pathlib import Path

from plait.report.canvas import for_file
from plait.report.figures import accuracy_plot
from plait.report.page import render
from plait.report.read import read_run
from plait.report.tables import activity_table, confusion_table, main_table, markdown, subject_table
from plait.store import write_text
from plait.study.compare import compare

__all__ = ["write_report"]


def write_report(run: Path) -> Path:
    """Write the report of the finished run in folder `run` beside its predictions; returns the path of `index.html`.

    Beside the page: `table.csv`, `table.md`, `comparisons.csv`, `subjects.csv`, `activities.csv`, `confusion.csv` and
    `accuracy.svg`. The same run gives the same bytes.

    Raises:
        DataError: `predictions.parquet` or `run.json` is missing, unreadable, or the two do not belong together; or the
            folder cannot be written.
    """
    about, predictions = read_run(run)
    main, subjects = main_table(about, predictions), subject_table(about, predictions)
    activities, confusion = activity_table(about, predictions), confusion_table(about, predictions)
    comparisons = compare(predictions, about.methods)
    files = {
        "table.csv": main.write_csv(),
        "table.md": markdown(about, main, comparisons),
        "comparisons.csv": comparisons.write_csv(),
        "subjects.csv": subjects.write_csv(),
        "activities.csv": activities.write_csv(),
        "confusion.csv": confusion.write_csv(),
        "accuracy.svg": for_file(accuracy_plot(main, subjects)),
        "index.html": render(about, main, comparisons, subjects, activities, confusion),
    }
    for name, text in files.items():
        write_text(run / name, text)
    return run / "index.html"

"""The doctor's findings as a page: one HTML file that loads nothing, and the same as JSON beside it."""

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from plait.doctor.checks import about
from plait.doctor.examine import JSON, SEVERITIES, Examination
from plait.doctor.finding import Check
from plait.doctor.words import share_of
from plait.report import captions
from plait.report.drawing import COLOURS
from plait.store import write_text

PAGE = "index.html"
SHAPES = {"fault": "◆", "warning": "■", "note": "●"}
COLOUR_OF = {"fault": "combined", "warning": "single", "note": "fusion"}
SAID = {
    "fault": "numbers would be wrong",
    "warning": "numbers may be wrong",
    "note": "to be known, and said",
}
SHOWN = 200  # findings of a severity; all of them are in the JSON


def write_findings(out: Path, examination: Examination, checks: Sequence[Check], data: str) -> Path:
    """Write `out/index.html` and `out/doctor.json`; returns the path of the page.

    Args:
        out: the folder.
        examination: what was found.
        checks: those that were run.
        data: what was looked at, in words.

    Raises:
        DataError: the folder cannot be written.
    """
    examination.write(out / JSON, {"data": data})
    write_text(out / PAGE, render(examination, checks, data))
    return out / PAGE


def render(examination: Examination, checks: Sequence[Check], data: str) -> str:
    """The page as HTML."""
    environment = Environment(
        loader=PackageLoader("plait.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    groups = {
        severity: [finding for finding in examination.findings if finding.severity == severity]
        for severity in SEVERITIES
    }
    return environment.get_template("findings.html.j2").render(
        data=data,
        examination=examination,
        groups={severity: findings for severity, findings in groups.items() if findings},
        shown=SHOWN,
        shapes=SHAPES,
        colour_of=COLOUR_OF,
        said=SAID,
        checks=about(checks),
        colours=COLOURS,
        captions=captions,
        share_of=share_of,
    )

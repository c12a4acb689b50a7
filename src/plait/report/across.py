"""What several runs come to together: a table, a picture, CSV and LaTeX."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from plait.analysis.across import DESCRIBED_ONLY, between_runs, over_datasets
from plait.analysis.likeness import changed, differences
from plait.config import Comparisons
from plait.errors import ConfigError
from plait.names import alike
from plait.report.captions import contrast_notes, decided
from plait.report.drawing import write_figure
from plait.report.figures import contrast_plot
from plait.report.latex import tabular
from plait.report.tables import CONTRASTS, contrast_cells, markdown_table
from plait.results import Results, read_results
from plait.store import write_csv, write_text

STEM = "compare"


def write_comparison(
    folders: Sequence[Path],
    contrasts: Sequence[tuple[str, str]],
    comparisons: Comparisons,
    out: Path,
    *,
    other_data: bool = False,
) -> Path:
    """Compare runs of one data set, or a pair of methods over several; returns the path of `compare.md`.

    Beside it: `compare.csv`, `.tex`, `.svg`, `.pdf`.

    Args:
        folders: of the runs.
        contrasts: pairs of methods. Of one data set, the first is of the first run and the second of every
            other; none stands for every method that all runs have, against itself. Of several, one pair of
            every run.
        comparisons: order, margin and alpha.
        out: the folder that is written into.
        other_data: whether what was recorded of the people of one data set may differ from run to run.

    Raises:
        ConfigError: fewer than two runs, two of one name, no such method, several pairs over several data
            sets, or a control among these.
        DataError: a run cannot be read, two have not tested the same clips in the same folds, clips of the
            same names hold something else, or two data sets have somebody in common.
    """
    runs = _named(folders)
    datasets = {results.facts.dataset for results in runs.values()}
    if len(datasets) == 1:
        contrasts = contrasts or _shared(runs)
        table = between_runs(runs, contrasts, comparisons, other_data)
    elif len(contrasts) != 1:
        raise ConfigError(f"--contrast: {len(contrasts)} given, expected one pair of methods over data sets")
    else:
        table = over_datasets(runs, contrasts[0], comparisons)
    alike = contrasts if len(datasets) == 1 else [(method, method) for method in contrasts[0]]
    tested = table.filter(pl.col("verdict") != DESCRIBED_ONLY)
    cells = [contrast_cells(row) for row in table.iter_rows(named=True)]
    notes = [*decided(comparisons, tested), *contrast_notes(comparisons, tested), *_besides(runs, alike)]
    lines = [
        "# " + " · ".join(runs),
        "",
        *markdown_table(CONTRASTS, cells),
        "",
        *(f"* {n}" for n in notes),
        "",
    ]
    write_csv(out / f"{STEM}.csv", table)
    write_text(out / f"{STEM}.tex", tabular(CONTRASTS, cells, 2))
    write_figure(contrast_plot(table, comparisons.margin), out / STEM)
    write_text(out / f"{STEM}.md", "\n".join(lines))
    return out / f"{STEM}.md"


def _named(folders: Sequence[Path]) -> dict[str, Results]:
    """What each run came to, by the name of its folder."""
    names = [folder.resolve().name for folder in folders]
    if len(folders) < 2:
        raise ConfigError(f"compare: {len(folders)} run, expected two or more")
    if len(set(names)) < len(names) or alike(names):
        raise ConfigError(f"compare: runs are called {', '.join(names)}, expected names that differ")
    return {name: read_results(folder) for name, folder in zip(names, folders, strict=True)}


def _besides(runs: Mapping[str, Results], contrasts: Sequence[tuple[str, str]]) -> list[str]:
    """In what the first run differs from every other besides, a sentence each."""
    (first, results), *others = runs.items()
    notes = []
    for name, other in others:
        pair = f"{first} and {name}"
        notes += [
            f"{pair} differ: {line}." for line in differences((first, results), (name, other), contrasts)
        ]
        if results.facts.dataset != other.facts.dataset:
            continue
        if not (results.facts.people and other.facts.people):
            older = "a run of an older plait does not say what was recorded"
            notes.append(f"{pair}: whether their data are the same is not known, for {older}.")
        elif why := changed(results.facts, other.facts, results.facts.people):
            notes.append(f"{pair} differ: {why}.")
    return notes


def _shared(runs: Mapping[str, Results]) -> list[tuple[str, str]]:
    """Every method that all runs have, against itself."""
    first, *others = runs.values()
    shared = [name for name in first.facts.methods if all(name in run.facts.methods for run in others)]
    if not shared:
        raise ConfigError("compare: no method is in all runs, expected --contrast METHOD METHOD")
    return [(name, name) for name in shared]

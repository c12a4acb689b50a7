"""A study's methods by the data set's own metrics, with what was published below them."""

from typing import Any

import polars as pl

from plait.report.captions import percent

OURS = "this study"


def header(benchmark: pl.DataFrame) -> list[str]:
    """The columns of `lines`: model, source, each metric in %."""
    return ["model", "source", *(f"{name} %" for name in _metrics(benchmark))]


def lines(benchmark: pl.DataFrame) -> list[list[str]]:
    """A line for each method, then for each published row, in words, as `header` says."""
    return [[row["model"], row["source"], *row["cells"]] for row in rows(benchmark)]


def rows(benchmark: pl.DataFrame) -> list[dict[str, Any]]:
    """The same as `model`, `source`, whether it is `ours`, and the numbers' `cells`; none of an empty table.

    Args:
        benchmark: `plait.analysis.benchmark.benchmark`.
    """
    numbers: dict[tuple[str, str | None], dict[str, float | None]] = {}
    for row in benchmark.iter_rows(named=True):
        numbers.setdefault((row["model"], row["source"]), {})[row["metric"]] = row["value"]
    return [
        {
            "model": model,
            "source": source or OURS,
            "ours": source is None,
            "cells": [percent(values.get(name)) for name in _metrics(benchmark)],
        }
        for (model, source), values in numbers.items()
    ]


def _metrics(benchmark: pl.DataFrame) -> list[str]:
    """The metrics in their order: the methods have them all."""
    return [] if benchmark.is_empty() else benchmark["metric"].unique(maintain_order=True).to_list()

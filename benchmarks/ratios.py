"""Every ratio that benchmarks have left, in one table; of two folders, before and after.

    python benchmarks/ratios.py [BEFORE] AFTER

Each is a folder of NAME.json, as `make bench` fills `runs/bench`. A ratio compares two ways within one run,
so those of two commits may be held against each other where seconds may not: the last column has how many
times as large the one after is. What only one folder has is in the table too; a way against itself, exactly
1, is not.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SIZES = (
    "batch",
    "clips",
    "context",
    "heads",
    "lead",
    "threads",
)  # with its texts, they tell a row from others


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path, help="one or two")
    folders = parser.parse_args().folders
    if len(folders) > 2:
        parser.error(f"{len(folders)} folders: expected one, or two")
    for folder in folders:
        if not any(folder.glob("*.json")):
            parser.error(f"{folder}: has no NAME.json of a benchmark")
    print(table([left(folder) for folder in folders]))


def left(folder: Path) -> dict[str, float]:
    """Every ratio of a folder, by benchmark and place."""
    found: dict[str, float] = {}
    for file in sorted(folder.glob("*.json")):
        found |= {f"{file.stem}: {place}": ratio for place, ratio in ratios(json.loads(file.read_text()))}
    return found


def table(sides: list[dict[str, float]]) -> str:
    """The ratios of one folder or two as a table."""
    titles = ["ratio"] if len(sides) == 1 else ["before", "after", "after / before"]
    lines = [f"| | {' | '.join(titles)} |", f"| --- |{' ---: |' * len(titles)}"]
    for place in dict.fromkeys(place for side in sides for place in side):
        values = [side.get(place) for side in sides]
        cells = ["–" if value is None else f"{value:.2f}" for value in values]
        if len(sides) == 2:
            before, after = values
            cells.append("–" if not before or after is None else f"{after / before:.2f}")
        lines.append(f"| {place} | {' | '.join(cells)} |")
    return "\n".join(lines)


def ratios(found: Any, place: tuple[str, ...] = (), named: bool = False) -> Iterator[tuple[str, float]]:
    """Where in a benchmark's numbers a ratio stands, and the ratio: a number called so, or each within."""
    if isinstance(found, dict):
        for name, one in found.items():
            yield from ratios(one, (*place, name), named or "ratio" in name)
    elif isinstance(found, list):
        for number, one in enumerate(found):
            yield from ratios(one, (*place, called(one) or str(number)), named)
    elif named and isinstance(found, int | float) and found != 1:
        yield ", ".join(place), float(found)


def called(row: Any) -> str:
    """What a row of a list says of itself, for rows may come and go."""
    if not isinstance(row, dict):
        return ""
    return " ".join(str(one) for name, one in row.items() if isinstance(one, str) or name in SIZES)


if __name__ == "__main__":
    main()

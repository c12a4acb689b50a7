"""Is a method without one of its sensors as good as the best row of its run made without that sensor?

    python benchmarks/absent.py RUN METHOD [--margin 0.01] [--people 11,12,...]

after `plait robustness RUN --fault absent`. The best of the rest is the row of the highest accuracy, over as
many seeds, none of whose networks was trained with the sensor beside others: one that does not read it, or an
average of single sensors' networks, which has one less then. `p` is the one-sided one of "worse by the margin
or more", by exact sign flips over people, each sensor by itself. With `--people` it says every row's accuracy
on these people alone.
"""

import argparse
from pathlib import Path

import polars as pl

from plait.analysis.compare import paired
from plait.analysis.metrics import by_subject
from plait.analysis.robustness import GONE
from plait.analysis.signflips import SignFlips
from plait.errors import ConfigError
from plait.results import RunFacts, read_people, read_run


def networks(facts: RunFacts, name: str) -> list[str]:
    """The trained methods that a row is made of, itself if it is one."""
    made_of = facts.methods[name].made_of
    return [one for part in made_of for one in networks(facts, part)] if made_of else [name]


def rest(facts: RunFacts, method: str, sensor: str) -> list[str]:
    """The rows that a method is held against where a sensor is absent."""
    ensemble = facts.methods[method].kind == "ensemble"
    found = []
    for name, row in facts.methods.items():
        read = [facts.methods[one].modalities for one in networks(facts, name)]
        left = [one for one in read if one != (sensor,)]
        if left and not any(sensor in one for one in left) and (row.kind == "ensemble") == ensemble:
            found.append(name)
    return found


def beside(run: Path, method: str, margin: float) -> pl.DataFrame:
    """A row for each sensor of a method: `absent, accuracy, best, best_accuracy, difference, p`.

    Raises:
        ConfigError: the run has no such method, or its robustness was not asked.
        DataError: the run cannot be read.
    """
    facts, predictions = read_run(run)
    if method not in facts.methods:
        raise ConfigError(f"{run}: no method {method!r}, expected one of: {', '.join(facts.methods)}")
    people = read_people(run, facts)
    if people is None:
        raise ConfigError(f"{run}: nothing of absent sensors, run `plait robustness {run} --fault {GONE}`")
    clean, rows = by_subject(predictions), []
    for sensor in facts.methods[method].modalities:
        gone = people.filter(fault=GONE, modality=sensor).select("method", "subject", "accuracy")
        if method not in gone["method"]:
            raise ConfigError(
                f"{run}: nothing of {method!r} without {sensor!r}, run `plait robustness {run}`"
            )
        others = rest(facts, method, sensor)
        unread = [name for name in others if sensor not in facts.methods[name].modalities]
        parts = (
            clean.filter(pl.col("method").is_in(unread)),
            gone.filter(pl.col("method").is_in([method, *others])),
        )
        both = pl.concat([part.select(gone.columns) for part in parts])
        means = dict(both.group_by("method").agg(pl.col("accuracy").mean()).iter_rows())
        own = means.pop(method)
        best = max(sorted(means), key=lambda name: means[name])
        d = paired(both, method, best)
        rows.append((sensor, own, best, means[best], float(d.mean()), SignFlips(d).p_above(-margin)))
    columns = ["absent", "accuracy", "best", "best_accuracy", "difference", "p"]
    return pl.DataFrame(rows, schema=columns, orient="row")


def main() -> None:
    """Say both."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("method")
    parser.add_argument("--margin", type=float, default=0.01)
    parser.add_argument("--people", type=lambda text: text.split(","))
    args = parser.parse_args()
    print(f"{args.method}, margin {100 * args.margin:g} points")
    for row in beside(args.run, args.method, args.margin).iter_rows(named=True):
        print(
            f"  without {row['absent']}: {100 * row['accuracy']:.1f}, best of the rest {row['best']} "
            f"{100 * row['best_accuracy']:.1f}, difference {100 * row['difference']:+.1f}, p {row['p']:.4f}"
        )
    if args.people:
        own = by_subject(read_run(args.run)[1]).filter(pl.col("subject").is_in(args.people))
        print(f"of {', '.join(args.people)} alone:")
        for name, accuracy in (
            own.group_by("method", maintain_order=True).agg(pl.col("accuracy").mean()).iter_rows()
        ):
            print(f"  {name}: {100 * accuracy:.1f}")


if __name__ == "__main__":
    main()

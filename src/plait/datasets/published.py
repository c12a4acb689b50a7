"""How a data set's own papers report numbers on it, and what they report: to stand beside a study's own.

A data set that names `metrics` has them worked out for every method of a study by
`plait.analysis.benchmark`, beside all that tables say anyway; `published` are rows below them. `GLOVID` is an
example.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from plait.errors import ConfigError
from plait.types import Dataset


@dataclass(frozen=True)
class Metric:
    """A number that papers report of a data set, as a share from 0 to 1.

    Args:
        name: what the papers call it; tables head it so, in percent.
        use: the function, `"package.module:Name"`, by which it is worked out: of plait's,
            `plait.analysis.benchmark` says what each takes.
        args: its settings.
        of: what it is worked out from, of one method and seed: the study's test clips, or whole recordings
            of the people who are tested, for which the study says `[evaluate] continuous = true`.
    """

    name: str
    use: str
    args: Mapping[str, Any] = field(default_factory=dict)
    of: Literal["clips", "recordings"] = "clips"


@dataclass(frozen=True)
class Published:
    """One row of a paper's table.

    Args:
        model: what the paper calls it.
        numbers: by the name of the metric, shares from 0 to 1.
        source: where it is printed, and what is to be known of it.
        sd: the spread that the paper prints, by the name of the metric, shares too.
        role: the row of the paper on non-local fusion (`plait.report.paper`) that it is, if it is one.
    """

    model: str
    numbers: Mapping[str, float]
    source: str
    sd: Mapping[str, float] = field(default_factory=dict)
    role: str | None = None


@dataclass(frozen=True)
class Benchmark(Dataset):
    """A data set with metrics of its own, and what others have published by them.

    Args:
        metrics: in the order of the papers.
        published: in the order in which they are to stand.

    Raises:
        ConfigError: two metrics have one name, or a published number is of none of them or no share.
    """

    metrics: tuple[Metric, ...] = ()
    published: tuple[Published, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        names = [metric.name for metric in self.metrics]
        if len(set(names)) < len(names):
            raise ConfigError(f"data set {self.name}: metrics: got {', '.join(names)}, expected each once")
        for row in self.published:
            for name, value in (*row.numbers.items(), *row.sd.items()):
                where = f"data set {self.name}: published {row.model!r}"
                if name not in names:
                    raise ConfigError(f"{where}: no metric {name!r}, expected one of: {', '.join(names)}")
                if not 0 <= value <= 1:
                    raise ConfigError(f"{where}: {name} is {value}, expected a share from 0 to 1")

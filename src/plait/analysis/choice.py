"""Which fusion stands for the others in every table and figure: chosen without a look at the test people.

The paper compares three fusions in its Table 1 and shows the best from Table 2 on. To take the best on the
test people would flatter it, so here the validation people choose; on the paper's own data its choice stands.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from plait.analysis.metrics import by_fold, first_best
from plait.results import MethodFacts

SYMMETRIC = "symmetric"
VALIDATED = "chosen on validation subjects"
PUBLISHED_CHOICE = {"glovid": "video-led"}  # by the paper, after its Table 1


@dataclass(frozen=True)
class Choice:
    """A fusion that stands for the others over its modalities: `method`, `role`, and `how` it was chosen."""

    method: str
    role: str
    how: str


def fusions(
    methods: Mapping[str, MethodFacts], modalities: Sequence[str]
) -> dict[tuple[str, ...], dict[str, str]]:
    """The names of the fusions of each set of modalities, by role.

    First who leads, in the order of the singles, then symmetric, then others: a fusion that is none of the
    paper's goes by its class, with who leads there. Of several methods of one role the first in the study
    stands for it; rows of a sweep stand for none.
    """
    singles = [m for row in methods.values() if row.kind == "single" for m in row.modalities]
    # A modality's last single counts: the video itself comes after its static baseline.
    place = {m: i for i, m in enumerate([*modalities, *singles])}
    order = [*(f"{lead}-led" for lead in sorted(place, key=place.__getitem__)), SYMMETRIC]
    sets: dict[tuple[str, ...], dict[str, str]] = {}
    for name, row in methods.items():
        if row.kind == "fusion" and not row.sweep:
            fused = tuple(m for m in modalities if m in row.modalities)
            sets.setdefault(fused, {}).setdefault(_role(name, row), name)
    return {
        fused: {role: names[role] for role in (*order, *names) if role in names}
        for fused, names in sets.items()
    }


def choices(
    dataset: str,
    methods: Mapping[str, MethodFacts],
    modalities: Sequence[str],
    validation: pl.DataFrame | None,
) -> dict[tuple[str, ...], Choice]:
    """For each set of modalities the fusion that stands for it.

    On the paper's data it is the paper's own. Elsewhere it is the most accurate on the validation people
    (ties: the first in the study); where nobody validates, the first in the study.

    Args:
        dataset: The data set's name.
        methods: The study's methods by name, in its order.
        modalities: The data set's modalities, in its order.
        validation: Predictions of validation clips; None or empty where nobody validates.
    """
    return {
        fused: _choose(dataset, methods, {name: role for role, name in names.items()}, validation)
        for fused, names in fusions(methods, modalities).items()
    }


def choose(
    dataset: str,
    methods: Mapping[str, MethodFacts],
    modalities: Sequence[str],
    validation: pl.DataFrame | None,
) -> Choice | None:
    """The one fusion that figures, page, cases and attention show, None where there is none.

    It is one of `choices`, chosen from them in the same way: test predictions have no say.

    Args:
        dataset: The data set's name.
        methods: The study's methods by name, in its order.
        modalities: The data set's modalities, in its order.
        validation: Predictions of validation clips; None or empty where nobody validates.
    """
    rivals = list(choices(dataset, methods, modalities, validation).values())
    if len(rivals) < 2:
        return next(iter(rivals), None)
    return _choose(dataset, methods, {choice.method: choice.role for choice in rivals}, validation)


def independent(
    dataset: str,
    methods: Mapping[str, MethodFacts],
    modalities: Sequence[str],
    predictions: pl.DataFrame,
    validation: pl.DataFrame | None,
) -> float | None:
    """The accuracy of the fusion that `choose` takes, were it chosen anew for each person without theirs.

    Where who validates one fold is tested in another, the choice is not independent of the people it is
    tested on. Here each person is scored under the fusion that everybody else's clips choose; as far as the
    accuracy of the one shown exceeds this one, a mean over folds like it, the choice flatters it. None where
    validation did not choose, or nobody who validates is tested.

    Args:
        dataset: The data set's name.
        methods: The study's methods by name, in its order.
        modalities: The data set's modalities, in its order.
        predictions: Predictions of test clips.
        validation: Predictions of validation clips; None or empty where nobody validates.
    """
    choice = choose(dataset, methods, modalities, validation)
    if choice is None or validation is None or choice.how != VALIDATED:
        return None
    people = predictions["subject"].unique(maintain_order=True).to_list()
    if set(people).isdisjoint(validation["subject"].unique()):
        return None
    parts = []
    for person in people:
        others = validation.filter(pl.col("subject") != person)
        anew = choice if others.is_empty() else choose(dataset, methods, modalities, others) or choice
        parts.append(predictions.filter(pl.col("subject") == person, pl.col("method") == anew.method))
    chosen = pl.concat(parts).with_columns(method=pl.lit(choice.method))
    return float(by_fold(chosen)["accuracy"].to_numpy().mean())


def non_local(row: MethodFacts) -> bool:
    """Whether a fusion is one of the paper's: `Led` or `Symmetric`."""
    return row.use is None or row.use.rpartition(":")[2] in ("Led", "Symmetric")


def _role(name: str, row: MethodFacts) -> str:
    """Who leads, or symmetric; of a fusion that is not the paper's, its class, and who leads there."""
    called, lead = (row.use or f":{name}").rpartition(":")[2], row.args.get("lead")
    if not non_local(row):
        return called if lead is None else f"{called} led by {lead}"
    return f"{lead}-led" if lead is not None else SYMMETRIC if called == "Symmetric" else called


def _choose(
    dataset: str,
    methods: Mapping[str, MethodFacts],
    role_of: Mapping[str, str],
    validation: pl.DataFrame | None,
) -> Choice:
    """One of the fusions that have a role."""
    roles = {name: role_of[name] for name in methods if name in role_of}  # in the order of the study
    published = [name for name, role in roles.items() if PUBLISHED_CHOICE.get(dataset) == role]
    if published:
        best, how = published[0], "the paper's choice"
    elif len(roles) == 1:
        best, how = next(iter(roles)), "the only fusion"
    elif validation is not None and set(roles) <= set(validation["method"].unique()):
        best, how = _most_accurate(list(roles), validation), VALIDATED
    else:
        best, how = next(iter(roles)), "the first in the study, for nobody validates"
    return Choice(best, roles[best], how)


def _most_accurate(rivals: Sequence[str], validation: pl.DataFrame) -> str:
    """The method that is right most often, folds alike; ties: the first."""
    folds = by_fold(validation.filter(pl.col("method").is_in(rivals)))
    means = dict(folds.group_by("method").agg(pl.col("accuracy").mean()).iter_rows())
    return first_best(rivals, means)

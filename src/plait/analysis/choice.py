"""Which fusion stands for the others: one, chosen without a look at the test people, in every table and figure.

The paper compares three fusions in its Table 1 and shows the best of them from Table 2 on. To take the best on the test
people would flatter it, so here the validation people choose, and on the paper's own data the paper's choice stands.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from plait.analysis.metrics import by_fold, by_subject
from plait.results import MethodFacts

SYMMETRIC = "symmetric"
VALIDATED = "chosen on validation subjects"
PUBLISHED_CHOICE = {"glovid": "video-led"}  # by the paper, after its Table 1


@dataclass(frozen=True)
class Choice:
    """A fusion that stands for the others over its modalities: the `method`, its `role`, and `how` it was chosen."""

    method: str
    role: str
    how: str


def fusions(
    methods: Mapping[str, MethodFacts], modalities: Sequence[str]
) -> dict[tuple[str, ...], dict[str, str]]:
    """The fusions of each set of modalities by role: leads in the order of the singles, then symmetric, then others.

    A fusion that neither leads nor is symmetric, as one's own may be, goes by its class. Of several methods of one role
    the first in the study stands for it; rows of a sweep stand for none.
    """
    singles = [m for row in methods.values() if row.kind == "single" for m in row.modalities]
    last = {
        m: i for i, m in enumerate([*modalities, *singles])
    }  # behind a static baseline stands the video itself
    order = [*(f"{lead}-led" for lead in sorted(last, key=last.__getitem__)), SYMMETRIC]
    found: dict[tuple[str, ...], dict[str, str]] = {}
    for name, row in methods.items():
        if row.kind == "fusion" and not row.sweep:
            together = tuple(m for m in modalities if m in row.modalities)
            found.setdefault(together, {}).setdefault(_role(name, row), name)
    return {key: {role: own[role] for role in (*order, *own) if role in own} for key, own in found.items()}


def choices(
    dataset: str,
    methods: Mapping[str, MethodFacts],
    modalities: Sequence[str],
    validation: pl.DataFrame | None,
) -> dict[tuple[str, ...], Choice]:
    """For each set of modalities the fusion that stands for it.

    On the paper's data it is the paper's own. Elsewhere it is the most accurate on the validation people (ties: the
    first in the study); where nobody validates, the first in the study. `validation` is what was predicted of them.
    """
    found = {}
    for together, own in fusions(methods, modalities).items():
        role_of = {name: role for role, name in own.items()}
        found[together] = _chosen(
            dataset, {name: role_of[name] for name in methods if name in role_of}, validation
        )
    return found


def shown(
    dataset: str,
    methods: Mapping[str, MethodFacts],
    modalities: Sequence[str],
    validation: pl.DataFrame | None,
) -> Choice | None:
    """The one fusion that figures, page, cases and attention show: of `choices`, chosen in the same way; None of none.

    Test predictions have no say in it.
    """
    found = {choice.method: choice for choice in choices(dataset, methods, modalities, validation).values()}
    if len(found) < 2:
        return next(iter(found.values()), None)
    return _chosen(dataset, {name: found[name].role for name in methods if name in found}, validation)


def independent(
    dataset: str,
    methods: Mapping[str, MethodFacts],
    modalities: Sequence[str],
    predictions: pl.DataFrame,
    validation: pl.DataFrame | None,
) -> float | None:
    """The accuracy of the fusion that is `shown`, were it chosen anew for each test person without that person's clips.

    Who validates one fold is tested in another, so the choice is not independent of the people it is tested on. Here
    each person is scored under the fusion that everybody else's clips choose; what lies between the mean of these and
    the accuracy of the one that is shown is what the choice flatters it by. None where validation did not choose.
    """
    choice = shown(dataset, methods, modalities, validation)
    if choice is None or validation is None or choice.how != VALIDATED:
        return None
    of = {(method, subject): accuracy for method, subject, accuracy, _ in by_subject(predictions).iter_rows()}
    found: list[float] = []
    for person in predictions["subject"].unique(maintain_order=True):
        others = validation.filter(pl.col("subject") != person)
        anew = choice if others.is_empty() else shown(dataset, methods, modalities, others) or choice
        found.append(of[anew.method, person])
    return sum(found) / len(found)


def _role(name: str, row: MethodFacts) -> str:
    if "lead" in row.args:
        return f"{row.args['lead']}-led"
    path = (row.use or f":{name}").rpartition(":")[2]
    return SYMMETRIC if path == "Symmetric" else path


def _chosen(dataset: str, roles: Mapping[str, str], validation: pl.DataFrame | None) -> Choice:
    """One of some fusions, given their roles in the order of the study."""
    published = [name for name, role in roles.items() if PUBLISHED_CHOICE.get(dataset) == role]
    if published:
        best, how = published[0], "the paper's choice"
    elif len(roles) == 1:
        best, how = next(iter(roles)), "the only fusion"
    elif validation is not None and set(roles) <= set(validation["method"].unique()):
        best, how = _best(list(roles), validation), VALIDATED
    else:
        best, how = next(iter(roles)), "the first in the study, for nobody validates"
    return Choice(best, roles[best], how)


def _best(rivals: Sequence[str], validation: pl.DataFrame) -> str:
    """The most accurate of `rivals` on these clips, folds alike; ties: the first."""
    folds = by_fold(validation.filter(pl.col("method").is_in(rivals)))
    of = dict(folds.group_by("method").agg(pl.col("accuracy").mean()).iter_rows())
    return max(rivals, key=of.__getitem__)

"""Numbers and settings in words: how a report prints them, and what it says about how they came about."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from plait.analysis.compare import EXACT_UP_TO, TOO_FEW
from plait.results import Origin, RunFacts

CONTROL = (
    "Control: every person's activities were dealt anew among that person's stretches of work, so that "
    "labels say nothing of the clips, and all else is as in the study itself. Chance is expected, for every "
    "method: what lies clearly above it comes from how the study is made, not from what was recorded."
)
REFIT = ", then trained once more on training and validation subjects together"


def percent(share: float | None) -> str:
    """A share in percent, one decimal."""
    return "–" if share is None else f"{100 * share:.1f}"


def points(difference: float | None) -> str:
    """A difference of shares in percentage points, one decimal, with its sign."""
    if difference is None:
        return "–"
    text = f"{100 * difference:+.1f}"
    return "0.0" if float(text) == 0 else text.replace("-", "−")


def chance(p: float | None) -> str:
    """A p value, three decimals."""
    if p is None:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def seconds(value: float | None) -> str:
    """Seconds, one decimal below a hundred."""
    if value is None:
        return "–"
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def count(number: int, one: str, many: str | None = None) -> str:
    """A number and its noun."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def interval(low: float | None, high: float | None) -> str:
    """An interval of differences, in points."""
    return "–" if low is None else f"{points(low)} to {points(high)}"


def listed(names: Sequence[str]) -> str:
    """Names as in a sentence: "a", "a and b", "a, b and c"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def duration(value: float) -> str:
    """Seconds as hours, minutes and seconds, the two largest that are not zero."""
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def split(protocol: Mapping[str, Any]) -> str:
    """The protocol: who trains, validates and is tested."""
    refit = REFIT if protocol.get("refit") else ""

    def names(key: str) -> str:
        return ", ".join(map(str, protocol.get(key) or ["nobody"]))

    kind = protocol.get("kind")
    if kind == "fixed":
        who = f"training on {names('train')}; validation on {names('val')}; test on {names('test')}"
        return f"fixed subjects: {who}{refit}"
    among = f" among {names('subjects')}, the others left alone" if protocol.get("subjects") else ""
    if kind == "subject-folds":
        tested = f"{protocol['folds']} folds of subjects, dealt by seed {protocol.get('seed', 0)}{among}"
    elif kind == "leave-n-out":
        tested = f"leave every {protocol['leave']} subjects out{among}"
    else:
        tested = f"leave one subject out{among}"
    if protocol.get("val"):
        return f"{tested}; {names('val')} for validation in every fold{refit}"
    validating = int(protocol.get("val_subjects") or 0)
    if validating == 0:
        return f"{tested}; nobody validates"
    following = "subject" if validating == 1 else f"{validating} subjects"
    order = "dealt" if kind == "subject-folds" else "sorted"
    return f"{tested}, the next {following} in {order} order for validation{refit}"


def notes(run: RunFacts, main: pl.DataFrame, comparisons: pl.DataFrame) -> list[str]:
    """How the numbers of a report are computed, a sentence or two each."""
    folds, subjects = (int(main.select(pl.col(key).max()).item()) for key in ("folds", "subjects"))
    activities = count(len(run.activities), "activity", "activities")
    notes = [CONTROL] if run.protocol.get("shuffle_labels") is not None else []
    notes += [
        "Accuracy: share of right clips among a fold's test clips, seeds averaged, mean over "
        f"{count(folds, 'fold')}.",
        f"Subject SD: sample standard deviation (n − 1), over {count(subjects, 'subject')}, of the subject's "
        "accuracy (seeds averaged first), in points.",
        f"Macro F1: unweighted mean of F1 over all {activities}, test clips pooled over folds, one per seed, "
        "averaged over seeds.",
        f"Split: {split(run.protocol)}. Seeds: {', '.join(map(str, run.seeds))}.",
        f"Training time: seconds of one job (one method, fold and seed) on {run.device}, "
        f"{count(run.threads, 'thread')} each, on a machine with {count(run.cores, 'core')}.",
    ]
    origins = [origin for row in run.methods.values() for origin in row.encoders.values()]
    if any(origin.donor and origin.frozen for origin in origins):
        notes.append(
            "Frozen: the encoder is another method's, trained in the same fold with the same seed, and not "
            "trained further. It has seen its training clips, so their features are better than those of "
            "test clips."
        )
    if any(origin.donor and not origin.frozen for origin in origins):
        notes.append(
            "Tuned: the encoder starts as another method's of the same fold and seed, and is trained further."
        )
    if any(origin.features for origin in origins):
        notes.append(
            "Features: a frozen network saw these clips once, before the study; parameters are those that "
            "were trained on top. plait does not know what that network was trained on."
        )
    if comparisons.height:
        notes += _comparison_notes(run, comparisons)
    if run.said:
        notes.append(f"Clips: {'; '.join(line.strip() for line in run.said)}.")
    if run.failed:
        failed = "; ".join(run.failed)
        notes.append(f"Failed, whence their methods and what is made from them are left out: {failed}.")
    return notes


def _comparison_notes(run: RunFacts, comparisons: pl.DataFrame) -> list[str]:
    if (comparisons["subjects"] <= EXACT_UP_TO).all():
        test = "exact two-sided sign-flip test"
    else:
        test = f"two-sided sign-flip test (2^{EXACT_UP_TO} random flips)"
    notes = [
        "Comparisons: accuracy of the fusion minus that of the baseline on the same subjects, seeds averaged "
        "within a subject first; Student-t 95 % interval of the mean difference, each by itself; "
        f"{test}; Holm over all {len(comparisons)} planned comparisons; 'better' and 'worse' where p (Holm) "
        "is at most 0.05.",
        "Best single: the best of the fusion's own modalities on these same test subjects, chosen with "
        "hindsight, which favours the single.",
    ]
    if run.protocol.get("kind") != "fixed":
        notes.append(
            "Folds share training subjects, so the differences of two subjects are not quite independent."
        )
    if (comparisons["verdict"] == TOO_FEW).any():
        notes.append(
            "Too few subjects to tell: with n subjects no p can be below 2 / 2^n, and that, times the number "
            "of planned comparisons, is above 0.05: no result whatever could have passed, so only the "
            "interval is given."
        )
    return notes


def origin_of(encoder: Origin) -> str:
    """Where an encoder comes from, in words."""
    if encoder.donor:
        return f"{'frozen' if encoder.frozen else 'tuned'}, from {encoder.donor}"
    networks = " -> ".join(network for network in (encoder.features, encoder.network) if network)
    return f"features of {networks}" if encoder.features else networks


def training_of(encoder: Origin) -> str | None:
    """How an encoder was trained, in a word, if not with the method."""
    if encoder.features:
        return "features"
    if encoder.donor:
        return "frozen" if encoder.frozen else "tuned"
    return None

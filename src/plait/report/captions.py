"""Numbers and settings in words: how a report prints them, and what it says about how they came about."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from plait.analysis.compare import NOT_RUN
from plait.config import Comparisons, known_of
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


def _exactly(share: float | None) -> str:
    """A share that a study sets, in percent, with the decimals that it has: 99.5, 0.04."""
    return "–" if share is None else f"{100 * share:.10g}"


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


def people_tested(protocol: Mapping[str, Any], number: int) -> str:
    """Who is tested: how many, and what networks know of them."""
    return f"{count(number, 'person', 'people')} who {'was' if number == 1 else 'were'} {known_of(protocol)}"


def split(protocol: Mapping[str, Any]) -> str:
    """The protocol: who trains, validates and is tested."""
    refit = REFIT if protocol.get("refit") else ""

    def names(key: str) -> str:
        return ", ".join(map(str, protocol.get(key) or ["nobody"]))

    kind = protocol.get("kind")
    by_session = kind == "leave-one-session-out"
    if kind in ("fixed", "fixed-sessions"):
        who = f"training on {names('train')}; validation on {names('val')}; test on {names('test')}"
        return f"fixed {'subjects' if kind == 'fixed' else 'sessions'}: {who}{refit}"
    among = f" among {names('subjects')}, the others left alone" if protocol.get("subjects") else ""
    if kind == "subject-folds":
        left = f"{protocol['folds']} folds of subjects, dealt by seed {protocol.get('seed', 0)}{among}"
    elif kind == "leave-n-out":
        left = f"leave every {protocol['leave']} subjects out{among}"
    elif by_session:
        left = "leave one session out, of everybody, whose other sessions train"
    else:
        left = f"leave one subject out{among}"
    if protocol.get("val"):
        return f"{left}; {names('val')} for validation in every fold{refit}"
    if not _validates(protocol):
        return f"{left}; nobody validates"
    validating = int(protocol["val_subjects"])
    unit = "session" if by_session else "subject"
    following = unit if validating == 1 else f"{validating} {unit}s"
    order = "dealt" if kind == "subject-folds" else "sorted"
    return f"{left}, the next {following} in {order} order for validation{refit}"


def _validates(protocol: Mapping[str, Any]) -> bool:
    """Whether anybody does."""
    fixed = protocol.get("kind") in ("fixed", "fixed-sessions")
    return bool(protocol.get("val") or (protocol.get("val_subjects") and not fixed))


def notes(
    run: RunFacts,
    main: pl.DataFrame,
    contrasts: pl.DataFrame,
    comparisons: pl.DataFrame,
    lacking: pl.DataFrame | None = None,
    unshown: Sequence[str] = (),
) -> list[str]:
    """How the numbers of a report are computed, a sentence or two each.

    Args:
        run: what it says of itself.
        main: `tables.main_table`.
        contrasts: `compare.decide`.
        comparisons: `compare.describe`.
        lacking: `tables.lacking_table`.
        unshown: activities that no test clip shows, `tables.unshown`.
    """
    folds, subjects = (int(main.select(pl.col(key).max()).item()) for key in ("folds", "subjects"))
    activities = f"all {count(len(run.activities), 'activity', 'activities')}"
    if unshown:
        activities += f" (no test clip shows {', '.join(unshown)}: counted as 0)"
    notes = [CONTROL] if run.protocol.get("shuffle_labels") is not None else []
    notes += [
        "Accuracy: share of right clips among a fold's test clips, seeds averaged, mean over "
        f"{count(folds, 'fold')}.",
        f"Subject SD: sample standard deviation (n − 1), over {count(subjects, 'subject')}, of the subject's "
        "accuracy (seeds averaged first), in points.",
        f"Macro F1: unweighted mean of F1 over {activities}, test clips pooled over folds, one per seed, "
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
    if any(origin.blocks for origin in origins):
        notes.append(
            "Blocks: a network that was trained elsewhere, whose last blocks are trained further with the "
            "method; what is in front of them is frozen and saw these clips once. plait does not know what "
            "that network was trained on."
        )
    notes += made_notes(run)
    if contrasts.height:
        notes += contrast_notes(run.comparisons, contrasts)
    if comparisons.height:
        notes.append(
            "Beside simpler methods: accuracy of the fusion minus that of the baseline on the same subjects, "
            "seeds averaged within a subject first; 95 % interval by sign flips over subjects, each by "
            "itself; nothing is tested. Best single: the best of the fusion's own modalities on these same "
            "test subjects, chosen with hindsight, which favours the single."
        )
    if contrasts.height + comparisons.height and run.protocol.get("kind") not in ("fixed", "fixed-sessions"):
        notes.append(
            "Folds share training subjects, so the differences of two subjects are not quite independent."
        )
    if lacking is not None and lacking.height:
        notes.append(missing_sensors(lacking))
    if run.said:
        notes.append(f"Clips: {'; '.join(line.strip() for line in run.said)}.")
    if run.failed:
        failed = "; ".join(run.failed)
        notes.append(f"Failed, whence their methods and what is made from them are left out: {failed}.")
    return notes


def made_notes(run: RunFacts) -> list[str]:
    """What rows are that are made of other rows, a sentence or two for each kind but averages."""
    notes = []
    kinds = {row.kind for row in run.methods.values()}
    if "mixture" in kinds:
        sure = "are first made as sure as they are right, on those who validate"
        as_they_are = "stay as they are, for nobody validates"
        notes.append(
            "Mixture: the mean of its methods' scores, each weighted by how sure it is of the clip; by "
            f"default scores {sure if _validates(run.protocol) else as_they_are}."
        )
    if "stack" in kinds:
        notes.append(
            "Stack: a logistic layer over its methods' scores, fitted on people who train, whose scores come "
            "from networks that were trained without them, in folds within the fold. Parameters are the "
            "layer's; training time includes those networks."
        )
    if "first" in kinds:
        notes.append(
            "First: of each clip the first of its methods speaks that has the sensors it needs; where none "
            "is absent, that is the first of them."
        )
    if "ensemble" in kinds:
        notes.append(
            f"Ensemble: the mean of a row's scores over {count(len(run.seeds), 'seed')}. It has one accuracy "
            "a person, and no spread over seeds; in a contrast it stands against the mean over seeds of the "
            "other's accuracies, and SD, seeds is the other's."
        )
    return notes


def missing_sensors(lacking: pl.DataFrame) -> str:
    """How clips that lack a sensor count, and how many of them each method cannot see.

    Args:
        lacking: `tables.lacking_table`.
    """
    totals = lacking.group_by("method", maintain_order=True).agg(pl.col("clips", "unseen").sum())
    unseen = [f"{name} {n} of {clips:,}" for name, clips, n in totals.iter_rows() if n]
    return (
        "Sensors are missing from some clips. A method is trained and validated on the clips that hold all "
        "that it reads. It is tested on every clip, with what that holds where it can do without the rest; a "
        "clip that it cannot see counts as not recognised, so that all methods stand on the same clips. Not "
        f"recognised for want of a sensor: {', '.join(unseen) or 'none'}."
    )


def decided(comparisons: Comparisons, contrasts: pl.DataFrame) -> list[str]:
    """A sentence on each planned contrast: what was found, and what these people could have shown."""
    sentences = []
    for row in contrasts.iter_rows(named=True):
        pair = f"{row['method']} against {row['baseline']}"
        if row["verdict"] == NOT_RUN:
            sentences.append(f"{pair}: not run, counted as not shown.")
            continue
        difference = f"{points(row['difference'])} points"
        if row["low"] is not None:
            difference += f" ({interval(row['low'], row['high'])})"
        verdict = row["verdict"]
        if verdict == "equivalent":
            verdict = f"equivalent, within {_exactly(comparisons.margin)} points"
        elif verdict == "undecided" and row["detectable"] is None:
            verdict = "undecided: so few people can show no difference whatever"
        elif verdict == "undecided":
            verdict = f"undecided: {percent(row['detectable'])} points would have been shown in four of five"
        sentences.append(f"{pair}: {difference}, {verdict}.")
    return sentences


def contrast_notes(comparisons: Comparisons, contrasts: pl.DataFrame) -> list[str]:
    """How planned contrasts are decided."""
    level = f"{_exactly(1 - comparisons.alpha)} %"
    draws = contrasts["draws"].drop_nulls()
    how = f"{draws[0]:,} random patterns of signs" if len(draws) else "all patterns of signs"
    if comparisons.order == "sequence":
        order = "in the order in which they are named, each at the full level until one shows no difference"
    else:
        order = f"by Holm over all {len(contrasts)}"
    notes = [
        f"Planned contrasts: accuracy on the same subjects, seeds averaged within a subject first; two-sided "
        f"sign-flip test ({how}), {order}; the {level} interval holds the differences that the same test, by "
        f"itself, does not refuse. Better or worse: p (adjusted) at most {comparisons.alpha:g}.",
        "SD, people: of the difference, without the seeds' part; SD, seeds: within a subject. Detectable: "
        "the true difference, in points, that as many subjects, spread as these are, show with 80 % power.",
    ]
    if comparisons.margin:
        notes.append(
            f"Equivalent: two one-sided sign-flip tests show the difference to lie within "
            f"{_exactly(comparisons.margin)} points of zero, by Holm over all contrasts."
        )
    return notes


def origin_of(encoder: Origin) -> str:
    """Where an encoder comes from, in words."""
    if encoder.donor:
        return f"{'frozen' if encoder.frozen else 'tuned'}, from {encoder.donor}"
    if encoder.blocks:
        return f"{encoder.network}, tuned: {', '.join(encoder.blocks)}"
    networks = " -> ".join(network for network in (encoder.features, encoder.network) if network)
    return f"features of {networks}" if encoder.features else networks


def training_of(encoder: Origin) -> str | None:
    """How an encoder was trained, in a word, if not with the method."""
    if encoder.blocks:
        return "blocks"
    if encoder.features:
        return "features"
    if encoder.donor:
        return "frozen" if encoder.frozen else "tuned"
    return None

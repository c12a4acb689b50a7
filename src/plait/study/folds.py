"""Who trains, validates and is tested: folds by subject, checked before anything is trained."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

from plait.clips import People
from plait.config import Protocol
from plait.errors import ConfigError
from plait.names import natural
from plait.types import Clip, Fold


def folds(protocol: Protocol, subjects: Sequence[str]) -> tuple[Fold, ...]:
    """The folds of `protocol` over `subjects`.

    Leave-one-subject-out has one fold per subject, named after it, or per one of `protocol.subjects`; the next
    `val_subjects` in sorted order, cyclic, validate. A fixed split is one fold, named `fixed`. Either can do without
    validation subjects.

    Raises:
        ConfigError: too few subjects, an unknown one, one in two parts of a fold, nobody to train or to test, or a
            refit without anybody to validate.
    """
    known = sorted(set(subjects), key=natural)
    called = People(protocol.same_person, protocol.different).called
    among, *parts = (
        tuple(map(called, names))
        for names in (protocol.subjects, protocol.train, protocol.val, protocol.test)
    )
    protocol = replace(protocol, subjects=among, train=parts[0], val=parts[1], test=parts[2])
    if protocol.refit and not (protocol.val if protocol.kind == "fixed" else protocol.val_subjects):
        raise ConfigError("protocol.refit: nobody validates, so there is nothing to train once more")
    if protocol.kind == "fixed":
        if protocol.subjects:
            raise ConfigError("protocol.subjects: a list for leave-one-subject-out, not for kind = 'fixed'")
        fold = Fold("fixed", protocol.train, protocol.val, protocol.test)
        _check(fold, known)
        return (fold,)
    if protocol.train or protocol.val or protocol.test:
        raise ConfigError(
            "protocol: train, val and test are lists for kind = 'fixed', not for leave-one-subject-out"
        )
    if protocol.subjects:
        _check_part("subjects", protocol.subjects, known)
        known = sorted(protocol.subjects, key=natural)
    if len(known) < protocol.val_subjects + 2:
        raise ConfigError(
            f"protocol: {len(known)} subjects ({', '.join(known)}), expected at least {protocol.val_subjects + 2}: "
            f"1 to test, {protocol.val_subjects} to validate, 1 to train"
        )
    made = []
    for at, test in enumerate(known):
        others = [known[(at + step) % len(known)] for step in range(1, len(known))]
        val, train = others[: protocol.val_subjects], others[protocol.val_subjects :]
        made.append(Fold(test, tuple(sorted(train, key=natural)), tuple(val), (test,)))
    return tuple(made)


def check_classes(fold: Fold, clips: Sequence[Clip], activities: Sequence[str]) -> None:
    """Refuse a fold in which an activity has no training clip.

    Raises:
        ConfigError: the first such activity, by name.
    """
    counts = Counter(clip.activity for clip in clips if clip.subject in fold.train)
    for activity in activities:
        if not counts[activity]:
            who = ", ".join(fold.train)
            others = sorted({clip.subject for clip in clips if clip.activity == activity}, key=natural)
            whose = f"only {', '.join(others)} did it" if others else "nobody did it"
            raise ConfigError(
                f"fold {fold.name}: activity {activity!r} has no clip of the training subjects {who}: {whose}; record "
                "it of more people, leave it out of the data set's activities, or leave people out (protocol.subjects)"
            )


def check_choice(fold: Fold, choose: str, where: str) -> None:
    """Refuse to choose the best epoch on validation where nobody validates.

    Raises:
        ConfigError: naming the setting.
    """
    if choose == "best" and not fold.val:
        raise ConfigError(
            f"{where}.choose is 'best', but nobody validates in fold {fold.name}: expected 'last'"
        )


def _check(fold: Fold, known: Sequence[str]) -> None:
    parts = {"train": fold.train, "val": fold.val, "test": fold.test}
    for part, subjects in parts.items():
        if not subjects and part != "val":
            raise ConfigError(f"protocol.{part}: empty, expected at least one subject of: {', '.join(known)}")
        _check_part(part, subjects, known)
    for (one, first), (other, second) in combinations(parts.items(), 2):
        both = sorted(set(first) & set(second), key=natural)
        if both:
            raise ConfigError(
                f"protocol: subject {both[0]!r} stands in {one} and in {other}, expected one part only"
            )


def _check_part(part: str, subjects: Sequence[str], known: Sequence[str]) -> None:
    for subject, count in Counter(subjects).items():
        if subject not in known:
            raise ConfigError(
                f"protocol.{part}: unknown subject {subject!r}, expected some of: {', '.join(known)}"
            )
        if count > 1:
            raise ConfigError(f"protocol.{part}: subject {subject!r} stands {count} times, expected once")

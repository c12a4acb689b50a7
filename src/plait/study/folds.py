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

    Leave-one-subject-out has one fold per subject, named after it, or per one of `protocol.subjects`; the
    next `val_subjects` in sorted order, cyclic, validate. A fixed split is one fold, named `fixed`. Either
    can do without validation subjects.

    Raises:
        ConfigError: too few subjects, an unknown one, one in two parts of a fold, nobody to train or to test,
            or a refit without anybody to validate.
    """
    everybody = sorted(set(subjects), key=natural)
    called = People(protocol.same_person, protocol.different).called
    lists = (protocol.subjects, protocol.train, protocol.val, protocol.test)
    among, train, val, test = (tuple(map(called, names)) for names in lists)
    protocol = replace(protocol, subjects=among, train=train, val=val, test=test)
    if protocol.refit and not (protocol.val if protocol.kind == "fixed" else protocol.val_subjects):
        raise ConfigError("protocol.refit: nobody validates, so there is nothing to train once more")
    if protocol.kind == "fixed":
        if protocol.subjects:
            raise ConfigError("protocol.subjects: a list for leave-one-subject-out, not for kind = 'fixed'")
        fold = Fold("fixed", protocol.train, protocol.val, protocol.test)
        _check(fold, everybody)
        return (fold,)
    if protocol.train or protocol.val or protocol.test:
        fixed = "train, val and test are lists for kind = 'fixed'"
        raise ConfigError(f"protocol: {fixed}, not for leave-one-subject-out")
    if protocol.subjects:
        _check_part("subjects", protocol.subjects, everybody)
        everybody = sorted(protocol.subjects, key=natural)
    validating = protocol.val_subjects
    if len(everybody) < validating + 2:
        raise ConfigError(
            f"protocol: {len(everybody)} subjects ({', '.join(everybody)}), expected at least "
            f"{validating + 2}: 1 to test, {validating} to validate, 1 to train"
        )
    splits = []
    for at, subject in enumerate(everybody):
        others = everybody[at + 1 :] + everybody[:at]
        train = tuple(sorted(others[validating:], key=natural))
        splits.append(Fold(subject, train, tuple(others[:validating]), (subject,)))
    return tuple(splits)


def check_classes(fold: Fold, clips: Sequence[Clip], activities: Sequence[str]) -> None:
    """Refuse a fold in which an activity has no training clip.

    Raises:
        ConfigError: the first such activity, by name.
    """
    counts = Counter(clip.activity for clip in clips if clip.subject in fold.train)
    for activity in activities:
        if not counts[activity]:
            others = sorted({clip.subject for clip in clips if clip.activity == activity}, key=natural)
            who = f"only {', '.join(others)}" if others else "nobody"
            raise ConfigError(
                f"fold {fold.name}: activity {activity!r} has no clip of the training subjects "
                f"{', '.join(fold.train)}: {who} did it; record it of more people, leave it out of the data "
                "set's activities, or leave people out (protocol.subjects)"
            )


def check_choice(fold: Fold, choose: str, where: str) -> None:
    """Refuse to choose the best epoch on validation where nobody validates.

    Raises:
        ConfigError: naming the setting.
    """
    if choose == "best" and not fold.val:
        nobody = f"nobody validates in fold {fold.name}"
        raise ConfigError(f"{where}.choose is 'best', but {nobody}: expected 'last'")


def _check(fold: Fold, everybody: Sequence[str]) -> None:
    parts = {"train": fold.train, "val": fold.val, "test": fold.test}
    for part, subjects in parts.items():
        if not subjects and part != "val":
            expected = f"expected at least one subject of: {', '.join(everybody)}"
            raise ConfigError(f"protocol.{part}: empty, {expected}")
        _check_part(part, subjects, everybody)
    for (part, subjects), (other, others) in combinations(parts.items(), 2):
        both = sorted(set(subjects) & set(others), key=natural)
        if both:
            stands = f"subject {both[0]!r} stands in {part} and in {other}"
            raise ConfigError(f"protocol: {stands}, expected one part only")


def _check_part(part: str, subjects: Sequence[str], everybody: Sequence[str]) -> None:
    for subject, count in Counter(subjects).items():
        if subject not in everybody:
            unknown = f"protocol.{part}: unknown subject {subject!r}"
            raise ConfigError(f"{unknown}, expected some of: {', '.join(everybody)}")
        if count > 1:
            raise ConfigError(f"protocol.{part}: subject {subject!r} stands {count} times, expected once")

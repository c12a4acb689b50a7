"""Who trains, validates and is tested: folds by subject, checked before anything is trained."""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from itertools import combinations, islice

import numpy as np

from plait.clips import People, Side
from plait.config import BY_SESSION, Protocol
from plait.errors import ConfigError
from plait.names import natural, plain
from plait.types import Clip, Fold

MOST_FOLDS = 1000
NOBODY: frozenset[str] = frozenset()


def folds_of(protocol: Protocol, clips: Sequence[Clip]) -> tuple[Fold, ...]:
    """The folds of `protocol` over the subjects (or sessions) of `clips`.

    Whoever has no clip that holds all that methods read is trained on and tested as others are, but validates
    only where the protocol names them.

    Raises:
        ConfigError: as `folds`.
    """
    sides = [getattr(clip, by_of(protocol)) for clip in clips]
    whole = {side for side, clip in zip(sides, clips, strict=True) if not clip.lacks}
    return folds(protocol, sides, whole)


def folds(
    protocol: Protocol, subjects: Sequence[str], able: Collection[str] | None = None
) -> tuple[Fold, ...]:
    """The folds of `protocol` over `subjects` (or sessions), which stand in one part of a fold at most.

    Leave-one-subject-out (or session) has one fold for each, called after it; subject folds, one for each
    group, called 1, 2, ...; leave-n-out, one for each set, called after its subjects; a fixed split, of
    subjects or of sessions, is one fold, `fixed`.

    Args:
        protocol: who trains, who validates and who is tested.
        subjects: everybody, in any order.
        able: those who may be next to validate; by default all.

    Raises:
        ConfigError: too few subjects, an unknown one, one in two parts of a fold, nobody to train or to test,
            a refit without anybody to validate, two folds of one name, or a setting of another kind of
            protocol.
    """
    everybody = sorted(set(subjects), key=natural)
    rank = {name: place for place, name in enumerate(everybody)}
    by = by_of(protocol)
    called = plain if by == "session" else People(protocol.same_person, protocol.different).called
    lists = (protocol.subjects, protocol.train, protocol.val, protocol.test)
    among, train, val, test = (tuple(map(called, names)) for names in lists)
    protocol = replace(protocol, subjects=among, train=train, val=val, test=test)
    validating = 0 if val else protocol.val_subjects or 0
    fixed = protocol.kind in ("fixed", "fixed-sessions")
    if protocol.refit and not (val or (validating and not fixed)):
        raise ConfigError("protocol.refit: nobody validates, so there is nothing to train once more")
    _check_kind(protocol)
    if fixed:
        fold = Fold("fixed", train, val, test, by)
        _check(fold, everybody)
        return (fold,)
    if among:
        _check_part("subjects", among, everybody, by)
        everybody = sorted(among, key=natural)
    _check_part("val", val, everybody, by)
    everybody = [subject for subject in everybody if subject not in val]
    if protocol.kind == "subject-folds":
        dealt = np.random.default_rng(protocol.seed).permutation(len(everybody))
        everybody = [everybody[at] for at in dealt]
    splits, places = [], {name: place for place, name in enumerate(everybody)}
    for name, tested in _groups(protocol, everybody, validating):
        last, apart = max(places[subject] for subject in tested), set(tested)
        others = [who for who in everybody[last + 1 :] + everybody[: last + 1] if who not in apart]
        judges = list(islice((who for who in others if able is None or who in able), validating))
        rest = tuple(sorted((who for who in others if who not in judges), key=rank.__getitem__))
        if len(judges) < validating:
            raise ConfigError(
                f"protocol.val_subjects: {validating} in fold {name}, where {len(judges)} {by}s have clips "
                "that lack nothing: expected fewer, or missing = 'drop'"
            )
        splits.append(Fold(name, rest, val or tuple(judges), tested, by))
    name, count = Counter(fold.name for fold in splits).most_common(1)[0]
    if count > 1:  # one would stand in the place of the other
        raise ConfigError(f"protocol: {count} folds would be called {name!r}, expected names without '+'")
    return tuple(splits)


def notes_on(protocol: Protocol, clips: Sequence[Clip]) -> list[str]:
    """What to know of the folds of `protocol` over `clips` that are made of sessions, in lines.

    With one session left out, who has clips of one session alone is tested by those who have not seen them;
    in a fixed split, clips of sessions that are in no part are not looked at.
    """
    if protocol.kind == "leave-one-session-out":
        sessions: dict[str, set[str]] = {}
        for clip in clips:
            sessions.setdefault(clip.subject, set()).add(clip.session)
        if once := sorted((who for who, held in sessions.items() if len(held) == 1), key=natural):
            return [f"of {', '.join(once)} there is one session alone: where it is tested, nobody knows them"]
    if protocol.kind == "fixed-sessions":
        parts = {plain(name) for name in (*protocol.train, *protocol.val, *protocol.test)}
        left = [clip for clip in clips if clip.session not in parts]
        if left:
            names = ", ".join(sorted({clip.session for clip in left}, key=natural))
            people = ", ".join(sorted({clip.subject for clip in left}, key=natural))
            few = f"{len(left)} of {len(clips)} clips"
            return [f"{few} are in no part of the split: sessions {names} of {people}"]
    return []


def inner_folds(fold: Fold, groups: int, where: str) -> tuple[Fold, ...]:
    """The folds within a fold, over those alone who train in it: each is tested in one.

    They are dealt to groups in turn; who validates stays, and who is tested in the fold is in none.

    Args:
        fold: whose training people are dealt.
        groups: how many there are.
        where: what errors call the setting.

    Raises:
        ConfigError: fewer train than there are groups.
    """
    if len(fold.train) < groups:
        few = f"{len(fold.train)} {fold.by}s train in fold {fold.name}"
        raise ConfigError(f"{where}: got {groups}, but {few}: expected no more groups than that")
    parts = [fold.train[at::groups] for at in range(groups)]
    return tuple(
        Fold(
            f"{fold.name}, inner {number}",
            tuple(name for at, name in enumerate(fold.train, 1) if at % groups != number % groups),
            fold.val,
            part,
            fold.by,
        )
        for number, part in enumerate(parts, 1)
    )


def by_of(protocol: Protocol) -> Side:
    """What the folds of `protocol` are made of."""
    return "session" if protocol.kind in BY_SESSION else "subject"


def _groups(
    protocol: Protocol, everybody: Sequence[str], validating: int
) -> list[tuple[str, tuple[str, ...]]]:
    """Who is tested together, under what name."""
    groups, most = protocol.folds or 1, protocol.leave or 1
    if protocol.kind == "subject-folds":
        most = -(-len(everybody) // groups)
    least = max(most + validating + 1, groups)
    if len(everybody) < least:
        who = f"{len(everybody)} {by_of(protocol)}s ({', '.join(sorted(everybody, key=natural))})"
        parts = f"{most} to test, {validating} to validate, 1 to train"
        raise ConfigError(f"protocol: {who}, expected at least {least}: {parts}")
    if protocol.kind == "subject-folds":
        shares = np.array_split(np.array(everybody, dtype=object), groups)
        return [(str(i), tuple(sorted(share.tolist(), key=natural))) for i, share in enumerate(shares, 1)]
    sets = math.comb(len(everybody), most)
    if sets > MOST_FOLDS:
        raise ConfigError(f"protocol.leave: {sets} sets of {most} subjects, expected {MOST_FOLDS} at most")
    return [("+".join(tested), tested) for tested in combinations(everybody, most)]


def _check_kind(protocol: Protocol) -> None:
    """Refuse settings that the kind of protocol does not read."""
    own = {
        "fixed": {"train", "test"},
        "fixed-sessions": {"train", "test"},
        "subject-folds": {"folds", "seed"},
        "leave-n-out": {"leave"},
        "leave-one-subject-out": set(),
        "leave-one-session-out": set(),
    }
    required = own[protocol.kind] - {"seed", "train", "test"}
    for key in required:
        if getattr(protocol, key) is None:
            raise ConfigError(f"protocol.{key}: missing, expected a number for kind = {protocol.kind!r}")
    for kind, keys in own.items():
        for key in sorted(keys - own[protocol.kind]):
            if getattr(protocol, key):
                raise ConfigError(f"protocol.{key}: of kind = {kind!r}, not of {protocol.kind}")
    if protocol.kind in ("fixed", *BY_SESSION) and protocol.subjects:
        raise ConfigError(f"protocol.subjects: a list for the other kinds, not for kind = {protocol.kind!r}")


def doers(clips: Iterable[Clip], by: Side) -> dict[str, set[str]]:
    """Who has clips of each activity: subjects, or sessions; many folds are checked against it."""
    found: dict[str, set[str]] = {}
    for clip in clips:
        found.setdefault(clip.activity, set()).add(getattr(clip, by))
    return found


def check_classes(fold: Fold, who_does: Mapping[str, Set[str]], activities: Sequence[str]) -> None:
    """Refuse a fold in which an activity has no training clip.

    Args:
        fold: who trains.
        who_does: the `doers` of all clips.
        activities: that are told apart.

    Raises:
        ConfigError: the first such activity, by name.
    """
    for activity in activities:
        if who_does.get(activity, NOBODY).isdisjoint(fold.train):
            others = sorted(who_does.get(activity, NOBODY), key=natural)
            who = f"only {', '.join(others)}" if others else "nobody"
            if fold.by == "session":
                raise ConfigError(
                    f"fold {fold.name}: activity {activity!r} has no clip of the training sessions "
                    f"{', '.join(fold.train)}: expected it in two sessions or more, got {who}"
                )
            raise ConfigError(
                f"fold {fold.name}: activity {activity!r} has no clip of the training subjects "
                f"{', '.join(fold.train)}: {who} did it; record it of more people, leave it out of the data "
                "set's activities, or leave people out (protocol.subjects)"
            )


def check_strangers(fold: Fold, clips: Sequence[Clip]) -> None:
    """Refuse a fold, made of sessions, in which somebody who is tested trains or validates.

    Raises:
        ConfigError: naming them.
    """
    tested, known = (
        {c.subject for c in clips if getattr(c, fold.by) in part}
        for part in ({*fold.test}, {*fold.train, *fold.val})
    )
    if both := sorted(tested & known, key=natural):
        raise ConfigError(
            f"evaluate.continuous: of people who were not trained on, but {', '.join(both)} is tested in "
            f"fold {fold.name} and trains or validates there: expected others' sessions to test"
        )


def check_held(
    fold: Fold,
    who_does: Mapping[str, Set[str]],
    activities: Sequence[str],
    modalities: Sequence[str],
    where: str,
) -> None:
    """Refuse a fold in which a method cannot be trained, for clips lack what it reads.

    Args:
        fold: who trains and who validates.
        who_does: the `doers` of the clips that hold all of `modalities`.
        activities: each of which needs a training clip among these.
        modalities: what the method reads.
        where: what errors call the method.

    Raises:
        ConfigError: naming fold, activity and modalities.
    """
    for activity in activities:
        if who_does.get(activity, NOBODY).isdisjoint(fold.train):
            raise ConfigError(
                f"{where}: fold {fold.name}: activity {activity!r} has no training clip that holds "
                f"{' and '.join(modalities)}, expected one, or missing = 'drop'"
            )


def check_choice(fold: Fold, choose: str, where: str, holding: Collection[str] | None = None) -> None:
    """Refuse to choose the best epoch on validation where nobody validates.

    Args:
        fold: who validates.
        choose: which epoch is chosen.
        where: what errors call the training.
        holding: those who have clips that hold what the method reads; by default all.

    Raises:
        ConfigError: naming the setting.
    """
    if choose == "best" and fold.val and holding is not None and not set(fold.val) & set(holding):
        lack = f"no clip of {', '.join(fold.val)}, who validate in fold {fold.name}, holds all that it reads"
        raise ConfigError(f"{where}.choose is 'best', but {lack}: expected 'last', or others to validate")
    if choose == "best" and not fold.val:
        nobody = f"nobody validates in fold {fold.name}"
        raise ConfigError(f"{where}.choose is 'best', but {nobody}: expected 'last'")


def _check(fold: Fold, everybody: Sequence[str]) -> None:
    parts = {"train": fold.train, "val": fold.val, "test": fold.test}
    for part, subjects in parts.items():
        if not subjects and part != "val":
            expected = f"expected at least one {fold.by} of: {', '.join(everybody)}"
            raise ConfigError(f"protocol.{part}: empty, {expected}")
        _check_part(part, subjects, everybody, fold.by)
    for (part, subjects), (other, others) in combinations(parts.items(), 2):
        both = sorted(set(subjects) & set(others), key=natural)
        if both:
            stands = f"{fold.by} {both[0]!r} stands in {part} and in {other}"
            raise ConfigError(f"protocol: {stands}, expected one part only")


def _check_part(part: str, names: Sequence[str], everybody: Sequence[str], by: Side) -> None:
    for name, count in Counter(names).items():
        if name not in everybody:
            unknown = f"protocol.{part}: unknown {by} {name!r}"
            raise ConfigError(f"{unknown}, expected some of: {', '.join(everybody)}")
        if count > 1:
            raise ConfigError(f"protocol.{part}: {by} {name!r} stands {count} times, expected once")

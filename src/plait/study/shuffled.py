"""A study's clips as its methods need them; and its control, with labels that say nothing, expected at chance."""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from plait.clips import Cut, Listing, People, survey
from plait.clips.windows import ROUNDING_S
from plait.config import Study
from plait.errors import ConfigError
from plait.names import natural
from plait.results import FACTS, JOBS, WRITTEN, kept_in
from plait.types import Clip, Dataset

NAMED = " (control: labels shuffled"


def as_control(study: Study) -> Study:
    """The study under a name that says what it is; as it is, where no labels are shuffled."""
    seed = study.protocol.shuffle_labels
    if seed is None:
        return study
    return replace(study, name=f"{study.name.partition(NAMED)[0]}{NAMED}, seed {seed})")


def people_of(study: Study) -> People:
    """Who is who, as the study says."""
    return People(study.protocol.same_person, study.protocol.different)


def clips_of(study: Study, dataset: Dataset, data: Path) -> Listing:
    """The clips of a study, people told apart, as its methods need them; labels shuffled where it is a control.

    Raises:
        ConfigError: labels that cannot be shuffled.
        DataError: clips that cannot be had, or a person under two names.
    """
    listing = survey(dataset, data, study.modalities, needed=study.needed, people=people_of(study))
    seed = study.protocol.shuffle_labels
    if seed is None:
        return listing
    dealt = shuffled(listing.cuts, seed)
    same = kept(listing.cuts, dealt)
    note = f"control: labels shuffled within each person (seed {seed}); {same:.0%} of the clips keep theirs by chance"
    return listing._replace(cuts=dealt, notes=[note, *listing.notes])


def check_out(study: Study, out: Path) -> None:
    """Refuse to put a run in the place of something else: of another study's, of its control's, of a user's files.

    Raises:
        ConfigError: `out` holds it.
        DataError: what `out` holds cannot be read.
    """
    run = kept_in(out)
    if run is None:
        there = [name for name in WRITTEN if (out / name).exists()]
        if there and not (out / JOBS).is_dir():
            raise ConfigError(
                f"{out}: {there[0]!r} lies there, which no run has left: expected another folder"
            )
        return
    protocol = run.get("protocol")
    before = protocol.get("shuffle_labels") if isinstance(protocol, dict) else None
    if before != study.protocol.shuffle_labels:
        seeds = (before, study.protocol.shuffle_labels)
        named = ["labels as they are" if seed is None else f"labels shuffled, seed {seed}" for seed in seeds]
        raise ConfigError(
            f"{out}: holds a run with {named[0]}, and this is one with {named[1]}: expected another folder"
        )
    if run.get("study") not in (None, study.name):
        raise ConfigError(
            f"{out}: holds a run of {run['study']!r}, and this is {study.name!r}: expected another folder; if it is "
            f"the same study under another name, remove its {FACTS}"
        )


def shuffled(cuts: Sequence[Cut], seed: int) -> list[Cut]:
    """The clips with each person's activities dealt anew among that person's stretches of work.

    A stretch is the clips of one recording and activity that lie no more than a clip's length apart; all of it gets the
    activity of one stretch, so that neighbours, which resemble each other, never get different labels, and every
    person keeps the activities that they have, each as many times. `seed` and a person's name decide theirs, whoever
    else there is.

    Raises:
        ConfigError: nobody has stretches of two activities, so that no label could change.
    """
    stretches = _stretches([clip for _, clip in cuts])
    activities = {clip.name: clip.activity for _, clip in cuts}
    dealt = dict(activities)
    movable = False
    for subject in sorted(stretches, key=natural):
        own = stretches[subject]
        draw = np.random.default_rng(int.from_bytes(sha256(f"{seed}/{subject}".encode()).digest()[:8]))
        before = [activities[stretch[0]] for stretch in own]
        movable |= len(set(before)) > 1
        for stretch, source in zip(own, draw.permutation(len(own)), strict=True):
            dealt.update(dict.fromkeys(stretch, before[source]))
    if not movable:
        raise ConfigError(
            "protocol.shuffle_labels: nobody has two activities, so no label of theirs could change"
        )
    return [(recording, replace(clip, activity=dealt[clip.name])) for recording, clip in cuts]


def kept(before: Sequence[Cut], after: Sequence[Cut]) -> float:
    """The share of clips that a shuffle has left the activity that they had."""
    return float(
        np.mean([one.activity == other.activity for (_, one), (_, other) in zip(before, after, strict=True)])
    )


def _stretches(clips: Sequence[Clip]) -> dict[str, list[list[str]]]:
    """The names of the clips of each person's stretches, in the order of recordings and time."""
    found: dict[str, list[list[str]]] = {}
    last: Clip | None = None
    for clip in sorted(
        clips, key=lambda one: (natural(one.subject), natural(one.recording), one.start_s, one.stop_s)
    ):
        same = last is not None and (last.recording, last.subject) == (clip.recording, clip.subject)
        near = last is not None and clip.start_s <= 2 * last.stop_s - last.start_s + ROUNDING_S
        if same and near and last is not None and last.activity == clip.activity:
            found[clip.subject][-1].append(clip.name)
        else:
            found.setdefault(clip.subject, []).append([clip.name])
        last = clip
    return found

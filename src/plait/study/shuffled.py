"""A study's clips as its methods need them; and its control, with labels that say nothing, at chance."""

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
from plait.study.folds import by_of, notes_on
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
    """The clips of a study, people told apart, as its methods need them; a control's with shuffled labels.

    Raises:
        ConfigError: labels that cannot be shuffled.
        DataError: clips that cannot be had, or a person under two names.
    """
    people, by = people_of(study), by_of(study.protocol)
    listing = survey(
        dataset,
        data,
        study.modalities,
        needed=study.needed,
        people=people,
        by=by,
        missing=study.missing,
    )
    told = notes_on(study.protocol, [clip for _, clip in listing.cuts])
    listing = listing._replace(notes=[*listing.notes, *told])
    seed = study.protocol.shuffle_labels
    if seed is None:
        return listing
    cuts = shuffled(listing.cuts, seed)
    chance = f"{kept(listing.cuts, cuts):.0%} of the clips keep theirs by chance"
    note = f"control: labels shuffled within each person (seed {seed}); {chance}"
    return listing._replace(cuts=cuts, notes=[note, *listing.notes])


def check_out(study: Study, out: Path) -> None:
    """Refuse to put a run in the place of another study's, of its control's, or of a user's files.

    Raises:
        ConfigError: `out` holds it.
        DataError: what `out` holds cannot be read.
    """
    run = kept_in(out)
    if run is None:
        files = [name for name in WRITTEN if (out / name).exists()]
        if files and not (out / JOBS).is_dir():
            left = f"{out}: {files[0]!r} lies there, which no run has left"
            raise ConfigError(f"{left}: expected another folder")
        return
    protocol = run.get("protocol")
    before = protocol.get("shuffle_labels") if isinstance(protocol, dict) else None
    now = study.protocol.shuffle_labels
    if before != now:
        old, new = ("as they are" if seed is None else f"shuffled, seed {seed}" for seed in (before, now))
        runs = f"holds a run with labels {old}, and this is one with labels {new}"
        raise ConfigError(f"{out}: {runs}: expected another folder")
    if run.get("study") not in (None, study.name):
        raise ConfigError(
            f"{out}: holds a run of {run['study']!r}, and this is {study.name!r}: expected another folder; "
            f"if it is the same study under another name, remove its {FACTS}"
        )


def shuffled(cuts: Sequence[Cut], seed: int) -> list[Cut]:
    """The clips with each person's activities dealt anew among that person's stretches of work.

    A stretch is the clips of one recording and activity that lie no more than a clip's length apart. All of
    it gets the activity of one stretch, so that neighbours, which resemble each other, never get different
    labels, and every person keeps the activities that they have, each as many times. `seed` and a person's
    name decide theirs, whoever else there is.

    Raises:
        ConfigError: nobody has stretches of two activities, so that no label could change.
    """
    activities = {clip.name: clip.activity for _, clip in cuts}
    dealt: dict[str, str] = {}
    movable = False
    for subject, stretches in _stretches([clip for _, clip in cuts]).items():
        draw = np.random.default_rng(int.from_bytes(sha256(f"{seed}/{subject}".encode()).digest()[:8]))
        before = [activities[stretch[0]] for stretch in stretches]
        movable |= len(set(before)) > 1
        for stretch, source in zip(stretches, draw.permutation(len(stretches)), strict=True):
            dealt.update(dict.fromkeys(stretch, before[source]))
    if not movable:
        nobody = "nobody has two activities, so no label of theirs could change"
        raise ConfigError(f"protocol.shuffle_labels: {nobody}")
    return [(recording, replace(clip, activity=dealt[clip.name])) for recording, clip in cuts]


def kept(before: Sequence[Cut], after: Sequence[Cut]) -> float:
    """The share of clips that a shuffle has left the activity that they had."""
    pairs = zip(before, after, strict=True)
    return float(np.mean([old.activity == new.activity for (_, old), (_, new) in pairs]))


def _stretches(clips: Sequence[Clip]) -> dict[str, list[list[str]]]:
    """The names of the clips of each person's stretches, in the order of recordings and time."""
    stretches: dict[str, list[list[str]]] = {}
    last: Clip | None = None
    in_order = sorted(
        clips, key=lambda clip: (natural(clip.subject), natural(clip.recording), clip.start_s, clip.stop_s)
    )
    for clip in in_order:
        if last is not None and _continues(clip, last):
            stretches[clip.subject][-1].append(clip.name)
        else:
            stretches.setdefault(clip.subject, []).append([clip.name])
        last = clip
    return stretches


def _continues(clip: Clip, last: Clip) -> bool:
    """Whether a clip is of the stretch of the one before."""
    alike = (clip.recording, clip.subject, clip.activity) == (last.recording, last.subject, last.activity)
    return alike and clip.start_s <= 2 * last.stop_s - last.start_s + ROUNDING_S

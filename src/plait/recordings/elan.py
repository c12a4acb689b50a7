"""Labels of ELAN: one tier of an .eaf file, its times from wherever in the hierarchy of tiers they stand."""

import math
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

from pympi.Elan import Eaf  # type: ignore[import-untyped]

from plait.errors import DataError, one_line, quote
from plait.names import plain
from plait.recordings.annotations import (
    MOST_S,
    Entry,
    Footage,
    LabelClock,
    LabelSettings,
    listed,
    refuse_unused,
    way_out,
    whole,
)
from plait.recordings.owners import key, name_of, own
from plait.recordings.tables import read_bytes

PER_PARENT = "Symbolic_Subdivision"  # a parent's time is shared evenly among its children


class Annotation(NamedTuple):
    """One annotation: its time slots, or the annotation that it is about and the sibling before it.

    Args:
        tier: the name of its tier.
        text: what it says.
        slots: the time slots of its start and stop, if it has its own.
        parent: the annotation that it is about.
        previous: the annotation of the same parent that it follows.
    """

    tier: str
    text: str
    slots: tuple[str, str] | None = None
    parent: str | None = None
    previous: str | None = None


def read(
    file: Path, settings: LabelSettings, footage: Footage | None, told: list[str]
) -> tuple[list[Entry], LabelSettings]:
    """Entries of the tier called `settings.tier`, or of the only one with text; and settings that name it.

    Slots without a time lie evenly between those that have one, as in ELAN; a child without slots has its
    parent's time, and several children of one parent share it. Times count from the linked video's time
    origin.

    Args:
        file: the `.eaf`.
        settings: what a person says of it.
        footage: the video it is about, None where it is not known.
        told: grows by what a person should know.

    Raises:
        DataError: the file is damaged, several tiers may be meant, or an annotation's time cannot be told.
    """
    if settings.label_unit not in (None, "ms"):
        raise DataError(
            f"{file}: label_unit is {settings.label_unit!r}, expected none: ELAN's times are milliseconds"
        )
    of_media = ("labels_of",) if settings.label_zero is None else ()  # whose time origin counts
    refuse_unused(file, "ELAN's .eaf", settings, ("tier", "label_unit", "label_zero", *of_media), "ms")
    eaf = _read_eaf(file)
    annotations = _annotations(file, eaf)
    tiers = [annotation.tier for annotation in annotations.values()]
    texts_of: dict[str, dict[str, None]] = {}  # of each tier that says something, in order
    for annotation in annotations.values():
        if text := plain(annotation.text):
            texts_of.setdefault(annotation.tier, {})[text] = None
    tier = settings.tier
    if tier is None and len(texts_of) == 1:
        tier = next(iter(texts_of))
    if tier is None and not texts_of and any(tiers):
        tier = tiers[0]  # whose annotations are empty, which is said of the first
    if tier is None or tier not in tiers:
        which = "several tiers hold" if tier is None and texts_of else "no tier holds"
        called = "" if tier is None else f" and is called {tier!r}"
        choice = ", ".join(f"{name!r} ({listed(list(texts), 3)})" for name, texts in texts_of.items())
        ask = f"; {way_out('tier', 'NAME')}" if texts_of else ""
        raise DataError(f"{file}: {which} labels{called}, expected one of: {choice or 'none at all'}{ask}")
    told.append(f"{file.name}: tier {tier!r}")
    if settings.label_zero is None:
        origin_s = _origin_s(file, eaf, settings, footage, told)
    else:
        origin_s = LabelClock(file, "s", settings, None).seconds("0", "label_zero")
    slots_ms = _slots_ms(eaf, annotations)
    entries = []
    for name, annotation in annotations.items():
        if annotation.tier == tier:
            start_s, stop_s = (s + origin_s for s in _times(file, name, annotations, eaf, slots_ms))
            entries.append(Entry(f"annotation {name!r}", start_s, stop_s, plain(annotation.text)))
    return entries, replace(settings, tier=tier)


def _read_eaf(file: Path) -> Eaf:
    _refuse_doctype(file, read_bytes(file))
    try:
        eaf = Eaf(file, suppress_version_warning=True)
    except Exception as error:  # KeyError, IndexError, ValueError, ... where a file is not as pympi expects
        raise DataError(
            f"{file}: cannot be read, expected ELAN's .eaf: {type(error).__name__} {one_line(error)}"
        ) from error
    if (unit := eaf.header.get("TIME_UNITS", "milliseconds")) != "milliseconds":
        raise DataError(
            f"{file}: TIME_UNITS is {quote(unit)}, expected milliseconds, in which ELAN saves today"
        )
    return eaf


def _refuse_doctype(file: Path, content: bytes) -> None:
    """Refuse XML that declares entities (ELAN's never does) before anything expands them."""

    def refuse(*_: object) -> None:
        raise DataError(f"{file}: holds a DOCTYPE, expected ELAN's .eaf, which has none")

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(content, True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        raise DataError(f"{file}: cannot be read, expected ELAN's .eaf: {one_line(error)}") from error


def _annotations(file: Path, eaf: Eaf) -> dict[str, Annotation]:
    annotations: dict[str, Annotation] = {}
    for tier, (aligned, referring, _, _) in eaf.tiers.items():
        in_tier: dict[str, Annotation] = {}
        for name, (start, stop, text, _) in aligned.items():
            in_tier[name] = Annotation(tier, text, slots=(start, stop))
        for name, (parent, text, previous, _) in referring.items():
            in_tier[name] = Annotation(tier, text, parent=parent, previous=previous)
        if twice := annotations.keys() & in_tier.keys():
            raise DataError(f"{file}: two annotations are called {min(twice)!r}, expected names that differ")
        annotations |= in_tier
    return annotations


def _slots_ms(eaf: Eaf, annotations: dict[str, Annotation]) -> dict[str, float]:
    """When each time slot is; those without a time evenly between those of the annotations that they link."""
    slots_ms = {slot: float(whole(str(ms))) for slot, ms in eaf.timeslots.items() if ms is not None}
    tiers = sorted(eaf.tiers, key=lambda tier: _depth(eaf, tier))  # a parent's slots before its children's
    for tier in tiers:
        pairs = [a.slots for a in annotations.values() if a.tier == tier and a.slots]
        following, before = dict(pairs), {stop: start for start, stop in pairs}
        for start in [start for start, stop in pairs if start in slots_ms and stop not in slots_ms]:
            chain = [start, following[start]]
            while chain[-1] in following and chain[-1] not in slots_ms and len(chain) <= len(pairs):
                chain.append(following[chain[-1]])
            if chain[-1] in slots_ms and all(before[slot] == chain[i] for i, slot in enumerate(chain[1:])):
                first_ms, last_ms = slots_ms[start], slots_ms[chain[-1]]
                for i, slot in enumerate(chain[1:-1], 1):
                    slots_ms[slot] = first_ms + (last_ms - first_ms) * i / (len(chain) - 1)
    return slots_ms


def _depth(eaf: Eaf, tier: str) -> int:
    """How many tiers a tier is below; a circle of tiers counts no further than there are any."""
    depth, above = 0, eaf.tiers[tier][2].get("PARENT_REF")
    while above in eaf.tiers and depth < len(eaf.tiers):
        depth, above = depth + 1, eaf.tiers[above][2].get("PARENT_REF")
    return depth


def _times(
    file: Path, name: str, annotations: dict[str, Annotation], eaf: Eaf, slots_ms: dict[str, float]
) -> tuple[float, float]:
    """Seconds of an annotation's start and stop."""
    first, path = 0.0, [name]
    share = 1.0  # of the time of the annotation reached; this one's begins at `first` of it
    while (annotation := annotations[path[-1]]).slots is None:
        siblings = _siblings(eaf, annotations, path[-1])
        place = siblings.index(path[-1])
        first, share = (place + first) / len(siblings), share / len(siblings)
        if annotation.parent not in annotations or annotation.parent in path:
            raise DataError(
                f"{file}: annotation {name!r}: refers to {annotation.parent!r}, expected a parent's name"
            )
        path.append(annotation.parent)
    start_ms, stop_ms = (slots_ms.get(slot, math.inf) for slot in annotation.slots)
    if not (abs(start_ms) <= MOST_S and abs(stop_ms) <= MOST_S):
        raise DataError(
            f"{file}: annotation {name!r}: no time for its start or stop, "
            "expected both in ms, or neighbours that have them"
        )
    length_ms = stop_ms - start_ms
    return (start_ms + first * length_ms) / 1000, (start_ms + (first + share) * length_ms) / 1000


def _siblings(eaf: Eaf, annotations: dict[str, Annotation], name: str) -> list[str]:
    """The annotations that share a parent's time, in order: this one alone, unless its tier subdivides."""
    tier, parent = annotations[name].tier, annotations[name].parent
    kind = eaf.linguistic_types.get(eaf.tiers[tier][2].get("LINGUISTIC_TYPE_REF"), {}).get("CONSTRAINTS")
    if kind != PER_PARENT:
        return [name]
    siblings = [n for n, a in annotations.items() if (a.tier, a.parent) == (tier, parent) and not a.slots]
    after = {annotations[sibling].previous: sibling for sibling in reversed(siblings)}
    ordered: list[str] = []
    following = after.get(None)
    while following is not None and following not in ordered:
        ordered.append(following)
        following = after.get(following)
    return ordered if len(ordered) == len(siblings) else siblings


def _origin_s(
    file: Path, eaf: Eaf, settings: LabelSettings, footage: Footage | None, told: list[str]
) -> float:
    """Where in the video ELAN's zero is: the time origin of the medium that is linked and named like it.

    Raises:
        DataError: media are laid at different origins, and none of them is named like the video.
    """
    origins: dict[str, float] = {}
    for medium in eaf.media_descriptors:
        for link in ("MEDIA_URL", "RELATIVE_MEDIA_URL", "EXTRACTED_FROM"):
            address = medium.get(link, "")
            if not address.strip():
                continue
            try:
                origins.setdefault(address, int(medium.get("TIME_ORIGIN", 0)) / 1000)
            except (ValueError, OverflowError):
                origin = quote(medium["TIME_ORIGIN"])
                raise DataError(f"{file}: TIME_ORIGIN is {origin}, expected milliseconds") from None
    if not origins and eaf.header.get("MEDIA_FILE", "").strip():  # as ELAN wrote it before 2004
        origins[eaf.header["MEDIA_FILE"]] = 0.0
    file_names = {url: "".join(name_of(url)[1:]) for url in origins}
    wanted = {key(name) for name in settings.labels_of}
    if wanted:
        linked = {url for url in origins if {key(url), file_names[url]} & wanted}
    elif footage is not None:
        stem = name_of(footage.video).stem
        linked = {url for url in origins if name_of(url).stem == stem}
        if len({origins[url] for url in linked}) > 1:
            linked = own(linked, footage, file, "linked media")
    else:
        linked = set(origins)
    candidates = {origins[url] for url in linked} or set(origins.values())
    if len(candidates) > 1 or (not linked and candidates - {0.0}):
        names = sorted({file_names[url] for url in linked or origins})
        names = names if len(names) > 1 else sorted(linked or origins)
        raise DataError(
            f"{file}: linked to {listed(names)} with time origins that differ or are not 0, "
            f"expected to know which is the video; {way_out('labels_of', names[0])}"
        )
    if origins and not linked:
        names = sorted(set(file_names.values()))
        video = footage.video if footage else min(wanted)
        told.append(f"{file.name}: linked to {listed(names)}, not to {video!r}: are these its labels?")
    origin_s = candidates.pop() if candidates else 0.0
    if origin_s:
        told.append(f"{file.name}: begins {origin_s:g} s into the video, as its time origin says")
    return origin_s

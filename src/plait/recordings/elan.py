"""Labels of ELAN: one tier of an .eaf file, its times from wherever in the hierarchy of tiers they stand."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

from pympi.Elan import Eaf  # type: ignore[import-untyped]

from plait.errors import DataError, one_line, shown
from plait.names import plain
from plait.recordings.annotations import (
    LONGEST_S,
    Entry,
    Footage,
    LabelClock,
    LabelSettings,
    listed,
    way_out,
    whole,
)
from plait.recordings.owners import key, name_of, own
from plait.recordings.tables import read_bytes

PER_PARENT = "Symbolic_Subdivision"  # a parent's time is shared evenly among its children


class Annotation(NamedTuple):
    """One annotation: two time slots, or the annotation that it is about and the sibling before it; and its text."""

    tier: str
    text: str
    slots: tuple[str, str] | None = None
    parent: str | None = None
    previous: str | None = None


def read(
    file: Path, settings: LabelSettings, footage: Footage | None, told: list[str]
) -> tuple[list[Entry], LabelSettings]:
    """Entries of the tier called `settings.tier`, or of the only one that says something.

    Slots without a time lie evenly between the ones that have one, as in ELAN; a child without slots has its parent's
    time, and several children of one parent share it. Times count from where the linked video's time origin is.

    Raises:
        DataError: the file is damaged, several tiers may be meant, or an annotation's time cannot be told.
    """
    if settings.label_unit not in (None, "ms"):
        raise DataError(
            f"{file}: label_unit is {settings.label_unit!r}, expected none: ELAN's times are milliseconds"
        )
    eaf = _opened(file)
    annotations = _annotations(file, eaf)
    told_by_tier: dict[str, list[str]] = {}
    for annotation in annotations.values():
        if text := plain(annotation.text):
            told_by_tier.setdefault(annotation.tier, []).append(text)
    tier = settings.tier
    if tier is None and len(told_by_tier) == 1:
        tier = next(iter(told_by_tier))
    if tier is None and not told_by_tier and any(a.tier for a in annotations.values()):
        tier = next(
            iter(annotations.values())
        ).tier  # whose annotations are empty, which is said of the first
    if tier is None or not any(annotation.tier == tier for annotation in annotations.values()):
        which = "several tiers hold" if tier is None and told_by_tier else "no tier holds"
        called = "" if tier is None else f" and is called {tier!r}"
        there = ", ".join(
            f"{name!r} ({listed(list(dict.fromkeys(t)), 3)})" for name, t in told_by_tier.items()
        )
        ask = f"; {way_out('tier', 'NAME')}" if told_by_tier else ""
        raise DataError(f"{file}: {which} labels{called}, expected one of: {there or 'none at all'}{ask}")
    told.append(f"{file.name}: tier {tier!r}")
    if settings.label_zero is None:
        origin_s = _origin_s(file, eaf, settings, footage, told)
    else:
        origin_s = LabelClock(file, "s", settings, None).seconds("0", "label_zero")
    slots_ms = _slots_ms(eaf, annotations)
    entries = []
    for name, annotation in annotations.items():
        if annotation.tier == tier:
            start_s, stop_s = _times(file, name, annotations, eaf, slots_ms)
            entries.append(
                Entry(f"annotation {name!r}", start_s + origin_s, stop_s + origin_s, plain(annotation.text))
            )
    return entries, replace(settings, tier=tier)


def _opened(file: Path) -> Eaf:
    _refuse_doctype(file, read_bytes(file))
    try:
        eaf = Eaf(file, suppress_version_warning=True)
    except (
        Exception
    ) as error:  # pympi raises KeyError, IndexError, ValueError, ... where a file is not as expected
        raise DataError(
            f"{file}: cannot be read, expected ELAN's .eaf: {type(error).__name__} {one_line(error)}"
        ) from error
    if (unit := eaf.header.get("TIME_UNITS", "milliseconds")) != "milliseconds":
        raise DataError(
            f"{file}: TIME_UNITS is {shown(unit)}, expected milliseconds, in which ELAN saves today"
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
    found: dict[str, Annotation] = {}
    for tier, (aligned, referring, _, _) in eaf.tiers.items():
        here = {
            **{
                name: Annotation(tier, text, (start, stop))
                for name, (start, stop, text, _) in aligned.items()
            },
            **{n: Annotation(tier, text, None, of, before) for n, (of, text, before, _) in referring.items()},
        }
        if twice := found.keys() & here.keys():
            raise DataError(f"{file}: two annotations are called {min(twice)!r}, expected names that differ")
        found.update(here)
    return found


def _slots_ms(eaf: Eaf, annotations: dict[str, Annotation]) -> dict[str, float]:
    """When each time slot is; those without a time evenly between those of the annotations that they link."""
    known: dict[str, float] = {
        name: float(whole(str(ms))) for name, ms in eaf.timeslots.items() if ms is not None
    }
    for tier in sorted(
        eaf.tiers, key=lambda name: _depth(eaf, name)
    ):  # a parent's slots before its children's
        pairs = [a.slots for a in annotations.values() if a.tier == tier and a.slots]
        following, before = dict(pairs), {stop: start for start, stop in pairs}
        for start in [start for start, stop in pairs if start in known and stop not in known]:
            chain = [start]
            while (
                chain[-1] in following
                and len(chain) <= len(pairs)
                and (chain[-1] not in known or len(chain) == 1)
            ):
                chain.append(following[chain[-1]])
            if chain[-1] in known and all(before[slot] == chain[i] for i, slot in enumerate(chain[1:])):
                first_ms, last_ms = known[start], known[chain[-1]]
                for i, slot in enumerate(chain[1:-1], 1):
                    known[slot] = first_ms + (last_ms - first_ms) * i / (len(chain) - 1)
    return known


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
    first, way = 0.0, [name]
    share = 1.0  # of the time of the annotation reached; this one's begins at `first` of it
    while (annotation := annotations[way[-1]]).slots is None:
        siblings = _siblings(eaf, annotations, way[-1])
        place = siblings.index(way[-1])
        first, share = (place + first) / len(siblings), share / len(siblings)
        if annotation.parent not in annotations or annotation.parent in way:
            raise DataError(
                f"{file}: annotation {name!r}: refers to {annotation.parent!r}, expected a parent's name"
            )
        way.append(annotation.parent)
    times = [slots_ms.get(slot) for slot in annotation.slots]
    if (
        times[0] is None
        or times[1] is None
        or not all(abs(ms) <= LONGEST_S for ms in times if ms is not None)
    ):
        raise DataError(
            f"{file}: annotation {name!r}: no time for its start or stop, expected both in ms, or neighbours that "
            "have them"
        )
    length_ms = times[1] - times[0]
    return (times[0] + first * length_ms) / 1000, (times[0] + (first + share) * length_ms) / 1000


def _siblings(eaf: Eaf, annotations: dict[str, Annotation], name: str) -> list[str]:
    """The annotations that share a parent's time, in order: this one alone, unless its tier subdivides."""
    mine = annotations[name]
    kind = eaf.linguistic_types.get(eaf.tiers[mine.tier][2].get("LINGUISTIC_TYPE_REF"), {}).get("CONSTRAINTS")
    if kind != PER_PARENT:
        return [name]
    same = [
        n for n, a in annotations.items() if a.tier == mine.tier and a.parent == mine.parent and not a.slots
    ]
    after = {annotations[n].previous: n for n in reversed(same)}
    ordered: list[str] = []
    place = after.get(None)
    while place is not None and place not in ordered:
        ordered.append(place)
        place = after.get(place)
    return ordered if len(ordered) == len(same) else same


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
                said = shown(medium["TIME_ORIGIN"])
                raise DataError(f"{file}: TIME_ORIGIN is {said}, expected milliseconds") from None
    if not origins and eaf.header.get("MEDIA_FILE", "").strip():  # as ELAN wrote it before 2004
        origins[eaf.header["MEDIA_FILE"]] = 0.0
    wanted = {key(name) for name in settings.labels_of}
    if wanted:
        mine = {url for url in origins if {key(url), "".join(name_of(url)[1:])} & wanted}
    elif footage is not None:
        video = name_of(footage.video).stem
        mine = {url for url in origins if name_of(url).stem == video}
        if len({origins[url] for url in mine}) > 1:
            mine = own(mine, footage, file, "linked media")
    else:
        mine = set(origins)
    found = {origins[url] for url in mine} or set(origins.values())
    if len(found) > 1 or (not mine and found - {0.0}):
        names = sorted({"".join(name_of(url)[1:]) for url in mine or origins})
        names = names if len(names) > 1 else sorted(mine or origins)
        raise DataError(
            f"{file}: linked to {listed(names)} with time origins that differ or are not 0, expected to know which is "
            f"the video; {way_out('labels_of', names[0])}"
        )
    if origins and not mine:
        names = sorted({"".join(name_of(url)[1:]) for url in origins})
        video = footage.video if footage else min(wanted)
        told.append(f"{file.name}: linked to {listed(names)}, not to {video!r}: are these its labels?")
    origin_s = found.pop() if found else 0.0
    if origin_s:
        told.append(f"{file.name}: begins {origin_s:g} s into the video, as its time origin says")
    return origin_s

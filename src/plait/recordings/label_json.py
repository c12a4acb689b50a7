"""Labels as JSON: THUMOS' and ActivityNet's, results of theirs, and Label Studio's."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from plait.errors import DataError, one_line
from plait.names import plain
from plait.recordings.annotations import (
    COUNTED,
    MOST_S,
    Entry,
    Footage,
    LabelClock,
    LabelSettings,
    listed,
    other_length,
    refuse_unused,
    way_out,
    whole,
)
from plait.recordings.owners import key, name_of, nobody, own
from plait.recordings.tables import read_bytes

PROJECTS = {  # what only its own program reads, by keys that it has
    "VIA's project": ({"project", "attribute", "metadata"}, "export its segments from VIA as CSV"),
    "BORIS' project": ({"behaviors_conf", "observations"}, "export its aggregated events from BORIS as CSV"),
}

UPLOADED = re.compile(r".*/[0-9a-f]{8}-(?=[^/]+$)")  # what Label Studio puts before an uploaded file's name


def content_of(file: Path) -> Any:
    """What is in a JSON file.

    Raises:
        DataError: it cannot be read, or says something twice.
    """

    def without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
            raise DataError(f"{file}: {twice!r} is there twice, expected one value; rename one, or join them")
        return content

    try:
        return json.loads(read_bytes(file), object_pairs_hook=without_twins, parse_int=whole)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{file}: cannot be read, expected JSON: {one_line(error)}") from error


def is_labels(content: Any) -> bool:
    """Whether what is in a JSON file is of a form of labels."""
    activitynet = isinstance(content, dict) and "database" in content
    return activitynet or _is_label_studio(content) or _project(content) != ""


def _is_label_studio(content: Any) -> bool:
    first = content[0] if isinstance(content, list) and content else None
    return isinstance(first, dict) and "data" in first and "annotations" in first


def _project(content: Any) -> str:
    keys = set(content) if isinstance(content, dict) else set()
    return next((name for name, (least, _) in PROJECTS.items() if least <= keys), "")


def read(
    file: Path, settings: LabelSettings, footage: Footage | None, told: list[str]
) -> tuple[list[Entry], LabelSettings]:
    """The entries of one video, and the settings as they are.

    Args:
        file: JSON of one of these forms.
        settings: of which `labels_of` names the video meant.
        footage: the video meant if `labels_of` is empty; None: the only one of the file.
        told: grows by what was assumed and left out.

    Raises:
        DataError: the file is damaged or of another form, or it is not clear which video is meant.
    """
    content = content_of(file)
    if project := _project(content):
        raise DataError(f"{file}: {project}, expected labels: {PROJECTS[project][1]}")
    if _is_label_studio(content):
        return _read_tasks(file, content, settings, footage, told), settings
    return _read_activitynet(file, content, settings, footage, told), settings


def _choose_video(
    file: Path, videos: list[str], settings: LabelSettings, footage: Footage | None, notes: list[str]
) -> str:
    if settings.labels_of:
        wanted = {key(name) for name in settings.labels_of}
        chosen = {video for video in videos if key(video) in wanted}
        if not chosen:
            raise DataError(
                f"{file}: holds {len(videos)} videos and {settings.labels_of[0]!r} is not among them, "
                f"expected one of: {listed(videos)}"
            )
    elif footage is not None:
        chosen = own(videos, footage, file, "the file")
        if not chosen:
            raise nobody(file, "the file", videos, footage, every=False)
    else:
        chosen = set(videos)
    if len(chosen) != 1:
        raise DataError(
            f"{file}: holds {len(videos)} videos and no name was given, expected one of: {listed(videos)}; "
            f"{way_out('labels_of', videos[0] if videos else 'NAME')}"
        )
    video = chosen.pop()
    others = f"; {len(videos) - 1} other videos are left out" if len(videos) > 1 else ""
    notes.append(f"{file.name}: labels of {video!r}{others}")
    return video


def _read_activitynet(
    file: Path, content: Any, settings: LabelSettings, footage: Footage | None, notes: list[str]
) -> list[Entry]:
    if isinstance(content, dict) and "results" in content and "database" not in content:  # of a recogniser
        results = _field(file, content, "results", dict, "the file")
        content = {"database": {video: {"annotations": found} for video, found in results.items()}}
    videos = _field(file, content, "database", dict, "the file")
    video = _choose_video(file, list(videos), settings, footage, notes)
    clock = LabelClock(file, settings.label_unit or "s", settings, footage)
    refuse_unused(file, "such JSON", settings, ("labels_of", "label_unit", "label_zero"), clock.unit)
    stated = videos[video].get("duration") if isinstance(videos[video], dict) else None
    if isinstance(stated, int | float) and (doubt := other_length(file, float(stated), footage)):
        notes.append(doubt)
    entries = []
    annotations = _field(file, videos[video], "annotations", list, f"video {video!r}")
    if scored := sum(isinstance(annotation, dict) and "score" in annotation for annotation in annotations):
        notes.append(f"{file.name}: {scored} of {len(annotations)} labels have a score: not looked at")
    for i, annotation in enumerate(annotations, 1):
        where = f"video {video!r}, annotation {i}"
        segment = _field(file, annotation, "segment", list, where)
        if len(segment) != 2 or not _are_times(segment):
            raise DataError(
                f"{file}: {where}: segment is {str(segment)[:80]}, expected [start, stop] in seconds"
            )
        start_s, stop_s = (clock.seconds(repr(float(time)), where) for time in segment)
        entries.append(Entry(where, start_s, stop_s, plain(_field(file, annotation, "label", str, where))))
    return entries


def _read_tasks(
    file: Path, content: list[Any], settings: LabelSettings, footage: Footage | None, notes: list[str]
) -> list[Entry]:
    """The entries of a Label Studio task: ranges of a video's frames, or segments of its sound in seconds."""
    tasks: dict[str, Any] = {}
    for i, task in enumerate(content, 1):
        data = _field(file, task, "data", dict, f"task {i}")
        texts = [text for text in data.values() if isinstance(text, str)]
        files = [text for text in texts if name_of(text).ending] or [text for text in texts if "." in text]
        name = next(iter(files or texts), f"task {i}")
        name = UPLOADED.sub("", name.rpartition("?d=")[2])
        if name in tasks:
            raise DataError(f"{file}: two tasks of {name!r}, expected one of each video")
        tasks[name] = task
    video = _choose_video(file, list(tasks), settings, footage, notes)
    annotations = _field(file, tasks[video], "annotations", list, f"task {video!r}")
    kept = [item for item in annotations if not (isinstance(item, dict) and item.get("was_cancelled"))]
    if len(kept) < len(annotations):
        skipped = len(annotations) - len(kept)
        notes.append(f"{file.name}: {skipped} annotations that were skipped are left out")
    if len(kept) > 1:
        raise DataError(
            f"{file}: task {video!r} has {len(kept)} annotations, expected one: export the one meant"
        )
    entries = []
    used, unit = {"labels_of", "label_zero"}, "s"
    for i, result in enumerate(_field(file, kept[0], "result", list, "annotation") if kept else [], 1):
        where = f"task {video!r}, result {i}"
        value = _field(file, result, "value", dict, where)
        label = next((value[k] for k in ("timelinelabels", "labels", "timeserieslabels") if k in value), None)
        if label is None:
            notes.append(f"{file.name}: {where} is no label of a time, left out")
            continue
        if not (isinstance(label, list) and len(label) == 1 and isinstance(label[0], str)):
            raise DataError(f"{file}: {where}: labels are {str(label)[:80]}, expected one name")
        in_frames = "ranges" in value
        if in_frames and settings.label_fps is None:
            raise DataError(
                f"{file}: {where}: frames as Label Studio counts them, at the frameRate of its <Video> tag "
                "(not in the file, often 24 or 25, not the video's own), expected that rate: "
                f"{way_out('label_fps', '25')}"
            )
        clock = LabelClock(file, "frames" if in_frames else settings.label_unit or "s", settings, footage)
        used |= {"label_unit"} if not in_frames or settings.label_unit == "frames" else set()
        unit = clock.unit if clock.unit in COUNTED else unit
        for segment in _field(file, value, "ranges", list, where) if in_frames else [value]:
            bounds: dict[str, Any] = segment if isinstance(segment, dict) else {}
            ends = [bounds.get("start"), bounds.get("end")]
            if not _are_times(ends):
                raise DataError(f"{file}: {where}: {str(segment)[:80]}, expected numbers as start and end")
            start_s, stop_s = (clock.seconds(repr(float(bounds[end])), where) for end in ("start", "end"))
            entries.append(Entry(where, start_s, stop_s, plain(label[0])))
    if entries:
        refuse_unused(file, "Label Studio's JSON", settings, used, unit)
    return entries


def _are_times(values: Iterable[Any]) -> bool:
    return all(type(value) in (int, float) and abs(value) <= MOST_S for value in values)


def _field(file: Path, holder: Any, name: str, kind: type[Any], where: str) -> Any:
    value = holder.get(name) if isinstance(holder, dict) else None
    if not isinstance(value, kind):
        expected = {"dict": "an object", "list": "a list", "str": "text"}[kind.__name__]
        raise DataError(f"{file}: {where}: no {name!r}, expected {expected} there")
    return value

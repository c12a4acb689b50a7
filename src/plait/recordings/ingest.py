"""A person's own files to a recording: guess what they are, say so, copy them, leave the originals alone."""

import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from plait.errors import DataError, one_line
from plait.names import plain
from plait.patterns import matching
from plait.recordings import label_columns, label_json, label_texts
from plait.recordings.annotations import LabelSettings
from plait.recordings.curved import unsaid
from plait.recordings.folder import (
    DESCRIPTION,
    SYNC,
    Clock,
    Description,
    LogFile,
    described_by,
    footage,
    parse_description,
    read_description,
    write_description,
    write_sync,
)
from plait.recordings.formats.known import FORMATS
from plait.recordings.gather import gather, is_prose, only_video, recording_name, stream_name
from plait.recordings.labels import read_labels
from plait.recordings.logs import read_and_look
from plait.recordings.sensor_files import (
    Formats,
    Made,
    by_originals,
    describe_made,
    share_clocks,
    tables,
    traced,
)
from plait.recordings.tables import CSV, read_table
from plait.recordings.unknown_logs import describe_log
from plait.recordings.video import Video
from plait.store import atomic, checksum, scratch, sweep, toml_of

TEMPLATES = {path.stem: path for path in sorted((Path(__file__).parent / "templates").glob("*.toml"))}
VIDEOS = (".mp4", ".mov", ".mkv", ".avi", ".m4v", ".webm", ".ts", ".mts")
TABLES = (*CSV, ".parquet")
ELSEWHERE = {  # what other programs read, and what they can write
    ".textgrid": "ELAN imports it and saves .eaf",
    ".anvil": "ELAN imports it and saves .eaf",
    ".boris": "export its aggregated events from BORIS as CSV",
    ".aup3": "export its labels from Audacity",
    **dict.fromkeys((".xlsx", ".xls", ".ods", ".numbers"), "save its sheet as CSV"),
    ".mtb": "export it from Xsens' MT Manager as text",
    ".agd": "ActiGraph's counts; give the raw .gt3x",
    ".bin": "of a GENEActiv, convert it to CSV with its own software; else --format",
    ".avro": "of an EmbracePlus, convert it to CSV as Empatica shows; else --format",
    ".zip": "no whole zip of one recording of an Empatica E4's or Sensor Logger's; unpack it; else --format",
}
NUMBERED = re.compile(r"([^\W\d_]*)[ _-]?(\d+)")
CALLED_LABELS = re.compile("label|annot", re.IGNORECASE)


def ingest(
    sources: Sequence[Path],
    out: Path,
    subject: str | None = None,
    name: str | None = None,
    template: str | None = None,
    answers: Mapping[str, str] | None = None,
    formats: Formats | None = None,
) -> tuple[Path, list[str]]:
    """Make the folder of one recording from a video, sensor logs and labels.

    Files are copied, and their checksums recorded; of sensors' own files, tables are made. Where a
    `recording.toml` lies among them, it says what is what and nothing is guessed, and a `sync.json` beside it
    is copied too; nor with a `template`.

    Args:
        sources: files, or one folder of them.
        out: the folder in which the recording's is made.
        subject: who is recorded; by default called like the recording.
        name: what the recording is called; by default like the folder or the video.
        template: one of `TEMPLATES` by name, or a file like `recording.toml` with patterns ("*left*.csv").
        answers: values of `recording.toml` by dotted keys (`logs.wrist.time`), before any that is guessed.
        formats: of sensors' own files; by default as their first bytes say.

    Raises:
        DataError: no video or several, a file of no known kind, a log or labels of which it is not clear what
            is meant, or a recording of that name that stands already with other files.
    """
    formats = formats or Formats()
    with scratch(Path(tempfile.gettempdir()), "tables of sensors' files") as temporary:
        notes: list[str] = []
        files = gather(sources, notes, lambda folder: formats.of(folder) is not None)
        settings = _settings(answers or {})
        made: list[Made] = []
        originals: dict[str, str] = {}
        if DESCRIPTION not in {file.name for file in files}:
            files, made, originals = tables(files, formats, temporary, notes, settings.get("video"))
        by_name = {file.name: file for file in files}
        clocks: Path | None = None
        if is_described := DESCRIPTION in by_name:
            source = by_name[DESCRIPTION].parent
            described = read_description(source)
            by_name = {name: source / name for name in described.files}
            notes.append(f"{DESCRIPTION}: taken as it is")
            if (source / SYNC).is_file() and not settings.keys() & {"video", "logs"}:
                clocks = source / SYNC
                notes.append(f"{SYNC}: taken as it is")
        elif template:
            with by_originals(made):
                described = _matched(files, TEMPLATES.get(template, Path(template)), notes)
            unused = [name for name in by_name if name not in described.files]
            notes += [f"{name}: not in the template, left out" for name in unused]
        else:
            with by_originals(made):
                described = _guessed(files, settings, notes, {one.file: one for one in made})
        described = traced(_answered(described, settings), made)
        for file_name in described.files:
            if file_name not in by_name:
                names = ", ".join(by_name)
                raise DataError(f"--set: names {file_name!r}, expected one of the files: {names}")
        if is_described or template:  # what is guessed is told of as it is
            with by_originals(made):
                notes += _told_of(described, by_name)
        default = sources[0].resolve().name if sources[0].is_dir() else Path(described.video).stem
        recording = recording_name(name or default)
        described = replace(described, subject=plain(subject or described.subject or recording))
        if described.labels:
            about = footage(Video(by_name[described.video]), recording, described.subject)
            labels = read_labels(by_name[described.labels], described.label_settings, about)
            described = replace(described, **asdict(labels.settings))
            notes += labels.told
        elif needless := settings.keys() & set(LabelSettings.__dataclass_fields__):
            raise DataError(f"--set {min(needless)}: expected none, for there are no labels among the files")
        folder = out / recording
        sweep(out)
        sums = {file_name: checksum(by_name[file_name]) for file_name in described.files}
        sources_sums = {**described.sha256, **originals}
        sums |= {
            origin: sources_sums[origin] for origin in described.made_from.values() if origin in sources_sums
        }
        if folder.exists():
            return folder, _standing(folder, sums, described.made_from, settings, subject)
        with atomic(folder) as making:
            making.mkdir()
            for file_name in described.files:
                (making / file_name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(by_name[file_name], making / file_name)
            write_description(making, replace(described, sha256=sums))
            on_video = {one.file.name for one in made if one.on_video and one.original == described.video}
            if clocks is not None:
                shutil.copy2(clocks, making / SYNC)
            elif streams := [stream for stream, log in described.logs.items() if log.file in on_video]:
                write_sync(making, {stream: Clock(0.0) for stream in streams}, described)
                notes.append(f"{SYNC}: {', '.join(streams)} on the video's clock, for they come from it")
        return folder, [*notes, f"subject: {described.subject!r}"]


def _standing(
    folder: Path,
    sums: Mapping[str, str],
    made_from: Mapping[str, str],
    settings: Mapping[str, Any],
    subject: str | None,
) -> list[str]:
    """What to say of a recording that stands already.

    Raises:
        DataError: it is made from other files, or says other than what is asked for now; or is no recording.
    """
    if not (folder / DESCRIPTION).is_file():
        raise DataError(f"{folder}: stands already and is no recording, expected another --out or --name")
    standing = read_description(folder)
    ingested = {name: sha for name, sha in standing.sha256.items() if name not in standing.made_from}
    if ingested != {name: sha for name, sha in sums.items() if name not in made_from}:
        raise DataError(f"{folder}: stands already, made from other files; give another --name or remove it")
    if _answered(replace(standing, subject=plain(subject or standing.subject)), settings) != standing:
        raise DataError(
            f"{folder}: stands already and says otherwise; change its {DESCRIPTION}, or remove it"
        )
    return [f"{folder}: stands already, made from the same files"]


def _settings(answers: Mapping[str, str]) -> dict[str, Any]:
    """The table of `recording.toml`'s form that values by dotted keys come to; lists are written as in TOML.

    Raises:
        DataError: a key is of another form, or a list is none.
    """
    settings: dict[str, Any] = {}
    for key, text in answers.items():
        try:
            value = toml_of(f"value = {text}")["value"] if text.startswith("[") else text
        except ValueError as error:
            raise DataError(
                f"--set {key}: {text[:80]!r}, expected a list as in TOML: {one_line(error)}"
            ) from error
        *tables, last = key.split(".", 3)
        of_log = tables[:1] == ["logs"] and (len(tables) == 2 or tables[2:] in (["where"], ["circular"]))
        if key in ("logs", "sha256") or (tables and not of_log):
            raise DataError(
                f"--set {key}: expected a key of {DESCRIPTION}, such as label_unit or logs.wrist.time"
            )
        table = settings
        for name in tables:
            table = table.setdefault(name, {})
            if not isinstance(table, dict):
                raise DataError(f"--set {key}: {name!r} holds a value, expected a table")
        table[last] = value
    return settings


def _answered(described: Description, settings: Mapping[str, Any]) -> Description:
    """A description with a person's settings on top.

    Raises:
        DataError: one is of no log that there is, unknown, or out of range.
    """
    table, logs = asdict(described), settings.get("logs", {})
    if unknown := logs.keys() - table["logs"].keys():
        names = ", ".join(table["logs"]) or "none"
        raise DataError(f"--set logs.{min(unknown)}: no such log, expected one of: {names}")
    logs = {name: _over(log, logs.get(name, {})) for name, log in table["logs"].items()}
    return described_by({**table, **settings, "logs": logs}, Path("--set"))


def _over(log: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A log's settings with a person's on top; of columns that these do not speak of, what is known stays."""
    merged = {**log, **own}
    if "circular" in own:
        merged["circular"] = {**log["circular"], **own["circular"]}
    if isinstance(own.get("quaternions"), list | tuple) and not isinstance(log["quaternions"], bool):
        spoken_of = {name for four in own["quaternions"] for name in four}
        others = [four for four in log["quaternions"] if spoken_of.isdisjoint(four)]
        merged["quaternions"] = [*own["quaternions"], *others]
    return merged


def _matched(files: Sequence[Path], path: Path, notes: list[str]) -> Description:
    """A template with every pattern replaced by the one file that it stands for."""
    pattern_of = parse_description(path)

    def only(stream: str, pattern: str) -> str:
        names = [file.name for file in files]
        fit = matching(pattern.lower(), [name.lower() for name in names])
        matches = [pattern] if pattern in names else [name for name in names if name.lower() in fit]
        if len(matches) != 1:
            got = ", ".join(matches) or "none"
            raise DataError(f"{path}: {stream}: expected exactly one file like {pattern!r}, got: {got}")
        notes.append(f"{matches[0]}: {stream}")
        return matches[0]

    logs = {name: replace(log, file=only(name, log.file)) for name, log in pattern_of.logs.items()}
    labels = only("labels", pattern_of.labels) if pattern_of.labels else None
    described = replace(pattern_of, video=only("video", pattern_of.video), logs=logs, labels=labels)
    rows = [(log.file, repr(sorted(log.where.items()))) for log in logs.values()]
    used = [described.video, *([labels] if labels else []), *{log.file for log in logs.values()}]
    if len({*rows}) < len(rows) or len({*used}) < len(used):
        raise DataError(f"{path}: one file stands for two streams, expected patterns that tell them apart")
    return described


def _told_of(described: Description, by_name: Mapping[str, Path]) -> list[str]:
    """What a person should know of the readings in logs that are described already."""
    notes: list[str] = []
    for stream, log in described.logs.items():
        remarks: list[str] = []
        _, seen = read_and_look(by_name[log.file], log.log(), remarks, stream, log.units)
        remarks += unsaid(seen, stream)
        notes += [f"{log.file}: {remark}" for remark in remarks]
    return notes


def _guessed(
    files: Sequence[Path], settings: Mapping[str, Any], notes: list[str], made: Mapping[Path, Made]
) -> Description:
    videos = [file for file in files if file.suffix.lower() in VIDEOS]
    candidates = [file for file in videos if settings.get("video", file.name) == file.name]
    video = only_video(candidates, files[0].parent if files else Path())
    video_s = Video(video).ends[1]
    notes.append(f"{video.name}: the video, whose clock is everyone's")
    labels: str | None = None
    logs: dict[str, LogFile] = {}
    called = [file for file in files if file.suffix.lower() == ".json" and CALLED_LABELS.search(file.stem)]
    for file in sorted(files, key=called.__contains__):  # what is only called labels is last
        suffix = file.suffix.lower()
        if file == video:
            continue
        if file in videos or (suffix == ".txt" and is_prose(file)):
            notes.append(f"{file.name}: {'another video' if file in videos else 'no table'}, left out")
            continue
        streams = _streams(file, settings)
        if file in made:
            for stream, log_settings in (streams or {file.stem: {}}).items():
                logs[stream] = describe_made(made[file], stream, video_s, log_settings, notes)
            continue
        if streams:
            for stream, log_settings in streams.items():
                logs[stream] = describe_log(file, stream, video_s, log_settings, notes)
            continue
        is_labels = suffix == ".eaf" or label_texts.lines_of(file) is not None or _is_json_of_labels(file)
        table = read_table(file, logger=True) if suffix in TABLES and not is_labels else None
        is_labels = is_labels or (file in called and not labels)
        is_labels = is_labels or (table is not None and label_columns.is_labels(table))
        if settings.get("labels", file.name if is_labels else None) == file.name:
            if labels:
                raise DataError(
                    f"{file}: labels, but so is {labels}; expected one file of labels: "
                    f"--set labels={file.name} leaves the other out"
                )
            labels = file.name
            notes.append(f"{file.name}: labels{_doubt(file.stem, video.stem)}")
        elif is_labels or suffix == ".json":
            kind = "other labels" if is_labels else "no labels that are known"
            notes.append(f"{file.name}: {kind}, left out")
        elif table:
            stream = stream_name(file.stem)
            if stream in logs or stream == "video":
                raise DataError(
                    f"{file}: two files for the stream {stream!r}, expected names that differ in a letter"
                )
            logs[stream] = describe_log(file, stream, video_s, {}, notes)
        else:
            expected = ", ".join((*VIDEOS, *TABLES, ".eaf", ".json"))
            advice = ELSEWHERE.get(suffix, "give the files that are meant, without it")
            raise DataError(
                f"{file}: not known what this is, expected one of: {expected}, or a sensor's own file "
                f"({', '.join(FORMATS)}); {advice}"
            )
    share_clocks(logs, made.values(), notes)
    if labels is None:
        notes.append("no labels among the files")
    return Description(subject="", video=video.name, logs=logs, labels=labels)


def _doubt(labels: str, video: str) -> str:
    """What to say where a file of labels is numbered as another video is: s10 beside s1."""
    numbers = {stem: dict[str, list[str]]() for stem in (labels, video)}
    for stem, by_word in numbers.items():
        for word, number in NUMBERED.findall(stem.lower()):
            by_word.setdefault(word, []).append(number.lstrip("0"))
    differ = any(
        number != other
        for word in numbers[video]
        for number, other in zip(numbers[video][word], numbers[labels].get(word, []), strict=False)
    )
    return f", though called otherwise than {video!r}: are these its labels?" if differ else ""


def _streams(file: Path, settings: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The logs that a person says are in `file`, by its own name or by theirs, with their settings."""
    default = stream_name(file.stem)
    return {
        name: log
        for name, log in settings.get("logs", {}).items()
        if log.get("file", file.name if name == default else None) == file.name
    }


def _is_json_of_labels(file: Path) -> bool:
    """Whether a file is JSON of a form of labels."""
    if file.suffix.lower() != ".json":
        return False
    try:
        return label_json.is_labels(label_json.content_of(file))
    except DataError:
        return False

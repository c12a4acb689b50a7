"""A simulated recording on disk: video with sound, glove logs, labels, recording.toml, and the truth."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import polars as pl

from plait.recordings.folder import Description, LogFile, write_description
from plait.simulator.cycles import CYCLES, FEEL_ALIKE, LOOK_ALIKE, Person
from plait.simulator.motion import Motion, move
from plait.simulator.scene import TOOLS, Colour, Frame, Look, Scene, Slip
from plait.simulator.sensors import AUDIO_HZ, SNUG, Worn, audio, glove_log
from plait.simulator.world import EASY, Stretch, World, troubled
from plait.store import atomic, write_json
from plait.types import Span

VERSION = 2  # a change of what is simulated changes it
WINDOW_S = 134 / 25  # GloVid's longer window
CHUNK = 256  # frames drawn at a time
READ = ("flex_1", "flex_2", "flex_3", "flex_4", "flex_5", "acc_x", "acc_y", "acc_z", "pressure")
GLOVES = (
    (60, 110, 190),
    (190, 90, 60),
    (70, 150, 90),
    (190, 170, 70),
    (120, 90, 160),
    (60, 60, 66),
    (200, 200, 205),
)
PANELS = ((120, 128, 134), (134, 126, 112), (104, 120, 112), (128, 118, 130))


@dataclass(frozen=True)
class Settings:
    """What decides a recording, with its subject's number: everything else follows.

    Args:
        seed: of all that is drawn at random.
        clips: windows of a subject, over all activities.
        height: of the video, in pixels.
        fps: frames of the video in a second.
        version: of what is simulated.
        slips: share of the labelled stretches in which the camera looks past the hands, beside the world's.
        world: how hard it is.
    """

    seed: int
    clips: int
    height: int
    fps: int
    version: int = VERSION
    slips: float = 0.0
    world: World = EASY


@dataclass(frozen=True, eq=False)
class Plan:
    """A subject's recording before it is drawn."""

    person: Person  # how the subject moves
    look: Look  # what differs between subjects' pictures
    spans: tuple[Span, ...]  # the labels
    claps: tuple[float, ...]  # when hands clap, in seconds
    stop_s: float  # when the recording stops
    motion: Motion  # what the hands do
    slips: tuple[Slip, ...] = ()  # when the camera looks elsewhere
    stretches: tuple[Stretch, ...] = ()  # labels, and neutral between them, with what is the matter
    worn: Mapping[str, Worn] = field(default_factory=lambda: {"left": SNUG, "right": SNUG})  # by side


def plan(subject: int, settings: Settings) -> Plan:
    """Who subject `subject` is and does: every activity as often as the others, neutral breaks among them."""
    rng = np.random.default_rng([settings.seed, subject, 0])
    size, pace = rng.uniform(0.88, 1.14), rng.uniform(0.85, 1.2)
    world, ways = settings.world, np.random.default_rng([settings.seed, subject, 8])
    held = _three(ways.normal(0, world.pose_rad, 3))
    person = Person(size, pace, bool(rng.random() < 0.2), float(rng.uniform(0.8, 1.3)), held)
    glove, panel = GLOVES[rng.integers(len(GLOVES))], PANELS[rng.integers(len(PANELS))]
    vary = rng.uniform(-18, 18, 3)
    wall = rng.uniform(150, 190)
    look = Look(
        (glove[0] + vary[0], glove[1] + vary[1], glove[2] + vary[2]),
        (rng.uniform(40, 110), rng.uniform(40, 100), rng.uniform(50, 120)),
        (wall, wall + rng.uniform(-6, 6), wall + rng.uniform(-12, 6)),
        panel,
        rng.uniform(0.8, 1.15),
        rng.normal(0, world.camera_rad),
        (rng.normal(0, world.camera_m), rng.normal(0, world.camera_m)),
        person.size,
        rng.uniform(0.003, 0.007),
        tuple(_mixed(tool, ways.uniform(30, 220, 3), world.colours) for tool in TOOLS),
        float(world.blur * ways.uniform(0.5, 1.5)),
    )
    kinds = (*CYCLES, "neutral")
    wanted = [kinds[i % len(kinds)] for i in range(settings.clips)]
    order = [str(name) for name in rng.permutation(wanted)]
    while "neutral" in (order[0], order[-1]):  # only time between labels is neutral
        order = [*order[1:], order[0]]
    spans, stretches, clock = [], list[tuple[float, float, str]](), 5.0
    for before, activity in zip(["start", *order], order, strict=False):
        length = WINDOW_S + rng.uniform(0.3, 0.8)
        stretches.append((round(clock, 3), round(clock + length, 3), activity))
        if activity != "neutral":  # neutral is what nobody labels
            spans.append(Span(round(clock, 3), round(clock + length, 3), activity))
            clock += length + rng.uniform(0.5, 1.2)
        elif before == "neutral":
            clock += WINDOW_S
        else:
            clock += length
    claps = (float(rng.uniform(2.0, 3.0)), clock + 1.5)
    stop_s = clock + 4.0
    can = {"feel": frozenset(FEEL_ALIKE), "look": frozenset(LOOK_ALIKE)}
    work = troubled(stretches, world, [settings.seed, subject, 9], can, 1 + len(TOOLS))
    motion = move(work, claps, stop_s, person, [settings.seed, subject, 1])
    slips = [*_slips(spans, settings, subject), *(Slip(s.start_s, s.stop_s, s.away) for s in work if s.away)]
    worn = {}
    for side in ("left", "right"):
        turned = _three(ways.normal(0, world.worn_rad, 3))
        led = side == "left" if person.left_handed else side == "right"
        loose = tuple((s.start_s, s.stop_s) for s in work if s.loose and s.other_hand != led)
        worn[side] = Worn(turned, world.gain, world.saturates, loose)
    return Plan(person, look, tuple(spans), claps, stop_s, motion, tuple(slips), tuple(work), worn)


def _three(values: np.ndarray) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


def _mixed(colour: Colour, other: np.ndarray, share: float) -> Colour:
    return _three((1 - share) * np.array(colour) + share * other)


def _slips(spans: Sequence[Span], settings: Settings, subject: int) -> tuple[Slip, ...]:
    """When the camera slips: half of the times sideways, past one hand, else up, past both."""
    rng = np.random.default_rng([settings.seed, subject, 7])
    slips = []
    for span in spans:
        slipped, up, side = rng.random(3)
        if slipped >= settings.slips:
            continue
        if up < 0.5:
            by = 0.0, float(rng.uniform(-0.42, -0.32))
        elif side < 0.5:
            by = 0.26, 0.0
        else:
            by = -0.26, 0.0
        slips.append(Slip(span.start_s, span.stop_s, by))
    return tuple(slips)


def write_recording(folder: Path, subject: int, settings: Settings, script: Plan | None = None) -> None:
    """Write subject `subject`'s raw recording as `folder`, whole or not at all.

    `script` is what happens in it, by default `plan(subject, settings)`. `truth.json` has `sync.json`'s
    offsets and drifts, claps and the settings; `truth.npz`, per frame, `visible` hands (n,), and, left hand
    first, `boxes` (n, 2, 4) in pixels, NaN where not visible, `joints` (n, 2, 21, 3) in metres, `pixels`
    (n, 2, 21, 2).

    Raises:
        DataError: it cannot be written.
    """
    script = script or plan(subject, settings)
    rng = np.random.default_rng([settings.seed, subject, 2])
    with atomic(folder) as making:
        making.mkdir()
        offsets, drifts, logs = {}, {}, {}
        acceleration = ("acc_x", "acc_y", "acc_z")
        for part, side in enumerate(("left", "right")):
            offset_s, drifts[side] = float(rng.uniform(-5, 5)), float(rng.uniform(-200, 200))
            seed = [settings.seed, subject, 3 + part]
            table, offsets[side] = glove_log(
                script.motion, side, script.stop_s, offset_s, drifts[side], seed, script.worn[side]
            )
            table.write_csv(making / f"{side}.csv")
            logs[side] = LogFile(f"{side}.csv", READ, "time", "s", acceleration=acceleration)
        labels = [(span.start_s, span.stop_s, span.activity) for span in script.spans]
        table = pl.DataFrame(labels, schema=["start", "stop", "activity"], orient="row")
        table.write_csv(making / "labels.csv")
        write_description(making, Description(f"{subject:02d}", "video.mp4", logs, "labels.csv"))
        arrays: dict[str, Any] = _film(making / "video.mp4", script, subject, settings)
        np.savez_compressed(making / "truth.npz", **arrays)
        clocks = {"offset_s": offsets, "drift_ppm": drifts, "claps_s": script.claps}
        truth = {"settings": asdict(settings), **clocks, "person": asdict(script.person)}
        truth["stretches"] = [asdict(stretch) for stretch in script.stretches]
        write_json(making / "truth.json", truth)


def seconds_per_frame(settings: Settings) -> float:
    """How long a frame takes here, measured on 60 of them."""
    script = plan(1, settings)
    start = time.perf_counter()
    with av.open("/dev/null", "w", format="mp4") as out:
        track = _video_track(out, settings)
        for number, frame in enumerate(_frames(script, 1, settings, 60)):
            _encode(out, track, frame, number)
    return (time.perf_counter() - start) / 60


def duration_s(settings: Settings) -> float:
    """Seconds of one subject's recording."""
    return plan(1, settings).stop_s


def _width(settings: Settings) -> int:
    """4:3 of an even number of pixels, as close as H.264 allows."""
    return round(settings.height * 4 / 3 / 2) * 2


def _frames(script: Plan, subject: int, settings: Settings, count: int) -> Iterator[Frame]:
    seed = (settings.seed, subject, 5)
    scene = Scene(script.motion, script.look, _width(settings), settings.height, seed, script.slips)
    for first in range(0, count, CHUNK):
        yield from scene.frames(np.arange(first, min(first + CHUNK, count)) / settings.fps)


def _video_track(out: av.container.OutputContainer, settings: Settings) -> av.VideoStream:
    # One thread, and no tree of macroblocks: x264's AVX-512 code for it reads memory that nobody has written.
    options = {"preset": "veryfast", "crf": "20", "threads": "1", "x264-params": "mbtree=0"}
    track = out.add_stream("libx264", rate=settings.fps, options=options)
    track.width, track.height, track.pix_fmt = _width(settings), settings.height, "yuv420p"
    track.gop_size = 2 * settings.fps
    return track


def _encode(out: av.container.OutputContainer, track: av.VideoStream, frame: Frame, number: int) -> None:
    picture = av.VideoFrame.from_ndarray(frame.draw(), format="rgb24")
    picture.pts, picture.time_base = number, Fraction(1, int(track.average_rate or 30))
    out.mux(track.encode(picture))


def _film(path: Path, script: Plan, subject: int, settings: Settings) -> dict[str, np.ndarray]:
    """Draw and encode all frames and the sound; per frame what is visible where."""
    count = int(script.stop_s * settings.fps)
    boxes = np.full((count, 2, 4), np.nan, np.float32)
    joints, pixels = np.empty((count, 2, 21, 3), np.float32), np.empty((count, 2, 21, 2), np.float32)
    with av.open(str(path), "w") as out:
        track = _video_track(out, settings)
        sound = out.add_stream("aac", rate=AUDIO_HZ, layout="mono")
        for number, frame in enumerate(_frames(script, subject, settings, count)):
            _encode(out, track, frame, number)
            visible_boxes = frame.boxes()
            for hand, side in enumerate(("left", "right")):
                boxes[number, hand] = np.nan if (box := visible_boxes[side]) is None else box
                joints[number, hand] = frame.points[side][frame.number]
                pixels[number, hand] = frame.shown[side]
        out.mux(track.encode())
        values = audio(script.motion, script.stop_s, [settings.seed, subject, 6])[None]
        for start in range(0, values.shape[1] - 1023, 1024):
            piece = av.AudioFrame.from_ndarray(values[:, start : start + 1024], format="fltp", layout="mono")
            piece.sample_rate, piece.pts, piece.time_base = AUDIO_HZ, start, Fraction(1, AUDIO_HZ)
            out.mux(sound.encode(piece))
        out.mux(sound.encode())
    visible = np.isfinite(boxes[:, :, 0]).sum(1).astype(np.uint8)
    return {"visible": visible, "boxes": boxes, "joints": joints, "pixels": pixels}

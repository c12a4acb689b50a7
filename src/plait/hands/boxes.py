"""Boxes around hands: pictures with a COCO-style `annotations.json`, read, and written of simulated ones."""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pydantic import FiniteFloat, PositiveInt, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from plait.errors import ConfigError, DataError, PlaitWarning, first_fault, quote
from plait.keying import source_key
from plait.names import inside
from plait.progress import Progress, Step, silent
from plait.recordings.video import Video
from plait.simulator.truth import TRUTH, hand_boxes, raw_folders
from plait.store import atomic, checksum, content_key, read_bytes, read_json, sweep, taken, write_json

ANNOTATIONS = "annotations.json"
QUALITY = 92
HANDS = re.compile(r"hand|glove|palm|fist|finger|thumb|left|right|^[lr]$", re.IGNORECASE)  # names of hands


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture, its size in pixels, and its hands."""

    file: Path
    width: int
    height: int
    boxes: np.ndarray  # `(n, 4)`, float32: left, top, right, bottom of every hand, in pixels

    def load(self) -> np.ndarray:
        """The picture itself, RGB `(height, width, 3)`, uint8.

        Raises:
            DataError: it cannot be read, or is of another size.
        """
        pixels = cv2.imread(str(self.file), cv2.IMREAD_COLOR_RGB)
        if pixels is None:
            raise DataError(f"{self.file}: cannot be read, expected a picture")
        height, width = pixels.shape[:2]
        if (width, height) != (self.width, self.height):
            expected = f"expected {self.width} x {self.height} as in {ANNOTATIONS}"
            raise DataError(f"{self.file}: {width} x {height} pixels, {expected}")
        return np.asarray(pixels, np.uint8)


@checked(frozen=True)
class _Image:
    id: int
    file_name: str
    width: PositiveInt
    height: PositiveInt


@checked(frozen=True)
class _Annotation:
    image_id: int
    category_id: int
    bbox: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
    iscrowd: int = 0


@checked(frozen=True)
class _Category:
    id: int
    name: str


@checked(frozen=True)
class _Coco:
    images: tuple[_Image, ...]
    annotations: tuple[_Annotation, ...]
    categories: tuple[_Category, ...]


def read_boxes(folder: Path) -> list[Picture]:
    """The pictures in `folder` with their boxes, as `folder/annotations.json` lists them.

    Of COCO's fields it reads `images` (`id, file_name, width, height`), `annotations` (`image_id,
    category_id, bbox`: left, top, width, height) and `categories` (`id, name`). Every category is a hand,
    which is said where there are several, some of other names; crowds are left out; boxes are cut off at the
    picture's edges.

    Raises:
        DataError: the file or a picture is missing, a field is, or says what cannot be.
    """
    path = folder / ANNOTATIONS
    try:
        coco = TypeAdapter(_Coco).validate_json(read_bytes(path))
    except OSError as error:
        why = f"cannot be read: {error.strerror}; expected COCO-style boxes beside pictures"
        raise DataError(f"{path}: {why}") from error
    except ValidationError as error:
        raise DataError(f"{path}: {first_fault(error)}") from error
    categories = {category.id for category in coco.categories}
    images: dict[int, _Image] = {}
    for number, image in enumerate(coco.images):
        where = f"{path}: images.{number}"
        if image.id in images:
            raise DataError(f"{where}.id: {image.id} is another picture's, expected ids that differ")
        if not inside(image.file_name) or not (folder / image.file_name).is_file():
            raise DataError(f"{where}.file_name: {quote(image.file_name)}, expected a file inside {folder}")
        images[image.id] = image
    boxes: dict[int, list[list[float]]] = {key: [] for key in images}
    for number, label in enumerate(coco.annotations):
        where = f"{path}: annotations.{number}"
        if label.image_id not in images:
            raise DataError(f"{where}.image_id: {label.image_id}, expected the id of one of images")
        if label.category_id not in categories:
            raise DataError(f"{where}.category_id: {label.category_id}, expected the id of one of categories")
        left, top, wide, tall = label.bbox
        image = images[label.image_id]
        box = [max(left, 0.0), max(top, 0.0), min(left + wide, image.width), min(top + tall, image.height)]
        if wide <= 0 or tall <= 0 or box[0] >= box[2] or box[1] >= box[3]:
            expected = f"left, top, width, height of a box within {image.width} x {image.height}"
            raise DataError(f"{where}.bbox: {list(label.bbox)}, expected {expected}")
        if not label.iscrowd:
            boxes[label.image_id].append(box)
    if not images:
        raise DataError(f"{path}: images: none, expected at least one")
    used = {label.category_id for label in coco.annotations if not label.iscrowd}
    names = [category.name for category in coco.categories if category.id in used]
    if len(names) > 1 and (others := [name for name in names if not HANDS.search(name)]):
        some = ", ".join(map(quote, others[:6])) + (f" and {len(others) - 6} more" if len(others) > 6 else "")
        line = f"{path}: boxes of {some} count as hands, as those of every category do"
        warnings.warn(f"{line}: leave out what is none", PlaitWarning, stacklevel=2)
    pictures = []
    for key, image in images.items():
        hands = np.array(boxes[key], np.float32).reshape(-1, 4)
        pictures.append(Picture(folder / image.file_name, image.width, image.height, hands))
    return pictures


def _read_key(out: Path) -> str | None:
    """The key of what `write_boxes` has left in a folder; None of anything else."""
    if not (out / ANNOTATIONS).is_file():
        return None
    content = read_json(out / ANNOTATIONS)
    info = content.get("info") if isinstance(content, dict) else None
    key = info.get("key") if isinstance(info, dict) else None
    return key if isinstance(key, str) else None


def write_boxes(
    sources: Sequence[Path],
    out: Path,
    every_s: float = 0.6,
    progress: Progress = silent,
) -> Path:
    """Write frames of simulated recordings, as clips show them, with their hands' true boxes; returns `out`.

    A folder that stands already, made from the same recordings alike, is left as it is.

    Args:
        sources: raw recordings, or folders of them.
        out: the folder of pictures.
        every_s: seconds from one frame to the next that is taken.
        progress: told how many recordings of how many are done, and which was.

    Raises:
        ConfigError: `every_s` is out of range.
        DataError: a recording holds no truth, two are called alike, or something cannot be read or written.
    """
    if not 1e-3 <= every_s < np.inf:
        raise ConfigError(f"--every is {every_s}, expected seconds, 0.001 or more")
    raws = raw_folders(sources)
    names = [raw.resolve().name for raw in raws]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise DataError(f"{out}: two recordings are called {twice!r}, expected names that differ")
    files = [[raw.resolve().name, checksum(raw / TRUTH), checksum(raw / "video.mp4")] for raw in raws]
    key = content_key([every_s, files, source_key([write_boxes])])
    sweep(out.parent)
    before = _read_key(out)
    if before == key:
        return out
    for raw in raws:
        if raw.resolve().is_relative_to(out.resolve()):
            why = f"{raw} lies in it, and what is there would go"
            raise ConfigError(f"{out}: {why}: expected a folder of its own")
    if before is None and taken(out):
        why = "stands already, and holds no boxes that were written here"
        raise ConfigError(f"{out}: {why}: expected another folder")
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    with atomic(out) as making:
        progress(Step(0, len(raws), "recordings", "begins"))
        for done, (name, raw) in enumerate(zip(names, raws, strict=True), 1):
            video = Video(raw / "video.mp4")
            (making / name).mkdir(parents=True)
            boxes = hand_boxes(raw, video)
            chosen = np.unique(video.shown(np.arange(0.0, video.times[-1], every_s)))
            undecoded = set(chosen.tolist())
            for number, picture in video.decoded(chosen):
                undecoded.remove(number)
                file = f"{name}/{number:06d}.jpg"
                _, content = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
                (making / file).write_bytes(content.tobytes())
                height, width = picture.shape[:2]
                image = {"id": len(images) + 1, "file_name": file, "width": width, "height": height}
                images.append(image)
                for hand in range(2):
                    left, top, right, bottom = (round(float(edge), 2) for edge in boxes[number, hand])
                    if np.isnan(left):
                        continue
                    wide, tall = round(right - left, 2), round(bottom - top, 2)
                    about = {"id": len(annotations) + 1, "image_id": image["id"], "category_id": hand + 1}
                    box = {"bbox": [left, top, wide, tall], "area": round(wide * tall, 2)}
                    annotations.append({**about, **box, "iscrowd": 0})
            if undecoded:
                lost = f"{len(undecoded)} of {len(chosen)} frames cannot be decoded"
                first = f"the first at {video.times[min(undecoded)]:.3f} s"
                raise DataError(f"{video.file}: {lost}, {first}, expected an undamaged video")
            progress(Step(done, len(raws), name))
        categories = [{"id": 1, "name": "left hand"}, {"id": 2, "name": "right hand"}]
        info = {"description": "hands of simulated recordings", "every_s": every_s, "key": key}
        coco = {"info": info, "images": images, "annotations": annotations, "categories": categories}
        write_json(making / ANNOTATIONS, coco)
    return out

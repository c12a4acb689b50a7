"""Boxes around hands: pictures with a COCO-style `annotations.json`, read, and written from simulated recordings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pydantic import FiniteFloat, PositiveInt, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from plait.errors import ConfigError, DataError, first_fault, shown
from plait.names import inside
from plait.objects import source_key
from plait.recordings.video import Video
from plait.simulator.truth import TRUTH, hand_boxes, raw_folders
from plait.store import atomic, checksum, content_key, read_bytes, read_json, sweep, taken, write_json

ANNOTATIONS = "annotations.json"
QUALITY = 92
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture, its size in pixels, and `boxes` `(n, 4)`, float32: left, top, right, bottom of every hand."""

    file: Path
    width: int
    height: int
    boxes: np.ndarray

    def load(self) -> np.ndarray:
        """The picture itself, RGB `(height, width, 3)`, uint8.

        Raises:
            DataError: it cannot be read, or is of another size.
        """
        found = cv2.imread(str(self.file), cv2.IMREAD_COLOR_RGB)
        if found is None:
            raise DataError(f"{self.file}: cannot be read, expected a picture")
        if found.shape[:2] != (self.height, self.width):
            got = f"{found.shape[1]} x {found.shape[0]}"
            raise DataError(
                f"{self.file}: {got} pixels, expected {self.width} x {self.height} as in {ANNOTATIONS}"
            )
        return np.asarray(found, np.uint8)


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

    Of COCO's fields it reads `images` (`id, file_name, width, height`), `annotations` (`image_id, category_id, bbox`:
    left, top, width, height) and `categories` (`id, name`). Every category is a hand; crowds are left out; boxes are
    cut off at the picture's edges.

    Raises:
        DataError: the file or a picture is missing, a field is, or says what cannot be.
    """
    path = folder / ANNOTATIONS
    try:
        said = TypeAdapter(_Coco).validate_json(read_bytes(path))
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read: {error.strerror}; expected COCO-style boxes beside pictures"
        ) from error
    except ValidationError as error:
        raise DataError(f"{path}: {first_fault(error)}") from error
    known = {category.id for category in said.categories}
    boxes: dict[int, list[list[float]]] = {}
    sizes: dict[int, _Image] = {}
    for number, image in enumerate(said.images):
        where = f"{path}: images.{number}"
        if image.id in sizes:
            raise DataError(f"{where}.id: {image.id} is another picture's, expected ids that differ")
        if not inside(image.file_name) or not (folder / image.file_name).is_file():
            raise DataError(f"{where}.file_name: {shown(image.file_name)}, expected a file inside {folder}")
        sizes[image.id], boxes[image.id] = image, []
    for number, one in enumerate(said.annotations):
        where = f"{path}: annotations.{number}"
        if one.image_id not in sizes:
            raise DataError(f"{where}.image_id: {one.image_id}, expected the id of one of images")
        if one.category_id not in known:
            raise DataError(f"{where}.category_id: {one.category_id}, expected the id of one of categories")
        left, top, wide, tall = one.bbox
        image = sizes[one.image_id]
        box = [max(left, 0.0), max(top, 0.0), min(left + wide, image.width), min(top + tall, image.height)]
        if wide <= 0 or tall <= 0 or box[0] >= box[2] or box[1] >= box[3]:
            room = f"{image.width} x {image.height}"
            raise DataError(
                f"{where}.bbox: {list(one.bbox)}, expected left, top, width, height of a box within {room}"
            )
        if not one.iscrowd:
            boxes[one.image_id].append(box)
    if not sizes:
        raise DataError(f"{path}: images: none, expected at least one")
    return [
        Picture(
            folder / image.file_name,
            image.width,
            image.height,
            np.array(boxes[key], np.float32).reshape(-1, 4),
        )
        for key, image in sizes.items()
    ]


def _made_before(out: Path) -> str | None:
    """The key of what `write_boxes` has left in a folder; None of anything else."""
    if not (out / ANNOTATIONS).is_file():
        return None
    said = read_json(out / ANNOTATIONS)
    info = said.get("info") if isinstance(said, dict) else None
    key = info.get("key") if isinstance(info, dict) else None
    return key if isinstance(key, str) else None


def write_boxes(
    sources: Sequence[Path],
    out: Path,
    every_s: float = 0.6,
    progress: Progress = lambda done, total, label: None,
) -> Path:
    """Write frames of simulated recordings, as clips show them, with the true boxes of their hands; returns `out`.

    `sources` are raw recordings or folders of them; a frame is taken every `every_s` seconds. A folder that stands
    already, made from the same recordings alike, is left as it is.

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
    made_from = [
        [name, checksum(raw / TRUTH), checksum(raw / "video.mp4")]
        for name, raw in zip(names, raws, strict=True)
    ]
    key = content_key([every_s, made_from, source_key([write_boxes])])
    sweep(out.parent)
    before = _made_before(out)
    if before == key:
        return out
    for raw in raws:
        if raw.resolve().is_relative_to(out.resolve()):
            raise ConfigError(
                f"{out}: {raw} lies in it, and what is there would go: expected a folder of its own"
            )
    if before is None and taken(out):
        raise ConfigError(
            f"{out}: stands already, and holds no boxes that were written here: expected another folder"
        )
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    with atomic(out) as making:
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
                    left, top, right, bottom = (round(float(x), 2) for x in boxes[number, hand])
                    if not np.isnan(left):
                        bbox = [left, top, round(right - left, 2), round(bottom - top, 2)]
                        area = round(bbox[2] * bbox[3], 2)
                        about = {"id": len(annotations) + 1, "image_id": image["id"], "category_id": hand + 1}
                        annotations.append({**about, "bbox": bbox, "area": area, "iscrowd": 0})
            if undecoded:
                raise DataError(
                    f"{video.file}: {len(undecoded)} of {len(chosen)} frames cannot be decoded, the first at "
                    f"{video.times[min(undecoded)]:.3f} s, expected an undamaged video"
                )
            progress(done, len(raws), name)
        categories = [{"id": 1, "name": "left hand"}, {"id": 2, "name": "right hand"}]
        info = {"description": "hands of simulated recordings", "every_s": every_s, "key": key}
        said = {"info": info, "images": images, "annotations": annotations, "categories": categories}
        write_json(making / ANNOTATIONS, said)
    return out

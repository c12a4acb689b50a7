"""Recordings -> fixed windows -> a clip table, and one tensor per clip and modality."""

from plait.clips.arrays import Clips, Cut, cut, decided_by, listed, stored, tensors
from plait.clips.rows import Rows, mapped
from plait.clips.table import LazyClips, open_clips, open_windows, read_clips, write_clips
from plait.clips.windows import Windows, place, window

__all__ = [
    "Clips",
    "Cut",
    "LazyClips",
    "Rows",
    "Windows",
    "cut",
    "decided_by",
    "listed",
    "mapped",
    "open_clips",
    "open_windows",
    "place",
    "read_clips",
    "stored",
    "tensors",
    "window",
    "write_clips",
]

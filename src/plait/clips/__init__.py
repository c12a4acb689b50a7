"""Recordings -> fixed windows -> a clip table, and one tensor per clip and modality."""

from plait.clips.arrays import Clips, cut, mapped
from plait.clips.table import LazyClips, open_clips, open_windows, read_clips, write_clips
from plait.clips.windows import Windows, place, window

__all__ = [
    "Clips",
    "LazyClips",
    "Windows",
    "cut",
    "mapped",
    "open_clips",
    "open_windows",
    "place",
    "read_clips",
    "window",
    "write_clips",
]

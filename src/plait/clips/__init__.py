"""Recordings -> fixed windows -> a clip table, and one tensor per clip and modality."""

from plait.clips.arrays import Clips, cut, stored, tensors
from plait.clips.decided import decided_by
from plait.clips.listing import Cut, Listing, listed, survey
from plait.clips.people import People, Side
from plait.clips.rows import Rows, mapped
from plait.clips.table import LazyClips, open_clips, open_windows, read_clips, write_clips
from plait.clips.windows import place, window
from plait.types import Windows

__all__ = [
    "Clips",
    "Cut",
    "LazyClips",
    "Listing",
    "People",
    "Rows",
    "Side",
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
    "survey",
    "tensors",
    "window",
    "write_clips",
]

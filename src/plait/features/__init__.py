"""Frozen encoders over clips, once, as arrays in the cache."""

from plait.features.encoding import Extraction
from plait.features.extraction import extract

__all__ = ["Extraction", "extract"]

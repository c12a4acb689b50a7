"""Frozen encoders over clips, once, as arrays in the cache."""

from plait.features.extraction import Extraction, extract

__all__ = ["Extraction", "extract"]

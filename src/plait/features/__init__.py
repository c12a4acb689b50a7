"""Frozen encoders over clips, once, as arrays in the cache."""

from plait.features.extract import Extraction, extract

__all__ = ["Extraction", "extract"]

"""plait: activity recognition from heterogeneous sensors, fused by non-local operations."""

__version__ = "0.1.0"

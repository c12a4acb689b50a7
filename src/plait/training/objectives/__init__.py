"""Objectives: what training makes small, and what it does to clips, grids and gradients on the way."""

from plait.training.objectives.base import Draws, Objective, Scene, Step
from plait.training.objectives.cross_entropy import CrossEntropy
from plait.training.objectives.distilled import Distilled
from plait.training.objectives.mixed_clips import MixedClips
from plait.training.objectives.modality_dropout import ModalityDropout
from plait.training.objectives.ogm_ge import OGM_GE
from plait.training.objectives.sensor_heads import SensorHeads

__all__ = [
    "OGM_GE",
    "CrossEntropy",
    "Distilled",
    "Draws",
    "MixedClips",
    "ModalityDropout",
    "Objective",
    "Scene",
    "SensorHeads",
    "Step",
]

"""MEx: seven physiotherapy exercises by thirty people, seen by four sensors that have nothing in common.

Accelerometers on a thigh and a wrist (100 Hz, g), a depth camera above (about 10 to 15 frames a second, kept
at a twentieth of its size, 12x16) and the pressure mat below (32x16, about 15 frames a second). All stamps
are of one clock. A recording is one exercise of one person, about a minute; the clam is done on both sides.
"""

from dataclasses import replace
from functools import partial

from plait.datasets.mex.augment import flip_warp, shift_rescale_warp
from plait.datasets.mex.files import EXERCISES, WINDOWS, recordings
from plait.datasets.mex.prepare import depth_frames, in_g, mat_frames
from plait.encoders.depth import DepthNet
from plait.encoders.glove import SignalNet
from plait.types import Dataset, Modality

__all__ = ["EXERCISES", "MEX", "MEX_OVERLAPPING", "flip_warp", "mex", "recordings", "shift_rescale_warp"]


def mex(stride_s: float | None = None) -> Dataset:
    """MEx in windows of five seconds, `stride_s` apart (None: back to back), none across two recordings."""
    windows = replace(WINDOWS, stride_s=stride_s)
    signal = partial(SignalNet, widths=(24, 32, 48), kernels=(5, 5, 3), pools=(4, 2, 2), norm=True)
    frames = partial(DepthNet, patches=24, places=32, body=32, channels=32, group=5)
    return Dataset(
        name="MEx",
        activities=EXERCISES,
        modalities=(
            Modality("thigh", ("thigh",), 500, 100.0, in_g, signal),
            Modality("wrist", ("wrist",), 500, 100.0, in_g, signal),
            Modality("depth", ("depth",), 25, 5.0, depth_frames, partial(frames, patch=2)),
            Modality("mat", ("mat",), 25, 5.0, mat_frames, partial(frames, patch=4)),
        ),
        recordings=partial(recordings, windows=windows),
        cite="A. Wijekoon, N. Wiratunga, K. Cooper. MEx: Multi-modal Exercises Dataset. UCI Machine Learning "
        "Repository, 2019. doi:10.24432/C59K6T.",
        windows=windows,
    )


MEX = mex()
MEX_OVERLAPPING = mex(stride_s=2.0)  # as the data set's authors cut it

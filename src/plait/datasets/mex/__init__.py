"""MEx: seven physiotherapy exercises by thirty people, seen by four sensors that have nothing in common.

Accelerometers on a thigh and a wrist (100 Hz, g), a depth camera above (about 10 to 15 frames a second, kept
at a twentieth of its size, 12x16) and the pressure mat below (32x16, about 15 frames a second). All stamps
are of one clock. A recording is one exercise of one person, about a minute; the clam is done on both sides.
"""

from dataclasses import replace
from functools import partial

from plait.datasets.mex.files import EXERCISES, WINDOWS, recordings
from plait.datasets.mex.prepare import depth_frames, in_g, mat_frames
from plait.encoders.glove import SignalNet
from plait.types import Dataset, Modality

__all__ = ["EXERCISES", "MEX", "MEX_OVERLAPPING", "mex", "recordings"]


def mex(stride_s: float | None = None) -> Dataset:
    """MEx in windows of five seconds, `stride_s` apart (None: back to back), none across two recordings."""
    windows = replace(WINDOWS, stride_s=stride_s)
    signal = partial(SignalNet, widths=(24, 32, 48), norm=True)
    return Dataset(
        name="MEx",
        activities=EXERCISES,
        modalities=(
            Modality("thigh", ("thigh",), samples=500, rate_hz=100.0, prepare=in_g, encoder=signal),
            Modality("wrist", ("wrist",), samples=500, rate_hz=100.0, prepare=in_g, encoder=signal),
            Modality("depth", ("depth",), samples=50, rate_hz=10.0, prepare=depth_frames, encoder=signal),
            Modality("mat", ("mat",), samples=50, rate_hz=10.0, prepare=mat_frames, encoder=signal),
        ),
        recordings=partial(recordings, windows=windows),
        cite="A. Wijekoon, N. Wiratunga, K. Cooper. MEx: Multi-modal Exercises Dataset. UCI Machine Learning "
        "Repository, 2019. doi:10.24432/C59K6T.",
        windows=windows,
    )


MEX = mex()
MEX_OVERLAPPING = mex(stride_s=2.0)  # as the data set's authors cut it

"""UTD-MHAD: 27 activities by 8 subjects, 4 trials each, seen by a Kinect and one inertial sensor.

There are no time stamps. Depth and skeleton share the Kinect's clock, nominally 30 frames a second. The inertial
sensor's clock is another: between 2.4 and 4.5 samples fall on a frame, so its nominal 50 Hz cannot hold, and its
samples are spread evenly over the Kinect's time instead. It sits on the right wrist for activities 1 to 21 and on the
right thigh for 22 to 27.
"""

from functools import partial

from plait.datasets.utd_mhad.augment import rotate_rescale_warp, shift_crop, turn_rescale_warp
from plait.datasets.utd_mhad.files import ACTIVITIES, recordings
from plait.datasets.utd_mhad.prepare import body_centred, in_physical_units, person_cropped
from plait.encoders.depth import DepthNet
from plait.encoders.glove import SignalNet
from plait.encoders.skeleton import SkeletonNet
from plait.types import Dataset, Modality

__all__ = ["ACTIVITIES", "UTD_MHAD", "recordings", "rotate_rescale_warp", "shift_crop", "turn_rescale_warp"]

UTD_MHAD = Dataset(
    name="UTD-MHAD",
    activities=ACTIVITIES,
    modalities=(
        Modality("depth", ("depth",), samples=32, rate_hz=None, prepare=person_cropped, encoder=DepthNet),
        Modality(
            "inertial",
            ("inertial",),
            samples=64,
            rate_hz=None,
            prepare=in_physical_units,
            encoder=partial(SignalNet, widths=(24, 32, 48), norm=True),
        ),
        Modality(
            "skeleton", ("skeleton",), samples=32, rate_hz=None, prepare=body_centred, encoder=SkeletonNet
        ),
    ),
    recordings=recordings,
    cite="C. Chen, R. Jafari, N. Kehtarnavaz. UTD-MHAD: A multimodal dataset for human action recognition utilizing a "
    "depth camera and a wearable inertial sensor. ICIP 2015.",
)

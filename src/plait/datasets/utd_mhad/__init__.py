"""UTD-MHAD: 27 activities by 8 subjects, 4 trials each, seen by a Kinect and one inertial sensor.

There are no time stamps. Depth and skeleton share the Kinect's clock, nominally 30 frames a second. The
inertial sensor has another: 2.4 to 4.5 samples fall on a frame, so its nominal 50 Hz cannot hold, and its
samples are spread evenly over the Kinect's time instead. It sits on the right wrist for activities 1 to 21,
on the right thigh for 22 to 27.
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

_inertial_net = partial(SignalNet, widths=(24, 32, 48), norm=True)
UTD_MHAD = Dataset(
    name="UTD-MHAD",
    activities=ACTIVITIES,
    modalities=(  # samples evenly over the whole trial
        Modality("depth", ("depth",), 32, None, person_cropped, DepthNet),
        Modality("inertial", ("inertial",), 64, None, in_physical_units, _inertial_net),
        Modality("skeleton", ("skeleton",), 32, None, body_centred, SkeletonNet),
    ),
    recordings=recordings,
    cite="C. Chen, R. Jafari, N. Kehtarnavaz. UTD-MHAD: A multimodal dataset for human action recognition "
    "utilizing a depth camera and a wearable inertial sensor. ICIP 2015.",
)

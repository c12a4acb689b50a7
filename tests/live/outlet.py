"""An outlet in a process of its own: NAME RATE_HZ SOURCE_ID STAMPS OFFSET_S DRIFT_PPM.

It sends the time of day, in seconds since the last full thousand. STAMPS are those of LSL's clock (`lsl`), or
those of a device's (`device`), which is ahead of the time of day by OFFSET_S and runs faster by DRIFT_PPM.
"""

import sys
import time

import pylsl

name, rate_hz, source_id, stamps, offset_s, drift_ppm = sys.argv[1:]
info = pylsl.StreamInfo(
    name, "glove", 2, float(rate_hz), (stamps == "text" and "string") or "double64", source_id
)
channels = info.desc().append_child("channels")
for label in ("true", "other"):
    channels.append_child("channel").append_child_value("label", label)
outlet = pylsl.StreamOutlet(info)
print("ready", flush=True)
while True:
    now_s = time.time()
    stamp_s = pylsl.local_clock()
    if stamps == "device":
        stamp_s = (now_s + float(offset_s)) * (1 + float(drift_ppm) * 1e-6)
    if stamps == "text":
        outlet.push_sample(["a", "b"])
    else:
        outlet.push_sample([now_s % 1000, 1.0], stamp_s)
    time.sleep(1 / float(rate_hz))

"""Time codes, `hh:mm:ss:ff`: hours, minutes, seconds and the number of a frame, of labels and of logs."""

import re

TIMECODE = re.compile(r"([0-9]{1,3}):([0-9]{1,2}):([0-9]{1,2})([:;])([0-9]{1,3})")


def timecode_s(code: re.Match[str], rate_hz: float) -> float | None:
    """Seconds of what `TIMECODE` matches, at `rate_hz` frames a second; None where there is no such code.

    Frames of drop-frame codes (`;`) are counted as in SMPTE 12M.
    """
    nominal = round(rate_hz)
    hours, minutes, seconds, frame = (int(code[i]) for i in (1, 2, 3, 5))
    if minutes > 59 or seconds > 59 or frame >= nominal:
        return None
    minutes += 60 * hours
    dropped = round(nominal / 15) * (minutes - minutes // 10) if code[4] == ";" else 0
    return ((60 * minutes + seconds) * nominal + frame - dropped) / rate_hz

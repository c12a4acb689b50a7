"""What is kept of readings to look at: the last seconds of a log, thinned, and a video's last picture."""

from typing import Any, NamedTuple

import cv2
import numpy as np

SHOWN_S = 10.0  # of a log
BINS_HZ = 50  # in each of these the least and the greatest reading are kept
BINS = int((SHOWN_S + 2) * BINS_HZ)
MOST_COLUMNS = 12  # of a log
LONG_SIDE, QUALITY = 640, 80  # of a picture that is sent: pixels, and of JPEG


class Trace:
    """The last seconds of a log, as the least and the greatest reading of each fiftieth of a second.

    Args:
        columns: how many it has; the first twelve are kept.
    """

    def __init__(self, columns: int) -> None:
        self.columns = min(columns, MOST_COLUMNS)
        self.version = 0
        self._bin = np.full(BINS, -1, np.int64)
        self._changed = np.zeros(BINS, np.int64)  # the version
        self._seconds = np.zeros(BINS)
        self._low, self._high = (np.full((BINS, self.columns), np.nan, np.float32) for _ in range(2))

    def add(self, seconds: np.ndarray, values: np.ndarray) -> None:
        """Take readings `(n, columns)` of some seconds `(n,)` on the recording's clock, in any order."""
        bins = np.floor(seconds * BINS_HZ).astype(np.int64)
        newest = max(int(self._bin.max()), int(bins.max(initial=-1)))
        kept = np.flatnonzero((bins > newest - BINS) & (bins >= 0))
        if not len(kept):
            return
        order = kept[np.argsort(bins[kept], kind="stable")]
        found, first = np.unique(bins[order], return_index=True)
        rows = values[order, : self.columns].astype(np.float32)
        rows[~np.isfinite(rows)] = np.nan
        low, high = np.fmin.reduceat(rows, first), np.fmax.reduceat(rows, first)
        places, begins_s = found % BINS, np.minimum.reduceat(seconds[order], first)
        again = self._bin[places] == found
        old = places[again]
        low[again] = np.fmin(low[again], self._low[old])
        high[again] = np.fmax(high[again], self._high[old])
        begins_s[again] = np.minimum(begins_s[again], self._seconds[old])
        self.version += 1
        self._bin[places], self._changed[places] = found, self.version
        self._seconds[places], self._low[places], self._high[places] = begins_s, low, high

    def since(self, version: int) -> dict[str, Any] | None:
        """What has changed since a version, in terms of JSON; None where nothing has.

        `bins` numbers the fiftieths of a second; of each there are `t`, the seconds of its first reading, and
        `low` and `high`, by column; a number that is none is null. `high` is null where it is `low`.
        """
        changed = np.flatnonzero((self._changed > version) & (self._bin > self._bin.max() - BINS))
        if not len(changed):
            return None
        changed = changed[np.argsort(self._bin[changed])]
        low, high = self._low[changed], self._high[changed]
        return {
            "bins": self._bin[changed].tolist(),
            "t": self._seconds[changed].round(4).tolist(),
            "low": _plain(low),
            "high": None if np.array_equal(low, high, equal_nan=True) else _plain(high),
        }


class Picture(NamedTuple):
    """A picture of a video.

    Args:
        number: of the pictures so far.
        time_s: when it was taken, on the recording's clock.
        pixels: `(height, width, 3)` uint8.
    """

    number: int
    time_s: float
    pixels: np.ndarray

    def jpeg(self) -> bytes:
        """As a file, its longer side 640 pixels at most."""
        height, width = self.pixels.shape[:2]
        pixels, scale = self.pixels, LONG_SIDE / max(height, width)
        if scale < 1:
            size = max(1, round(width * scale)), max(1, round(height * scale))
            pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        done, content = cv2.imencode(".jpg", pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        assert done, "a picture of eight bits can be written"
        return content.tobytes()


def _plain(values: np.ndarray) -> list[list[float | None]]:
    return [[None if value != value else float(f"{value:.4g}") for value in row] for row in values.tolist()]

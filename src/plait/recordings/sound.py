"""The sound of a video as one channel: of the track and the channels that have any."""

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.audio.frame import AudioFrame
from jaxtyping import Float64

from plait.errors import DataError
from plait.recordings.media import decodable, only, opened
from plait.recordings.packets import read_packets
from plait.types import Readings

GAP_S = 0.05  # audio time stamps that jump by more are a gap, by less the rounding of the file format
QUIET = 0.1  # of the loudest track's peak: a quieter one is passed over
SILENT = 1e-3  # of the loudest channel: a quieter one has no sound (-60 dB)
BESIDE_S = 60.0  # before the first picture and after the last: sound farther away is not read
PAUSES_S = 3600.0  # in all: time stamps that jump farther were damaged, and silence has its price in memory
OPPOSED = -0.5  # correlation with the loudest channel: one below is wired the other way round


class Sound(NamedTuple):
    """One channel of sound on the video's clock, and of which track and channels where there was a choice."""

    readings: Readings
    about: str | None


class _Track(NamedTuple):
    """One track as the mean of its channels."""

    begins_s: float
    values: np.ndarray
    peak: float
    likeness: Float64[np.ndarray, "channels channels"]  # covariance


def read_sound(file: Path, rate_hz: int = 16_000) -> Sound:
    """A video's sound as one channel, float32, at `rate_hz` on the video's clock. Gaps are silent.

    Of several tracks, the first that is not much quieter than the loudest; of its channels, the mean of those
    that have sound, those that are upside down (a balanced cable split in two) turned round.

    Raises:
        DataError: the file is missing, no video, truncated, has no audio track, or the audio cannot be
            decoded or pauses for hours.
    """
    packets = read_packets(file)
    start_s = packets.start_s
    span_s = (start_s + float(packets.times[0]) - BESIDE_S, start_s + packets.stop_s + BESIDE_S)
    with opened(file) as container:
        streams = container.streams.audio
        count = len(streams)
        if count == 0:
            raise DataError(f"{file}: no audio track, expected one")
        readable = [i for i, stream in enumerate(streams) if getattr(stream, "codec_context", None)]
        if not readable:
            decodable(streams[0], file)
    peaks: dict[int, float] = {}
    best: tuple[int, _Track] | None = None
    for number in readable:
        track = _read(file, number, rate_hz, span_s)
        if track is not None:
            peaks[number] = track.peak
            if best is None or best[1].peak < QUIET * track.peak:
                best = number, track
    if best is None:
        raise DataError(f"{file}: its audio track is empty, expected sound")
    number, track = best
    notes = []
    if count > 1:
        quiet = [str(i + 1) for i, peak in peaks.items() if peak < QUIET * track.peak]
        notes.append(f"sound track {number + 1} of {count}" + (f" ({_are(quiet, 'quiet')})" if quiet else ""))
    energy = np.diag(track.likeness)
    sounding = energy > SILENT**2 * energy.max()
    with np.errstate(invalid="ignore", divide="ignore"):
        alike = track.likeness[energy.argmax()] / np.sqrt(energy * energy.max())
    turned = sounding & (alike < OPPOSED)
    if turned.any():
        notes.append(f"channel {_are([str(i + 1) for i in np.flatnonzero(turned)], 'upside down')}")
        weights = np.where(turned, -1.0, 1.0) * sounding / sounding.sum()
        track = _read(file, number, rate_hz, span_s, weights) or track
    elif sounding.any() and not sounding.all():
        track = track._replace(values=track.values * np.float32(len(sounding) / sounding.sum()))
    times = track.begins_s - start_s + np.arange(len(track.values)) / rate_hz
    return Sound(Readings(times, track.values), ", ".join(notes) or None)


def _are(names: list[str], state: str) -> str:
    return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} {state}"


def _read(
    file: Path, number: int, rate_hz: int, span_s: tuple[float, float], weights: np.ndarray | None = None
) -> _Track | None:
    """One audio track from `span_s[0]` to `span_s[1]` of the file's clock; None if it is empty.

    Its channels are added up by `weights` (their mean by default).
    """
    pieces: list[np.ndarray] = []
    begins_s, samples, peak, pauses_s = 0.0, 0, 0.0, 0.0
    products, sums = np.zeros((1, 1)), np.zeros(1)  # of the first channels; frames with others are left out
    with opened(file) as container:
        track = only(container, container.streams.audio[number], file)
        decoded = (frame for packet in container.demux(track) for frame in packet.decode())
        for frame in _resampled(decoded, rate_hz):
            values = frame.to_ndarray()
            channels = len(values)
            if len(sums) != channels and samples == 0:
                products, sums = np.zeros((channels, channels)), np.zeros(channels)
            time_s = begins_s + samples / rate_hz if frame.time is None else frame.time
            if time_s > span_s[1]:
                break
            if not pieces:
                if time_s + values.shape[1] / rate_hz < span_s[0]:
                    continue
                begins_s = time_s
            late_s = time_s - (begins_s + samples / rate_hz)
            pauses_s += max(late_s, 0.0)
            if pauses_s > PAUSES_S:
                raise DataError(
                    f"{file}: its sound pauses for {pauses_s / 3600:.1f} hours until {time_s:.1f} s, "
                    "expected an hour in all at most"
                )
            if late_s > GAP_S:
                pieces.append(np.zeros(round(late_s * rate_hz), np.float32))
                samples += len(pieces[-1])
            elif late_s < -GAP_S:
                values = values[:, round(-late_s * rate_hz) :]
            if len(sums) == channels:
                products += values @ values.T
                sums += values.sum(axis=1)
            peak = max(peak, float(np.abs(values).max(initial=0.0)))
            mix = np.full(channels, 1 / channels)
            if weights is not None and len(weights) == channels:
                mix = weights
            pieces.append((mix @ values).astype(np.float32))
            samples += len(pieces[-1])
    if samples == 0:
        return None
    likeness = products / samples - np.outer(sums, sums) / samples**2
    return _Track(begins_s, np.concatenate(pieces), peak, likeness)


def _resampled(decoded: Iterator[AudioFrame], rate_hz: int) -> Iterator[AudioFrame]:
    """Frames of float32 planes at `rate_hz`; a track may change its channels or its rate on the way."""
    resampler: av.AudioResampler | None = None
    last = None
    for frame in chain(decoded, [None]):
        kind = None if frame is None else (frame.format.name, frame.layout.name, frame.sample_rate)
        if kind != last:
            if resampler is not None:
                yield from resampler.resample(None)
            resampler = None if frame is None else av.AudioResampler(format="fltp", rate=rate_hz)
            last = kind
        if resampler is not None:
            yield from resampler.resample(frame)

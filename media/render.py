"""One spool to one WAV file with a channel for each stream, and its waveform peaks.

Works through the recording's line in windows, so that memory does not grow with what is written;
within a window packets of equal length are gathered from the mapped spool, decoded and laid down
at once. Where packets go has been settled by `media.timeline`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from media import spool, wav
from media.codecs import CODECS
from media.peaks import Peaks
from media.spec import Rendered, RenderedStream, RenderFailed
from media.timeline import (
    ENCODINGS,
    SAMPLE_RATE_HZ,
    SAMPLES_PER_MS,
    Timeline,
    Track,
    build,
)
from media.track import Frames

WINDOW = 60 * SAMPLE_RATE_HZ
Samples = NDArray[np.int16]


def render(
    spool_path: Path, out_dir: Path, recording_id: str, channel_order: Sequence[str]
) -> Rendered:
    """Make `<recording_id>.wav` and `<recording_id>.peaks.json` in `out_dir`.

    Streams get channels in `channel_order` (stream ids), others after them by their index; one
    without packets is silent. What was cut off is rendered as far as it goes. Raises SpoolDamaged
    without one readable block, RenderFailed when a file cannot be read or written.
    """
    try:
        source = spool.read(spool_path)
    except OSError as error:
        raise RenderFailed(f"{spool_path}: {error.strerror or error}") from error
    timeline = build(source)
    tracks = _ordered(timeline.tracks, channel_order)
    channels = max(1, len(tracks))
    peaks = Peaks(channels, timeline.samples)
    target = out_dir / f"{recording_id}.wav"
    blocks = _Line(source, timeline, tracks).blocks()
    file = wav.write(target, channels, SAMPLE_RATE_HZ, timeline.samples, blocks, peaks)
    peaks_path = out_dir / f"{recording_id}.peaks.json"
    with wav.replacing(peaks_path) as out:
        out.write(peaks.encode(SAMPLE_RATE_HZ))
    return Rendered(
        wav=file,
        peaks_path=str(peaks_path),
        streams=tuple(_stream(track, channel) for channel, track in enumerate(tracks)),
        duration_ms=file.duration_ms,
        paused_ms=timeline.paused // SAMPLES_PER_MS,
        warnings=(*timeline.warnings, *_silent(tracks)),
    )


def _ordered(tracks: Sequence[Track], channel_order: Sequence[str]) -> list[Track]:
    rank = {stream_id: place for place, stream_id in enumerate(channel_order)}
    return sorted(tracks, key=lambda track: rank.get(track.stream_id, len(rank)))


def _stream(track: Track, channel: int) -> RenderedStream:
    return RenderedStream(
        stream_id=track.stream_id,
        label=track.label,
        channel=channel,
        encoding=track.encoding,
        packets=track.packets,
        lost=track.lost,
        duplicates=track.duplicates,
        gaps=track.gaps,
    )


def _silent(tracks: Sequence[Track]) -> list[str]:
    if not any(track.packets for track in tracks):
        return ["no_media"]
    return [f"no_media:{t.label or t.stream_id}" for t in tracks if not t.packets]


@dataclass(frozen=True, slots=True)
class _Line:
    """The recording's line with everything on it, read from beginning to end."""

    source: spool.Spool
    timeline: Timeline
    tracks: Sequence[Track]

    def blocks(self) -> Iterator[list[Samples]]:
        """The samples of every channel, int16[n] each, cuts left out; valid until the next."""
        channels = [self._channel(track) for track in self.tracks] or [self._silence()]
        for begin, window in zip(self._begins(), zip(*channels, strict=True), strict=True):
            for low, high in self._kept(begin, begin + len(window[0])):
                yield [samples[low:high] for samples in window]
            self.source.forget()

    def _begins(self) -> range:
        return range(0, self.timeline.length, WINDOW)

    def _kept(self, begin: int, end: int) -> list[tuple[int, int]]:
        """What of a window no cut takes away, counted from its beginning."""
        cuts = np.clip(self.timeline.cuts, begin, end) - begin
        edges = [0, *cuts.ravel().tolist(), end - begin]
        pieces = zip(edges[::2], edges[1::2], strict=True)
        return [(low, high) for low, high in pieces if high > low]

    def _silence(self) -> Iterator[Samples]:
        silence = np.zeros(WINDOW, np.int16)
        for begin in self._begins():
            yield silence[: self.timeline.length - begin]

    def _channel(self, track: Track) -> Iterator[Samples]:
        """The windows of one track; layers are added up and clipped."""
        layers = [self._layer(frames) for frames in track.layers] or [self._silence()]
        if len(layers) == 1:
            yield from layers[0]
            return
        for windows in zip(*layers, strict=True):
            total = np.sum(windows, axis=0, dtype=np.int32)
            yield np.clip(total, -32768, 32767).astype(np.int16)

    def _layer(self, frames: Frames) -> Iterator[Samples]:
        tail = int(frames.size.max())
        buffer = np.zeros(WINDOW + tail, np.int16)
        for begin in self._begins():
            low, high = np.searchsorted(frames.start, [begin, begin + WINDOW])
            self._lay(frames.take(slice(low, high)), buffer, begin)
            yield buffer[: min(WINDOW, self.timeline.length - begin)]
            buffer[:tail] = buffer[WINDOW:]
            buffer[tail:] = 0

    def _lay(self, frames: Frames, buffer: Samples, begin: int) -> None:
        """Decode packets into a window, all those of one encoding and length together."""
        kind = frames.size * len(ENCODINGS) + self.timeline.encodings[frames.rows]
        if len(kind) and (kind == kind[0]).all():
            self._lay_alike(frames, buffer, begin)
            return
        for each in np.unique(kind):
            self._lay_alike(frames.take(kind == each), buffer, begin)

    def _lay_alike(self, frames: Frames, buffer: Samples, begin: int) -> None:
        size = int(frames.size[0])
        codec = CODECS[ENCODINGS[self.timeline.encodings[frames.rows[0]]]]
        payloads = _every(self.source.octets, size)[self.source.offsets[frames.rows]]
        samples = codec.decode(payloads.view(np.uint8).reshape(-1, size))
        _every(buffer, size)[frames.start - begin] = samples.view(f"V{2 * size}")[:, 0]


def _every(array: NDArray[np.uint8] | Samples, size: int) -> np.ndarray:
    """Each run of `size` elements, at any offset, as one item: void[len(array) - size + 1]."""
    items = len(array) - size + 1
    width = array.itemsize
    return np.ndarray(items, f"V{size * width}", buffer=array.data, strides=(width,))

"""The nouns of the media door: what the control process says to `MediaEngine` and hears back.

Plain frozen values, so that they cross the pipe to the media process as they are.
Times are kernel wall-clock nanoseconds (`time.time_ns()`), the clock of `SO_TIMESTAMPNS`.
"""

from dataclasses import dataclass


class MediaError(Exception):
    """Base of what can go wrong in this room."""


class PortsExhausted(MediaError):
    """No free pair of RTP ports is left in the configured range: our shortage, answer 503."""


class MediaUnavailable(MediaError):
    """The media process did not acknowledge a command, even after it was restarted."""


class SpoolDamaged(MediaError):
    """A spool file without one readable block."""


class RenderFailed(MediaError):
    """A file could not be made from a spool or a recording."""


class UnusableAudio(MediaError):
    """A file from outside that is not audio of a kind we take; the text says why."""


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """One audio m-line as the media process needs it."""

    stream_id: str
    """Unguessable, unique in the process; stays the same while the m-line lives."""
    label: str
    """`a=label` of the offer (RFC 4574), or what we made up for it."""
    formats: dict[int, str]
    """RTP payload type -> encoding name: `PCMU`, `PCMA`, `telephone-event`, `CN`."""
    active: bool = True
    """False while the direction is inactive: what arrives is discarded in the kernel."""
    rtcp_host: str = ""
    """Where receiver reports go, an IP literal; empty: nowhere until RTCP arrives."""
    rtcp_port: int = 0
    """Port beside `rtcp_host`."""


@dataclass(frozen=True, slots=True)
class StreamPort:
    """The ports a stream was given: RTP on an even one, RTCP one above (RFC 3550 11)."""

    stream_id: str
    rtp_port: int
    rtcp_port: int


@dataclass(frozen=True, slots=True)
class Target:
    """Where the media of a session goes from a point in time on.

    `recording_id` None: discarded (before START, after STOP). `paused`: discarded as well, but the
    recording stays open and the span is marked, to be filled with silence or cut out (`fill`).
    Start, pause, resume, stop and split are all one change of target. Before START a session may
    hold in memory what was just said, so that the recording can begin with it.
    """

    recording_id: str | None = None
    paused: bool = False
    fill: bool = True
    prebuffer_ms: int = 0
    """Without a recording: how long what arrived is held in memory, at most `MAX_PREBUFFER_MS`."""
    since_ns: int = 0
    """With a new recording: when it begins, no later than the change; what is held since then
    belongs to it. 0: with the change."""

    @property
    def holds(self) -> bool:
        """Whether what arrives is held in memory, and nowhere else."""
        return self.recording_id is None and self.prebuffer_ms > 0


MAX_PREBUFFER_MS = 60_000

DISCARD = Target()
"""Nothing is recorded."""


@dataclass(frozen=True, slots=True)
class StreamReport:
    """Reception figures of one stream since it was opened (RFC 3550 6.4.1 terms)."""

    stream_id: str
    packets: int = 0
    """Packets accepted as RTP of this stream, recorded or not."""
    octets: int = 0
    """Payload octets of those packets."""
    lost: int = 0
    """Expected minus received, never negative."""
    duplicates: int = 0
    """Packets received more often than once, as far as the counters can tell."""
    discarded: int = 0
    """Datagrams that were not RTP of a negotiated payload type."""
    jitter_ms: float = 0.0
    """Interarrival jitter (RFC 3550 A.8)."""
    ssrc: int = 0
    """Current synchronisation source; 0 before the first packet."""
    last_arrival_ns: int = 0
    """Kernel arrival time of the last packet; 0 before the first."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch of one stream in which nothing was received though the recording ran."""

    start_ms: int
    duration_ms: int


@dataclass(frozen=True, slots=True)
class RenderedStream:
    """What one stream contributed to a finished recording."""

    stream_id: str
    label: str
    channel: int
    """Index in the file, 0 is left."""
    encoding: str
    """Encoding name of the most packets, empty if there were none."""
    packets: int
    """Distinct packets placed."""
    lost: int
    """Sequence numbers missing between first and last packet of each source."""
    duplicates: int
    gaps: tuple[Gap, ...]
    """Audible holes of 20 ms or more, at most 1,000; pauses are not gaps."""


@dataclass(frozen=True, slots=True)
class MediaFile:
    """One finished file."""

    path: str
    format: str
    """`wav` or `mp3`."""
    size_bytes: int
    sha256: str
    """Lower-case hex digest of the whole file."""
    channels: int
    sample_rate_hz: int
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Rendered:
    """The outcome of rendering one spool."""

    wav: MediaFile
    peaks_path: str
    """JSON file with the waveform peaks."""
    streams: tuple[RenderedStream, ...]
    duration_ms: int
    paused_ms: int
    warnings: tuple[str, ...] = ()
    """Reason codes, e.g. `spool_truncated`, `no_media`."""

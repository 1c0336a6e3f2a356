"""Keeps the media process in line with what was negotiated: ports opened, changed and closed.

Counterparts: `siprec.negotiation` says what is to be (a `Plan`), `media.engine` does it.
"""

import secrets
from collections.abc import Sequence
from dataclasses import replace

import structlog

from media.engine import MediaEngine
from media.spec import (
    DISCARD,
    MediaUnavailable,
    PortsExhausted,
    StreamReport,
    StreamSpec,
    Target,
)
from siprec import negotiation
from siprec.negotiation import NotAcceptable, Origin, Plan, Slot
from siprec.platforms import Agreement
from siprec.sdp import SessionDescription
from siprec.session import LiveSession, NegotiatedStream, ReceptionView, Refused, State

logger = structlog.get_logger(__name__)

RETRY_AFTER_S = 5
"""Hint for a client that met a shortage of ours."""
NOWHERE = 9
"""Port of a stream that is taken but has none: that of the discard service (RFC 863)."""


def target(live: LiveSession, since_ns: int = 0) -> Target:
    """Where the media of `live` is to go, by its state.

    `since_ns`: when a recording that begins now is to begin, if earlier than that.
    """
    if live.recording is None:
        idle = live.state is State.IDLE
        return Target(prebuffer_ms=live.decision.prebuffer_ms) if idle else DISCARD
    fill = not live.pauses or live.pauses[-1].fill == "silence"
    return Target(live.recording.id, live.state is State.PAUSED, fill, since_ns=since_ns)


def align(
    engine: MediaEngine,
    live: LiveSession,
    plan: Plan,
    at_ns: int,
    agreement: Agreement | None = None,
) -> bool:
    """Open, change and close streams so that they are those of `plan`; whether all are open.

    Raises Refused (503) when no ports are left; then nothing has changed. Under an `agreement` that
    the call outlasts that, new streams stay closed instead, until they are offered again.
    """
    standing = {stream.number: stream for stream in live.streams if not stream.closed}
    new = [slot for number, slot in plan.streams.items() if number not in standing]
    opened: list[NegotiatedStream] = []
    if new or not live.streams:
        opened = _opened(engine, live, new, at_ns, agreement)
        live.streams += opened
    for number, stream in standing.items():
        slot = plan.streams.get(number)
        if slot is None:
            stream.closed = True
            engine.close_streams(live.id, [stream.spec.stream_id], at_ns)
        elif (spec := _spec(slot, stream.spec.stream_id)) != stream.spec:
            stream.spec = spec
            engine.update(live.id, [spec], at_ns)
    return len(opened) == len(new)


def planned(sdp: SessionDescription, previous: Plan | None) -> Plan:
    """What we make of an offer (`negotiation.plan`). Raises Refused."""
    try:
        return negotiation.plan(sdp, previous)
    except NotAcceptable as error:
        raise Refused(error.status, str(error), error.warning) from error


def answer(
    live: LiveSession, plan: Plan, host: str, previous: SessionDescription | None
) -> SessionDescription:
    """Our SDP for `plan`, with the ports of the streams of `live`; what has none is inactive."""
    open_ports = {
        stream.number: stream.port.rtp_port for stream in live.streams if not stream.closed
    }
    ports = {slot.index: open_ports.get(number, NOWHERE) for number, slot in plan.streams.items()}
    slots = (
        slot if slot.stream in open_ports else replace(slot, direction="inactive")
        for slot in plan.slots
    )
    origin = Origin("siprecd", str(int(live.id[:8], 16)))
    return negotiation.answer(replace(plan, slots=tuple(slots)), ports, host, origin, previous)


def views(live: LiveSession, figures: Sequence[StreamReport]) -> dict[str, ReceptionView]:
    """Packet figures by stream id."""
    active = {stream.spec.stream_id: stream.spec.active for stream in live.streams}
    return {
        f.stream_id: ReceptionView(
            f.packets, f.lost, f.duplicates, f.jitter_ms, active.get(f.stream_id, False)
        )
        for f in figures
    }


async def stop_holding(engine: MediaEngine, live: LiveSession, at_ns: int) -> None:
    """Let go of what is held in memory of a session that is not recorded, and hold no more.

    Whatever the media process does, no recording will ask for it.
    """
    if live.state is State.IDLE and live.decision.prebuffer_ms:
        live.decision = replace(live.decision, prebuffer_ms=0)
        try:
            await engine.switch(live.id, DISCARD, at_ns)
        except MediaUnavailable as error:
            logger.error("holding_unconfirmed", session=live.id, error=str(error))


def _opened(
    engine: MediaEngine,
    live: LiveSession,
    slots: Sequence[Slot],
    at_ns: int,
    agreement: Agreement | None,
) -> list[NegotiatedStream]:
    """Streams for `slots`; none of them, if that is agreed, when they cannot be had."""
    try:
        return _bound(engine, live, slots, at_ns, agreement)
    except Refused:
        if agreement is None or not agreement.outlasts_failure:
            raise
        return _bound(engine, live, (), at_ns, None)


def _bound(
    engine: MediaEngine,
    live: LiveSession,
    slots: Sequence[Slot],
    at_ns: int,
    agreement: Agreement | None,
) -> list[NegotiatedStream]:
    if agreement and engine.is_gone:
        logger.error("media_gone", call_id=live.call_id)
        raise Refused(503, "No media process", retry_after_s=RETRY_AFTER_S)
    specs = [_spec(slot, secrets.token_hex(8)) for slot in slots]
    try:
        ports = engine.open(live.id, specs, target(live), at_ns)
    except PortsExhausted as error:
        logger.error("ports_exhausted", call_id=live.call_id)
        raise Refused(503, "No RTP ports left", retry_after_s=RETRY_AFTER_S) from error
    return [
        NegotiatedStream(slot.stream, spec, port)
        for slot, spec, port in zip(slots, specs, ports, strict=True)
    ]


def _spec(slot: Slot, stream_id: str) -> StreamSpec:
    return StreamSpec(
        stream_id,
        slot.label,
        slot.formats,
        slot.direction != "inactive",
        slot.rtcp_host,
        slot.rtcp_port,
    )

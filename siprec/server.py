"""The SIP server: an event of the endpoint, a call to the recorder, a response. Nothing else.

The only place where what the core refuses becomes a SIP status.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import structlog

from config.schema import Sip
from siprec import offer as offers
from siprec import streams
from siprec.recorder import Recorder
from siprec.sdp import SessionDescription
from siprec.session import Offer, Refused
from siprec.sip.endpoint import Endpoint, EndpointConfig
from siprec.sip.events import (
    AckReceived,
    ByeReceived,
    Cancelled,
    DialogEnded,
    Event,
    InviteReceived,
    OptionsReceived,
    UpdateReceived,
)
from siprec.transport import SipTransport

logger = structlog.get_logger(__name__)

SDP = "application/sdp"
Offering = InviteReceived | UpdateReceived


class SipServer:
    """Listens for session recording clients and hands their dialogs to the recorder."""

    def __init__(self, config: Sip, recorder: Recorder) -> None:
        self._config = config
        self._recorder = recorder
        self._endpoint = Endpoint(EndpointConfig(contact_host=config.advertise))
        self._transport = SipTransport(self._endpoint, config.listen, self._received)
        self._answers: dict[str, asyncio.TimerHandle] = {}
        recorder.hang_up = self.hang_up

    @property
    def addresses(self) -> list[str]:
        """Where we listen, as `udp://HOST:PORT`."""
        return self._transport.addresses

    @property
    def idle(self) -> bool:
        """Nothing is open and nothing is owed."""
        return self._endpoint.is_idle

    async def start(self) -> None:
        """Open the listeners. Raises OSError."""
        await self._transport.start()

    async def stop(self) -> None:
        """Close them."""
        await self._transport.stop()

    def hang_up(self, dialog_id: str, reason: str = "") -> None:
        """Send a BYE. `reason`: value of its Reason header (RFC 3326), or empty."""
        self._endpoint.hang_up(dialog_id, self._now(), reason=reason)
        self._transport.flush()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _received(self, event: Event) -> None:
        try:
            self._dispatch(event)
        except Exception:
            logger.exception("sip_event_failed", sip_event=type(event).__name__)
            if transaction := getattr(event, "transaction", ""):
                self._endpoint.respond(transaction, 500, self._now())

    def _dispatch(self, event: Event) -> None:
        match event:
            case InviteReceived(initial=True):
                self._or_refuse(event, self._invite)
            case InviteReceived() | UpdateReceived():
                self._or_refuse(event, self._modify)
            case AckReceived(dialog_id=dialog_id):
                self._recorder.confirm(dialog_id)
            case ByeReceived():
                self._bye(event)
            case OptionsReceived():
                self._options(event)
            case Cancelled(dialog_id=dialog_id):
                self._gone(dialog_id, "cancelled")
            case DialogEnded(dialog_id=dialog_id, reason=reason):
                self._gone(dialog_id, reason)

    def _invite(self, event: InviteReceived) -> None:
        answer = self._recorder.begin(self._offer(event))
        within_s = self._recorder.answer_within_s(event.dialog_id)
        delay_s = self._config.answer_delay_ms / 1000
        if within_s is not None:
            # Half of what is left: a timer that fires late shall not cost the call.
            delay_s = min(delay_s, max(0.0, (event.at + within_s - self._now()) / 2))
        if not delay_s:
            self._accept_in_time(event, answer, within_s)
            return
        self._endpoint.respond(event.transaction, 100, self._now())
        self._answers[event.dialog_id] = asyncio.get_running_loop().call_later(
            delay_s, self._accept_late, event, answer, within_s
        )

    def _offer(self, event: Offering) -> Offer:
        return offers.read(
            event.request,
            event.dialog_id,
            event.flow.local[0],
            datetime.now(UTC),
            peer=event.flow.remote[0],
            transport=event.flow.transport,
            local_port=event.flow.local[1],
            ucid_header=self._config.ucid_header,
        )

    def _accept_late(
        self, event: InviteReceived, answer: SessionDescription, within_s: float | None
    ) -> None:
        del self._answers[event.dialog_id]
        self._accept_in_time(event, answer, within_s)
        self._transport.flush()

    def _accept_in_time(
        self, event: InviteReceived, answer: SessionDescription, within_s: float | None
    ) -> None:
        """Accept an INVITE, unless more time went by since it was read than was agreed."""
        waited_s = self._now() - event.at
        if within_s is None or waited_s <= within_s:
            self._accept(event.transaction, answer)
            return
        logger.error(
            "answer_too_late",
            alarm=True,
            call_id=event.request.call_id,
            waited_ms=round(waited_s * 1000),
            within_ms=round(within_s * 1000),
        )
        self._recorder.end(event.dialog_id, "answer_too_late")
        self._endpoint.respond(event.transaction, 503, self._now())

    def _accept(self, transaction: str, answer: SessionDescription | None) -> None:
        body = answer.encode() if answer else b""
        self._endpoint.respond(transaction, 200, self._now(), body=body, content_type=SDP)

    def _modify(self, event: InviteReceived | UpdateReceived) -> None:
        offer = self._offer(event)
        answer = self._recorder.update(offer)
        # An INVITE without an offer asks for ours (RFC 3261 14.2); an UPDATE without one does not.
        silent = isinstance(event, UpdateReceived) and offer.sdp is None
        self._accept(event.transaction, None if silent else answer)

    def _bye(self, event: ByeReceived) -> None:
        self._withdraw_answer(event.dialog_id)
        self._endpoint.respond(event.transaction, 200, self._now())
        last = offers.read_last(event.request, event.dialog_id, datetime.now(UTC))
        self._recorder.end(event.dialog_id, "bye", last)

    def _options(self, event: OptionsReceived) -> None:
        """Answered as an INVITE would be (RFC 3261 11.2)."""
        if self._recorder.accepting:
            self._endpoint.respond(event.transaction, 200, self._now())
        else:
            retry_after = [("Retry-After", str(streams.RETRY_AFTER_S))]
            self._endpoint.respond(event.transaction, 503, self._now(), headers=retry_after)

    def _gone(self, dialog_id: str, reason: str) -> None:
        self._withdraw_answer(dialog_id)
        self._recorder.end(dialog_id, reason)

    def _withdraw_answer(self, dialog_id: str) -> None:
        if answer := self._answers.pop(dialog_id, None):
            answer.cancel()

    def _or_refuse(self, event: Offering, take: Callable[[Any], None]) -> None:
        try:
            take(event)
        except Refused as refusal:
            self._refuse(event, refusal)

    def _refuse(self, event: Offering, refusal: Refused) -> None:
        headers = []
        if refusal.warning:
            headers.append(("Warning", refusal.warning))
        if refusal.retry_after_s:
            headers.append(("Retry-After", str(refusal.retry_after_s)))
        self._endpoint.respond(event.transaction, refusal.status, self._now(), headers=headers)
        logger.warning(
            "refused",
            call_id=event.request.call_id,
            method=event.request.method,
            status=refusal.status,
            reason=str(refusal),
            peer=event.flow.remote[0],
        )

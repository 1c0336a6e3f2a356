"""Events and screens: what other machines tell FACE, from known hosts without a token."""

from ipaddress import ip_address

import structlog

from api.dialect import Context
from api.oracle_face import codes, wire
from api.oracle_face.asking import Ask
from api.oracle_face.codes import Refusal, missing
from api.oracle_face.wire import Tree
from siprec.dispatcher import TooManyEvents, UnknownEvent
from siprec.logbook import Changes
from siprec.screen import NoScreenRecorder, ScreenRefused
from siprec.session import Actor, LiveSession, RecorderError
from storage.entries import SYSTEM_ACCOUNT, ScreenAgent
from storage.records import StorageError

logger = structlog.get_logger(__name__)


class Capture:
    """What the commands about events and screens do."""

    def __init__(self, context: Context) -> None:
        self._services = context.services

    async def notify(self, ask: Ask) -> Tree:
        """Have the policies of an event act; it is answered before they do."""
        if not (event := ask.parameters.get("event", "")):
            raise missing("event")
        ask.need("control")
        called = [aor.strip() for aor in ask.parameters.get("calledAors", "").split(",")]
        aors = tuple(filter(None, called)) or None
        ucid = ask.parameters.get("ucid", "")
        try:
            await self._services.dispatcher.raise_event(
                event, ucid, aors, ask.actor.account, ask.actor.routes
            )
        except UnknownEvent:
            raise Refusal(codes.FAILURE, f"Unknown event type {event}") from None
        except TooManyEvents:
            raise Refusal(codes.FAILURE) from None
        return wire.response(0, codes.SUCCESS)

    async def start_screen(self, ask: Ask) -> Tree:
        """Have the screen of an agent recorded for a call that is in progress."""
        if not (isr_id := ask.parameters.get("IsrId", "")):
            raise missing("IsrId")
        agent_id, screen_ip = self._screen(ask)
        live = self._live(ask, isr_id)
        recording_id = live.recording.id if live.recording else ""  # it may end meanwhile
        try:
            session_id = await self._services.screens.start(isr_id, agent_id, screen_ip)
        except NoScreenRecorder:
            raise Refusal(codes.NOT_LICENSED) from None
        except ScreenRefused as error:
            logger.warning("screen_refused", call_id=live.call_id, error=str(error))
            raise Refusal(codes.FAILURE) from None
        if recording_id:
            await self._correlate(ask, live, recording_id, session_id)
        return wire.response(0, codes.ACK)

    async def stop_screen(self, ask: Ask) -> Tree:
        """End the recording of an agent's screen."""
        agent_id, screen_ip = self._screen(ask)
        try:
            await self._services.screens.stop(agent_id, screen_ip)
        except NoScreenRecorder:
            raise Refusal(codes.NOT_LICENSED) from None
        except ScreenRefused as error:
            logger.warning("screen_refused", error=str(error))
            raise Refusal(codes.FAILURE) from None
        return wire.response(0, codes.ACK)

    def _screen(self, ask: Ask) -> tuple[str, str]:
        """Agent and address; the guide spells the latter in two ways. Raises Refusal."""
        agent_id = ask.parameters.get("AgentId", "")
        screen_ip = ask.parameters.get("ScreenIP", "") or ask.parameters.get("ScreenIp", "")
        if not (agent_id or screen_ip):
            raise missing("AgentId or ScreenIP")
        ask.need("control")
        agents = self._services.directory.entries.screen_agents
        named = [agents[agent_id]] if agent_id in agents else []
        there = [each for each in agents.values() if _address(each.address) == _address(screen_ip)]
        for known in (named, there):
            if known and not any(_is_reached(ask.actor, each) for each in known):
                raise Refusal(codes.FAILURE)
        return agent_id, screen_ip

    def _live(self, ask: Ask, isr_id: str) -> LiveSession:
        """The call of this UCID or Call-ID, the newest of several. Raises Refusal."""
        for live in self._services.recorder.sessions(ask.actor):
            if isr_id in {live.identity.ucid, live.call_id}:
                return live
        raise Refusal(codes.NO_UCID)

    async def _correlate(
        self, ask: Ask, live: LiveSession, recording_id: str, session_id: str
    ) -> None:
        """Have the recording found by the screen recorder's session id."""
        changes = Changes(third_party_id=session_id)
        try:
            await self._services.library.update(recording_id, changes, ask.actor)
        except (RecorderError, StorageError) as error:
            logger.error("screen_not_correlated", call_id=live.call_id, error=str(error))


def _address(text: str) -> str:
    """An IP address in the one form that all its forms have."""
    try:
        address = ip_address(text)
    except ValueError:
        return text
    return str(getattr(address, "ipv4_mapped", None) or address)


def _is_reached(actor: Actor, agent: ScreenAgent) -> bool:
    """Whether `actor` may have the screen recorded that is registered for an agent."""
    return agent.account == SYSTEM_ACCOUNT or actor.sees(agent.account)

"""Screens: tells a screen recorder to record what an agent sees during a call.

The recorder of screens is another product; a `ScreenDriver` speaks its language. Who asks are
policies (`siprec.dispatcher`) and dialects. Requests go through `siprec.outbound`.
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakValueDictionary

import msgspec

from config.schema import Screen
from siprec.outbound import Answer, Outbound, Undeliverable
from siprec.placeholders import BRACES, UnusableUrl, fill_url, ip_address
from siprec.session import RecorderError
from storage.directory import Directory

CAPACITY = 10_000
"""Screens whose last recording is remembered; a screen that is forgotten can still be stopped."""
SESSION_ID_LIMIT = 255


class NoScreenRecorder(RecorderError):
    """There is no screen recorder: `[screen] start_url` is empty."""


class ScreenRefused(RecorderError):
    """The screen is not known, or its recorder did not do what it was asked; the text says why."""


class ScreenDriver(Protocol):
    """What a screen recorder can be asked. Both raise ScreenRefused."""

    async def start(self, ip: str, isr_id: str) -> str:
        """Record the screen at address `ip` for the call `isr_id`; returns the session id."""

    async def stop(self, ip: str, isr_id: str) -> None:
        """End the recording of the screen at `ip`; `isr_id` is empty if it is not known."""


class HttpTemplateDriver:
    """A screen recorder that is told by one HTTP request each."""

    def __init__(self, config: Screen, outbound: Outbound) -> None:
        self._config = config
        self._outbound = outbound

    async def start(self, ip: str, isr_id: str) -> str:
        """See `ScreenDriver.start`."""
        answer = await self._send(self._config.start_url, ip, isr_id)
        return _session_id(answer.body, self._config.session_id)

    async def stop(self, ip: str, isr_id: str) -> None:
        """See `ScreenDriver.stop`."""
        await self._send(self._config.stop_url, ip, isr_id)

    async def _send(self, template: str, ip: str, isr_id: str) -> Answer:
        values = {"ip": ip, "isr_id": isr_id}
        try:
            url = fill_url(template, BRACES, lambda name: values.get(name, ""))
            answer = await self._outbound.send(self._config.method, url, {}, b"")
        except (UnusableUrl, Undeliverable) as error:
            raise ScreenRefused(f"the screen recorder cannot be asked: {error}") from error
        if not 200 <= answer.status < 300:
            raise ScreenRefused(f"the screen recorder answered {answer.status}")
        return answer


def _session_id(body: bytes, place: str) -> str:
    """The session id in an answer; `place` as in `config.schema.Screen.session_id`."""
    try:
        found = _at(msgspec.json.decode(body), place) if place else body.decode().strip()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = None
    text = str(found) if isinstance(found, str | int) else ""
    if not 0 < len(text) <= SESSION_ID_LIMIT or not text.isprintable():
        raise ScreenRefused("the screen recorder named no session")
    return text


def _at(value: Any, place: str) -> Any:
    """What stands at `$.name.name` in a JSON value; None if nothing does."""
    for name in place.removeprefix("$").split(".")[1:]:
        value = value.get(name) if isinstance(value, dict) else None
    return value


@dataclass(frozen=True, slots=True)
class _Capture:
    """The last recording of a screen."""

    isr_id: str
    session_id: str


class Screens:
    """The screens of all agents; commands to one screen are given in the order they came."""

    def __init__(self, driver: ScreenDriver | None, directory: Directory) -> None:
        self._driver = driver
        self._directory = directory
        self._captures: OrderedDict[str, _Capture] = OrderedDict()
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def start(self, isr_id: str, agent_id: str = "", screen_ip: str = "") -> str:
        """Record a screen for the call `isr_id`; returns the screen recorder's session id.

        The screen is `screen_ip`, or else the one registered for `agent_id`. Raises
        NoScreenRecorder, ScreenRefused.
        """
        driver, ip = self._there(), self._address(agent_id, screen_ip)
        async with self._turn(ip):
            session_id = await driver.start(ip, isr_id)
            self._captures[ip] = _Capture(isr_id, session_id)
            self._captures.move_to_end(ip)
            if len(self._captures) > CAPACITY:
                self._captures.popitem(last=False)
        return session_id

    async def stop(self, agent_id: str = "", screen_ip: str = "", isr_id: str = "") -> str:
        """End the recording of a screen; returns its session id, empty if it is not known.

        With `isr_id` only that call's: the agent may have taken the next call by now. Raises
        NoScreenRecorder, ScreenRefused.
        """
        driver, ip = self._there(), self._address(agent_id, screen_ip)
        async with self._turn(ip):
            capture = self._captures.get(ip, _Capture(isr_id, ""))
            if isr_id and capture.isr_id != isr_id:
                raise ScreenRefused(f"screen {ip} is being recorded for another call")
            await driver.stop(ip, capture.isr_id)
            self._captures.pop(ip, None)
        return capture.session_id

    def _there(self) -> ScreenDriver:
        if self._driver is None:
            raise NoScreenRecorder("there is no screen recorder: [screen] start_url is empty")
        return self._driver

    def _address(self, agent_id: str, screen_ip: str) -> str:
        agent = self._directory.entries.screen_agents.get(agent_id)
        stated = screen_ip or (agent.address if agent else "")
        if not stated:
            raise ScreenRefused("no screen is registered for this agent")
        if not (ip := ip_address(stated)):
            raise ScreenRefused("the address of the screen is not an IP address")
        return ip

    def _turn(self, ip: str) -> asyncio.Lock:
        """Held by who speaks of this screen; gone when nobody does."""
        return self._turns.setdefault(ip, asyncio.Lock())

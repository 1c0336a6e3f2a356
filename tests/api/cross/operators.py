"""Those who give commands, each through an interface of their own, and see what it shows.

What is particular to an interface is here; who uses an `Operator` need not know which it is.
"""

import base64
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol
from urllib.parse import urlencode

from api.anywherenow.ucc import correlation_id
from api.imagicle.wire import guid
from siprec.session import GOALS, TRANSITIONS, Action, LiveSession, State
from tests.api.cross.desk import PASSWORD, SHOP, Desk, Said

ANY = frozenset(State)
CLOSED = frozenset({State.IDLE, State.STOPPED})
OPEN = frozenset({State.RECORDING, State.PAUSED})
MEDIA = frozenset({Action.START, Action.PAUSE, Action.RESUME, Action.STOP})
PUSHED = {
    Action.START: [1],
    Action.RESUME: [1],
    Action.STOP: [2],
    Action.PAUSE: [3],
    Action.SPLIT: [],
    Action.SAVE: [4],
    Action.DISCARD: [5],
    Action.MARK: [6],
    Action.UNMARK: [7],
}
"""What the hub says of a command."""
NOTICED = {
    Action.START: ["STARTED"],
    Action.RESUME: ["RESUMED"],
    Action.STOP: ["ENDED"],
    Action.PAUSE: ["PAUSED"],
    Action.SPLIT: ["ENDED", "STARTED"],
}
"""What notifications say of it."""
FLAGS = frozenset({Action.MARK, Action.UNMARK, Action.SAVE, Action.DISCARD})


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a command was answered."""

    done: bool
    states: frozenset[State] = ANY
    """The call was in one of these, as far as a refusal tells."""
    tag: str = ""
    """The reason in the history that only this command has, if it did something."""
    is_busy: bool = False
    """Refused, in whatever state, because another start through the interface was going on."""


DONE = Outcome(True)
BUSY = Outcome(False, is_busy=True)


@dataclass(frozen=True, slots=True)
class Effect:
    """What a command must come to in a state."""

    done: bool
    action: Action | None = None
    """What it does to the call; None: nothing."""


class Operator(Protocol):
    """Somebody who gives commands."""

    @property
    def actor(self) -> str:
        """As whom they are in the history."""

    @property
    def actions(self) -> frozenset[Action]:
        """What the interface lets one ask."""

    def effect(self, state: State, action: Action) -> Effect:
        """What it comes to in this state."""

    async def give(self, live: LiveSession, action: Action) -> Outcome:
        """Give a command. Raises AssertionError for an answer that no state of a call explains."""

    async def sees(self, live: LiveSession, state: State) -> None:
        """Raises AssertionError unless the interface shows the call in this state."""


def strict(state: State, action: Action) -> Effect:
    """What is possible is done, all else refused."""
    return Effect(True, action) if (state, action) in TRANSITIONS else Effect(False)


class Native:
    """Uses the native interface, with one of two keys."""

    actions = frozenset(Action)

    def __init__(self, desk: Desk, number: int = 1) -> None:
        self._desk = desk
        self._number = number
        self._tags = count(1)
        self.actor = f"key {number}"

    def effect(self, state: State, action: Action) -> Effect:
        """Being there already is success."""
        return Effect(True) if GOALS.get(action) is state else strict(state, action)

    async def give(self, live: LiveSession, action: Action) -> Outcome:
        """POST."""
        tag = str(next(self._tags))
        path = f"sessions/{live.id}/{action}"
        said = await self._desk.native("POST", path, {"reason": tag}, self._number)
        if said.status == 200:
            return Outcome(True, tag=tag)
        assert said.status == 409, said
        return Outcome(False, frozenset({State(said.json["state"])}))

    async def sees(self, live: LiveSession, state: State) -> None:
        """The session, and whether it has a recording."""
        shown = (await self._desk.native("GET", f"sessions/{live.id}")).json
        assert shown["state"] == state, shown
        assert (shown["recording_id"] is not None) is (state in OPEN), shown
        assert (shown["marking"], shown["saving"]) == (live.marking, live.saving)


NOT_RECORDED = "Recording is started by another session or not started, cannot {} recording."
TEXTS: Mapping[str, frozenset[State]] = {
    "Recording has already started on this channel.": OPEN,
    "Recording has already been paused, cannot pause recording.": frozenset({State.PAUSED}),
    "Recording is not paused, cannot unpause recording.": frozenset({State.RECORDING}),
    **{NOT_RECORDED.format(each): CLOSED for each in ("pause", "unpause", "end")},
}
REFUSED: Mapping[State, Mapping[Action, int]] = {
    State.IDLE: {Action.PAUSE: 12, Action.RESUME: 12, Action.STOP: 13},
    State.RECORDING: {Action.START: 12, Action.RESUME: 12},
    State.PAUSED: {Action.START: 12, Action.PAUSE: 12},
    State.STOPPED: {Action.PAUSE: 12, Action.RESUME: 12, Action.STOP: 13},
}
"""What FACE refuses, with which code."""


class Face:
    """Uses FACE, which shows the state of a call only by what it refuses."""

    actions = MEDIA

    def __init__(self, desk: Desk, number: int = 1) -> None:
        self._desk = desk
        self.actor = f"face-{number}@shop.example"

    def effect(self, state: State, action: Action) -> Effect:
        """No command is given twice."""
        return strict(state, action)

    async def ask(
        self,
        method: str,
        command: str,
        body: Mapping[str, str] | None = None,
        /,
        **parameters: object,
    ) -> Any:
        """What is answered to a command about recordings."""
        query = urlencode({"token": await self._desk.token(self.actor), **parameters})
        form = urlencode(body).encode() if body else None
        kind = {"Content_Type": "application/x-www-form-urlencoded"} if body else {}
        path = f"/Face/audioRecording/{command}?{query}"
        said = await self._desk.ask(method, path, form, Accept="application/json", **kind)
        assert said.status == 200, said
        return said.json["result"]

    async def give(self, live: LiveSession, action: Action, **more: object) -> Outcome:
        """POST, for the call with this Call-ID."""
        said = await self.ask("POST", action, ingressCallId=live.call_id, **more)
        if said["code"] == 0:
            return DONE
        assert said["code"] == (13 if action is Action.STOP else 12), said
        return Outcome(False, TEXTS[said["message"]])

    async def sees(self, live: LiveSession, state: State) -> None:
        """It refuses what it must in this state, as it must."""
        for action, code in REFUSED[state].items():
            said = await self.ask("POST", action, ingressCallId=live.call_id)
            assert said["code"] == code, (state, action, said)
            assert state in TEXTS[said["message"]], (state, action, said)
        if state in OPEN:
            shown = await self.ask("GET", "details", ingressCallId=live.call_id, maxListLength=1)
            match = shown.get("recording") or shown["matches"][0]["match"]
            assert match["tmpRecordingId"] > 0, shown


NUMBERS = {State.IDLE: 0, State.RECORDING: 1, State.STOPPED: 2, State.PAUSED: 3}
NAMES = dict(zip(("Uninitialized", "Started", "Stopped", "Paused"), NUMBERS, strict=True))
MARKINGS, SAVINGS = ("", "mark", "unmark"), ("", "save", "discard")
VERBS = {
    Action.START: "Start",
    Action.STOP: "Stop",
    Action.PAUSE: "Pause",
    Action.SAVE: "Save",
    Action.DISCARD: "Delete",
    Action.MARK: "Mark",
    Action.UNMARK: "UnMark",
}


class AnywhereNow:
    """An agent who uses AnywhereNow, where a start ends a pause, too."""

    actions = frozenset(VERBS)

    def __init__(self, desk: Desk, number: int = 1) -> None:
        self._desk = desk
        self.actor = f"agent-{number}@shop.example"

    def effect(self, state: State, action: Action) -> Effect:
        """A start of what is paused resumes it."""
        is_paused = (state, action) == (State.PAUSED, Action.START)
        return strict(state, Action.RESUME if is_paused else action)

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """What is answered."""
        authorization = f"Bearer {await self._desk.token('client@shop.example')}"
        data = json.dumps(body).encode() if body else None
        kind = {"Content_Type": "application/json"} if body else {}
        path = f"/attendantservice/api/recording/{path}"
        said = await self._desk.ask(method, path, data, Authorization=authorization, **kind)
        assert said.status == 200, said
        return said.json

    async def give(self, live: LiveSession, action: Action) -> Outcome:
        """POST an order."""
        order = {
            "Action": VERBS[action],
            "RequesterSipUri": f"sip:{self.actor}",
            "CorrelationId": correlation_id(live.id),
            "UCCName": SHOP,
        }
        error = (await self.ask("POST", "set", order))["ErrorMessage"]
        if error is None:
            return DONE
        text = rf"Action:'{VERBS[action]}' is not allowed in recording state:'(\w+)'\."
        told = re.fullmatch(text, error["Message"])
        assert told and error["ErrorType"] == 2, error
        return Outcome(False, frozenset({NAMES[told[1]]}))

    async def sees(self, live: LiveSession, state: State) -> None:
        """The three numbers of the state."""
        shown = await self.ask("GET", f"{SHOP}/{correlation_id(live.id)}")
        assert shown["ErrorMessage"] is None, shown
        assert shown["RecordingState"] == NUMBERS[state], (state, shown)
        assert shown["MarkingState"] == MARKINGS.index(live.marking), shown
        assert shown["SavingState"] == SAVINGS.index(live.saving), shown


WEB = "/fw/Apps/Recorder/WebAPI"


class Imagicle:
    """Uses Imagicle's interface, and names calls by their lines."""

    actions = MEDIA

    def __init__(self, desk: Desk, number: int = 1) -> None:
        self._desk = desk
        self.actor = f"boss-{number}@shop.example"

    def effect(self, state: State, action: Action) -> Effect:
        """No command is given twice."""
        return strict(state, action)

    async def ask(self, method: str, path: str, body: Any = None, who: str = "") -> Said:
        """What is answered to a user with password."""
        who = who or self.actor
        await self._desk.token(who)
        credentials = base64.b64encode(f"{who}:{PASSWORD}".encode()).decode()
        data = json.dumps(body).encode() if body else None
        return await self._desk.ask(
            method, f"{WEB}/{path}", data, Authorization=f"Basic {credentials}"
        )

    async def give(self, live: LiveSession, action: Action) -> Outcome:
        """POST, DELETE or PUT."""
        if action is Action.START:
            said = await self.ask("POST", "LiveRecordings", {"directoryNumber": _line(live)})
            if said.status == 201:
                return DONE
            assert said.status == 429, said
            return {0: BUSY, 1: Outcome(False, OPEN)}[said.json["reason"]]
        said = await self._switch(live, action)
        if said.status == 204:
            return DONE
        if said.status == 409:
            return Outcome(False, CLOSED)
        assert said.status == 429, said
        return Outcome(False, frozenset({GOALS[action]}))

    async def _switch(self, live: LiveSession, action: Action) -> Said:
        query = urlencode({"directoryNumber": _line(live)})
        if action is Action.STOP:
            return await self.ask("DELETE", f"LiveRecordings?{query}")
        return await self.ask("PUT", f"LiveRecordings/{action.title()}?{query}")

    async def sees(self, live: LiveSession, state: State) -> None:
        """What is recorded, and whether it is paused; what is refused besides."""
        query = urlencode({"directoryNumber": _line(live)})
        shown = (await self.ask("GET", f"LiveRecordings?{query}")).json
        assert [each["isPaused"] for each in shown] == (
            [state is State.PAUSED] if state in OPEN else []
        ), (state, shown)
        action = Action.START if state in OPEN else Action.STOP
        refused = await Imagicle.give(self, live, action)
        assert not refused.done and state in refused.states, (state, refused)


class ImagicleById(Imagicle):
    """The same, but names recordings by their ids."""

    def __init__(self, desk: Desk, number: int = 1) -> None:
        super().__init__(desk, number)
        self._known: dict[str, str] = {}

    async def _switch(self, live: LiveSession, action: Action) -> Said:
        query = urlencode({"directoryNumber": _line(live)})
        for each in (await self.ask("GET", f"LiveRecordings?{query}")).json:
            self._known[live.id] = each["id"]
        id_ = self._known.get(live.id, guid(live.id))  # a GUID of nothing that is recorded
        if action is Action.STOP:
            return await self.ask("DELETE", f"LiveRecordings/{id_}")
        return await self.ask("PUT", f"LiveRecordings/{id_}/{action.title()}")


def _line(live: LiveSession) -> str:
    return live.identity.dnis


def everybody(desk: Desk, numbers: Iterable[int] = (1,)) -> list[Operator]:
    """Of each interface one, or one for each of `numbers`."""
    kinds = (Native, Face, AnywhereNow, Imagicle)
    return [kind(desk, number) for number in numbers for kind in kinds]

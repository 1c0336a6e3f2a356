"""What is done to calls that go on: recordings of them are started, paused, stopped and listed."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from http import HTTPStatus

from aiohttp import web

from api.dialect import Context
from api.imagicle import asking, lines, wire
from api.imagicle.asking import COMPLETE_MANAGEMENT, Ask, Refusal, refused
from api.imagicle.lines import Line
from siprec.session import (
    Action,
    Actor,
    ChannelsInUse,
    InvalidTransition,
    LiveSession,
    NotRecordable,
    RecorderError,
    Terms,
    UnknownSession,
)
from storage.directory import Entries
from storage.records import Recording

BARRED = {"direction": 2, "traffic": 3, "remote party": 4}
"""What of a call its route bars -> reason."""
STRICT = Terms(is_strict=True)
GONE = (UnknownSession, InvalidTransition)
"""What the core says of a command that somebody else's has overtaken."""


class Live:
    """What the requests about live recordings do."""

    def __init__(self, context: Context) -> None:
        self._recorder = context.services.recorder
        self._library = context.services.library
        self._directory = context.services.directory
        self._has_own_line = context.config.imagicle.start_own_line
        self._starting: set[str] = set()
        """Sessions whose start is being carried out."""

    @property
    def _entries(self) -> Entries:
        return self._directory.entries

    # start

    async def start(self, ask: Ask) -> web.Response:
        """Record a call on a line from now on; 201 with the recording's id."""
        if not (_may_control(ask) or self._has_own_line):
            raise refused(HTTPStatus.FORBIDDEN, 0)
        tree = await ask.tree()
        line = _line(tree)
        live = self._on_line(ask, line, tree) if line.is_named else self._on_own_line(ask, tree)
        self._check(live)
        return await self._start(live, ask.actor)

    def _on_line(self, ask: Ask, line: Line, tree: dict[str, object]) -> LiveSession:
        """The call on a line that somebody named. Raises Refusal."""
        if not _may_control(ask):
            raise refused(HTTPStatus.FORBIDDEN, 0)
        mode = _mode(tree)
        calls = self._calls(ask.actor)
        if not lines.is_known(line, (row for _, row in calls), self._entries, ask.actor):
            raise refused(HTTPStatus.BAD_REQUEST, 1, deviceName=line.device or None)
        if mode:
            raise refused(HTTPStatus.NOT_IMPLEMENTED, 1)
        return self._chosen(live for live, row in calls if lines.is_on(row, line, self._entries))

    def _on_own_line(self, ask: Ask, tree: dict[str, object]) -> LiveSession:
        """The call on the user's own line, where that may go without saying. Raises Refusal."""
        if not self._has_own_line:
            raise refused(HTTPStatus.BAD_REQUEST, 0)
        if not ask.may("control") or ask.level < asking.BASE_ACCESS:
            raise refused(HTTPStatus.FORBIDDEN, 0)
        mode = _mode(tree)
        if not ask.user.lines:
            raise refused(HTTPStatus.BAD_REQUEST, 3)
        if mode:
            raise refused(HTTPStatus.NOT_IMPLEMENTED, 1)
        return self._chosen(self._own(ask))

    def _chosen(self, calls: Iterator[LiveSession]) -> LiveSession:
        """The newest of the calls that is not recorded, else the newest. Raises Refusal."""
        found = [*calls]
        if not found:
            raise refused(HTTPStatus.CONFLICT, 1)
        idle = (live for live in found if not live.recording)
        return next(idle, found[0])

    def _check(self, live: LiveSession) -> None:
        """Raises Refusal for a call that nobody may start recording."""
        owner = self._entries.users.get(live.sides.owner)
        if owner is None:
            raise refused(HTTPStatus.CONFLICT, 0, extension=live.sides.local or None)
        if live.decision.record == "always":
            raise refused(HTTPStatus.BAD_REQUEST, 4)
        may = owner.permissions is None or "control" in owner.permissions
        if not (owner.enabled and may):
            raise self._not_recordable(live)

    def _not_recordable(self, live: LiveSession) -> Refusal:
        name = wire.username(self._entries, live.sides.owner)
        return refused(HTTPStatus.FORBIDDEN, 1, username=name)

    async def _start(self, live: LiveSession, actor: Actor) -> web.Response:
        if live.id in self._starting:
            raise refused(HTTPStatus.TOO_MANY_REQUESTS, 0)
        segment = live.segments + 1
        with self._being_started(live.id):
            try:
                await self._recorder.control(live.id, Action.START, actor, STRICT)
            except RecorderError as error:
                raise self._start_refused(live, error) from None
        opened = live.recording
        if opened is None or opened.segment != segment:  # somebody stopped it meanwhile
            opened = await self._library.segment(live.id, segment)
        return asking.answer({"id": wire.guid(opened.id)}, HTTPStatus.CREATED)

    @contextmanager
    def _being_started(self, session_id: str) -> Iterator[None]:
        self._starting.add(session_id)
        try:
            yield
        finally:
            self._starting.discard(session_id)

    def _start_refused(self, live: LiveSession, error: RecorderError) -> Exception:
        match error:
            case NotRecordable(barred=barred) if barred:
                return refused(HTTPStatus.FORBIDDEN, BARRED[barred])
            case NotRecordable():
                return self._not_recordable(live)
            case InvalidTransition():
                return refused(HTTPStatus.TOO_MANY_REQUESTS, 1)
            case ChannelsInUse():
                return Refusal(HTTPStatus.SERVICE_UNAVAILABLE)
            case UnknownSession():
                return refused(HTTPStatus.CONFLICT, 1)
        return error

    # stop, pause, resume

    async def stop_one(self, ask: Ask) -> web.Response:
        """Stop the recording with an id."""
        _need_control(ask)
        return await self._stop([self._recorded(ask)], ask.actor)

    async def stop_line(self, ask: Ask) -> web.Response:
        """Stop all recordings on a line."""
        _need_control(ask)
        line = _line(ask.parameters)
        if not line.is_named:
            raise refused(HTTPStatus.BAD_REQUEST, 0)
        return await self._stop(self._recorded_on(line, ask.actor), ask.actor)

    async def stop_mine(self, ask: Ask) -> web.Response:
        """Stop all recordings on the user's own line."""
        if not ask.may("control") or ask.level < asking.BASE_ACCESS:
            raise Refusal(HTTPStatus.FORBIDDEN)
        if not ask.user.lines:
            raise refused(HTTPStatus.BAD_REQUEST, 3)
        return await self._stop([live for live in self._own(ask) if live.recording], ask.actor)

    async def pause_one(self, ask: Ask) -> web.Response:
        """Pause the recording with an id."""
        return await self._switch_one(ask, Action.PAUSE)

    async def resume_one(self, ask: Ask) -> web.Response:
        """Go on with the recording with an id."""
        return await self._switch_one(ask, Action.RESUME)

    async def pause_line(self, ask: Ask) -> web.Response:
        """Pause all recordings on a line."""
        return await self._switch_line(ask, Action.PAUSE)

    async def resume_line(self, ask: Ask) -> web.Response:
        """Go on with all recordings on a line."""
        return await self._switch_line(ask, Action.RESUME)

    async def _stop(self, calls: Sequence[LiveSession], actor: Actor) -> web.Response:
        """Nothing is done if a call is recorded from its beginning. Raises Refusal."""
        if any(live.decision.record == "always" for live in calls):
            raise refused(HTTPStatus.BAD_REQUEST, 2)
        return await self._all(calls, Action.STOP, actor, HTTPStatus.CONFLICT)

    async def _switch_one(self, ask: Ask, action: Action) -> web.Response:
        _need_control(ask)
        calls = [self._recorded(ask)]
        return await self._all(calls, action, ask.actor, HTTPStatus.TOO_MANY_REQUESTS)

    async def _switch_line(self, ask: Ask, action: Action) -> web.Response:
        _need_control(ask)
        number = ask.parameters.get("directorynumber", "")
        if not number:
            raise refused(HTTPStatus.BAD_REQUEST, 0)
        calls = self._recorded_on(Line(number=number), ask.actor)
        return await self._all(calls, action, ask.actor, HTTPStatus.TOO_MANY_REQUESTS)

    async def _all(
        self, calls: Sequence[LiveSession], action: Action, actor: Actor, late: HTTPStatus
    ) -> web.Response:
        """204 if it was done to one at least; `late`: if all of them were there already."""
        if not calls:
            raise Refusal(HTTPStatus.CONFLICT)
        done = 0
        for live in calls:
            try:
                await self._recorder.control(live.id, action, actor, STRICT)
                done += 1
            except GONE as error:
                gone = isinstance(error, UnknownSession)
                refusal = Refusal(HTTPStatus.CONFLICT if gone else late)
        if not done:
            raise refusal
        return asking.nothing()

    # list

    async def show(self, ask: Ask) -> web.Response:
        """The recordings that go on, and meet all filters; the oldest first."""
        if ask.level < COMPLETE_MANAGEMENT:
            raise Refusal(HTTPStatus.FORBIDDEN)
        entries, now = self._entries, datetime.now(UTC)
        wanted, line = ask.parameters, _line(ask.parameters)
        found = [
            row
            for live, row in self._calls(ask.actor)
            if live.recording and lines.is_on(row, line, entries) and _is_of(row, wanted, entries)
        ]
        found.sort(key=lambda row: row.started_at)
        return asking.answer([wire.live(row, entries, now) for row in found])

    # calls

    def _calls(self, actor: Actor) -> list[tuple[LiveSession, Recording]]:
        """The calls somebody may see, the newest first, and what their recordings say."""
        return [(live, self._recorder.outline(live)) for live in self._recorder.sessions(actor)]

    def _own(self, ask: Ask) -> Iterator[LiveSession]:
        email = ask.user.email.lower()
        calls = self._recorder.sessions(ask.actor)
        return (live for live in calls if live.sides.owner == email)

    def _recorded_on(self, line: Line, actor: Actor) -> list[LiveSession]:
        return [
            live
            for live, row in self._calls(actor)
            if live.recording and lines.is_on(row, line, self._entries)
        ]

    def _recorded(self, ask: Ask) -> LiveSession:
        """The call whose open recording has the id in the path. Raises Refusal."""
        recording_id = wire.recording_id(ask.named)
        if recording_id is None:
            raise refused(HTTPStatus.BAD_REQUEST, 0)
        row = self._recorder.open_recording(recording_id)
        try:
            return self._recorder.find(row.session_id if row else "", ask.actor)
        except UnknownSession:
            raise Refusal(HTTPStatus.CONFLICT) from None


def _may_control(ask: Ask) -> bool:
    return ask.level >= COMPLETE_MANAGEMENT and ask.may("control")


def _need_control(ask: Ask) -> None:
    if not _may_control(ask):
        raise Refusal(HTTPStatus.FORBIDDEN)


def _line(given: dict[str, object] | dict[str, str]) -> Line:
    """Raises Refusal for names that are no texts."""
    names = [given.get(name) or "" for name in ("devicename", "directorynumber")]
    for name in names:
        if not isinstance(name, str):
            raise refused(HTTPStatus.BAD_REQUEST, 0)
    device, number = map(str, names)
    return Line(device.strip(), number.strip())


def _mode(tree: dict[str, object]) -> int:
    """0: media come by SIPREC; 1: a call to a recording pilot. Raises Refusal."""
    match tree.get("mode"):
        case None:
            return 0
        case bool():
            raise refused(HTTPStatus.BAD_REQUEST, 2)
        case 0 | 1 as mode:
            return mode
    raise refused(HTTPStatus.BAD_REQUEST, 2)


def _is_of(row: Recording, wanted: dict[str, str], entries: Entries) -> bool:
    """Whether the owner has the user name and the number asked for."""
    owner = entries.users.get(row.owner)
    name, number = wanted.get("username", ""), wanted.get("numericuserid", "")
    names = {row.owner, owner.username.casefold() if owner else ""}
    return not (
        (name and name.casefold() not in names)
        or (number and number != (owner.numeric_id if owner else ""))
    )

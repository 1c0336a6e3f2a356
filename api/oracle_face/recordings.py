"""Recordings as FACE shows, changes and deletes them, live and stored ones alike.

In release 6.4 the recordings of one call are the segments of one recording; in 6.1 each stands for
itself. Counterparts: `api.oracle_face.control` for live calls, `api.oracle_face.media` for files.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from urllib.parse import quote

import structlog
from aiohttp import web

from api.dialect import Context
from api.oracle_face import codes, templates, updates, wire
from api.oracle_face.asking import Ask
from api.oracle_face.codes import Refusal
from api.oracle_face.criteria import Selection, names_for, parse
from api.oracle_face.numbers import TemporaryIds
from api.oracle_face.updates import Update
from api.oracle_face.wire import Shown, Tree
from siprec.logbook import directory_of
from siprec.session import Actor, ConversionTimeout, NotFinished
from storage.entries import ExportTemplate
from storage.records import NameTaken, OnHold, Recording, RecordingQuery, StorageError

MOST_SEGMENTS = 1000
NAMES_TRIED = 20
"""How often a recording is given a free name before somebody else has it."""


INFO_FOR_ANI = "Error retrieving file info for ANI {} DNIS {} at timestamp of {}"
"""What is said of details nobody can read if these were the criteria."""

logger = structlog.get_logger(__name__)


class Several(Exception):
    """More than one recording matches; `tree` lists them."""

    def __init__(self, tree: Tree) -> None:
        super().__init__(codes.ALL_MATCHES)
        self.tree = tree


class Recordings:
    """What the commands about recordings do."""

    def __init__(self, context: Context, ids: TemporaryIds) -> None:
        self._services = context.services
        self._config = context.config.face
        self._ids = ids

    # commands

    async def details(self, ask: Ask) -> Tree | web.Response:
        """Show the one recording that matches, in an export template if one is named."""
        selection = self.selection(ask)
        template = self._template(selection)
        try:
            rows = await self.one(ask, selection)
        except StorageError as error:
            raise _unread(error, selection) from error
        return (
            await self._exported(ask, rows, template) if template else await self.shown(ask, rows)
        )

    async def update(self, ask: Ask) -> Tree | web.Response:
        """Change what the body says of the one recording that matches; shows it as `details`."""
        ask.need("edit")
        if not ask.body:
            raise Refusal(codes.PARAMETER_MISSING)
        selection, update = self.selection(ask), self.wanted(ask)
        template = self._template(selection)
        rows = await self.one(ask, selection)
        if update.filename is not None:
            check_renaming(rows)
        names = [await self.change(ask.actor, row, update) for row in rows]
        newest = [await self._services.library.get(row.id, ask.actor) for row in rows]
        if template:
            return await self._exported(ask, newest, template)
        renamed_from = rows[0].filename if update.filename is not None else ""
        return await self.shown(ask, newest, done(update, names[0]), renamed_from)

    async def delete(self, ask: Ask) -> Tree:
        """Delete the one recording that matches, with its files."""
        ask.need("delete")
        selection = self.selection(replace(ask, command="audioRecording/delete"))
        if selection.is_empty:
            raise Refusal(codes.PARAMETER_MISSING)
        rows = await self.one(ask, selection)
        rows.sort(key=lambda row: not row.hold)  # what is refused, and written down, comes first
        try:
            for row in rows:
                await self._services.library.finished(row.id, ask.actor)
            for row in rows:
                await self._services.library.delete(row.id, ask.actor)
        except NotFinished:
            raise Refusal(codes.FAILURE, "Cannot delete a recording in progress") from None
        except ConversionTimeout:
            raise Refusal(codes.CONVERSION_TIMEOUT) from None
        except OnHold:
            raise Refusal(codes.FAILURE, "Cannot delete a recording that is on hold") from None
        return wire.result(0, codes.DONE.format("delete"))

    # which

    def selection(self, ask: Ask) -> Selection:
        """What the URL says. Raises Refusal."""
        names = names_for(self._services.directory.entries, ask.actor.account)
        return parse(ask.verb, ask.parameters, names)

    def wanted(self, ask: Ask) -> Update:
        """What the body says. Raises Refusal."""
        entries = self._services.directory.entries
        names = frozenset(entries.custom_fields), frozenset(entries.metadata_types)
        return updates.parse(ask.body, *names)

    async def one(
        self, ask: Ask, selection: Selection, *, has_ended: bool = False
    ) -> list[Recording]:
        """The recording that matches, as its segments; `has_ended`: live ones do not count.

        Raises Refusal, Several.
        """
        groups = self._grouped(ask, await self._matching(ask, selection, has_ended))
        if not groups:
            raise Refusal(codes.NO_UCID if selection.only_ids else codes.NO_RECORDING)
        if len(groups) > 1:
            matches = [wire.match(group[0], self._tmp_id(group[0])) for group in groups]
            raise Several(wire.matches(matches, selection.max_list_length))
        (group,) = groups
        if not self._has_segments(ask) or not group[0].session_id:
            return group
        whole = RecordingQuery(session_id=group[0].session_id, limit=MOST_SEGMENTS)
        rows = await self._numbered(await self._services.library.match(whole, ask.actor))
        return sorted(rows, key=lambda row: row.segment) or group

    async def _matching(self, ask: Ask, selection: Selection, has_ended: bool) -> list[Recording]:
        """Live ones first, then by number."""
        has_ended = has_ended or "recordingId" in selection.named
        recording_id = ""
        if selection.tmp_recording_id is not None:
            recording_id = self._ids.recording(selection.tmp_recording_id)
            if not self._services.recorder.open_recording(recording_id):
                return []

        def keep(row: Recording) -> bool:
            if recording_id and row.id != recording_id:
                return False
            if has_ended and row.status == "recording":
                return False
            return not selection.query.has_video or self.may_see_video(ask.actor, row)

        rows = await self._services.library.match(selection.query, ask.actor, keep)
        return sorted(await self._numbered(rows), key=self._place)

    async def _numbered(self, rows: Sequence[Recording]) -> list[Recording]:
        """What has ended has the id it keeps, also if it ended in this second."""
        booked = self._services.library.booked
        return [
            row if row.number or row.status == "recording" else await booked(row.id) for row in rows
        ]

    def _place(self, row: Recording) -> tuple[bool, int]:
        tmp_id = self._tmp_id(row)
        return not tmp_id, tmp_id or row.number

    def _grouped(self, ask: Ask, rows: Sequence[Recording]) -> list[list[Recording]]:
        if not self._has_segments(ask):
            return [[row] for row in rows]
        groups: dict[str, list[Recording]] = {}
        for row in rows:
            groups.setdefault(row.session_id or row.id, []).append(row)
        return [*groups.values()]

    def _has_segments(self, ask: Ask) -> bool:
        return self._config.release != "6.1" and not ask.verb.startswith("segment/")

    def may_see_video(self, actor: Actor, row: Recording) -> bool:
        """Whether user, account and route all let `actor` have the video of `row`."""
        entries = self._services.directory.entries
        account, route = entries.accounts.get(row.account), entries.routes.get(row.route)
        allowed = account is None or account.video_access
        if route and route.video_access is not None:
            allowed = allowed and route.video_access
        return allowed and "video" in actor.rights

    # how it is shown

    async def shown(
        self, ask: Ask, rows: Sequence[Recording], message: str = codes.ACK, renamed_from: str = ""
    ) -> Tree:
        """The answer that shows a recording; `renamed_from`: its name before this command."""
        each = [await self._shown(row, renamed_from) for row in rows]
        if ask.verb.startswith("segment/"):
            return wire.result(0, message, segment=wire.segment(each[0]))
        show = wire.conversation(each) if self._has_segments(ask) else wire.recording(each[0])
        return wire.result(0, message, recording=show)

    def _template(self, selection: Selection) -> ExportTemplate | None:
        """The export template that is asked for. Raises Refusal."""
        if selection.template is None:
            return None
        return templates.find(self._services.directory.entries.templates, *selection.template)

    async def _exported(
        self, ask: Ask, rows: Sequence[Recording], template: ExportTemplate
    ) -> web.Response:
        shown = await self._shown(rows[0])
        fields = templates.fields(shown, self._audio_url(ask, shown))
        body = templates.render(template, fields)
        return web.Response(body=body, headers={"Content-Type": template.media_type})

    async def _shown(self, row: Recording, renamed_from: str = "") -> Shown:
        wav = next((file for file in row.files if file.format == "wav"), None)
        is_missing = row.is_finished and wav is None
        if wav:
            exists = self._services.blobs.exists
            is_missing = not await asyncio.to_thread(exists, wav.key)
        is_renamed = bool(renamed_from)
        return Shown(row, self._tmp_id(row), is_missing, is_renamed, renamed_from)

    def _tmp_id(self, row: Recording) -> int:
        return self._ids.of(row.id) if row.status == "recording" else 0

    def _audio_url(self, ask: Ask, shown: Shown) -> str:
        request = ask.request
        base = self._config.recordings_url or f"{request.scheme}://{request.host}/Face/Recordings/"
        return base + place(shown.row)

    # change

    async def change(self, actor: Actor, row: Recording, update: Update) -> str:
        """Carry out an update; what the recording is called then. Raises what the core raises."""
        if update.is_empty:
            return row.filename
        library = self._services.library
        fields = self._services.directory.entries.custom_fields.values()
        known = {each.name for each in fields if not each.accounts or row.account in each.accounts}
        changes = update.changes(known)
        for _ in range(NAMES_TRIED):
            if update.filename is not None:
                name = await library.free_name(update.filename, row.started_at, row.id)
                changes = replace(changes, filename=name)
            with suppress(NameTaken):  # by whoever was quicker, after it was found to be free
                return (await library.update(row.id, changes, actor)).filename
        raise NameTaken(f"{update.filename} and names like it are taken")


def place(row: Recording) -> str:
    """Where a recording is below the place of all: folder, once it is stored, and name."""
    is_stored = any(file.format == "wav" for file in row.files)
    folder = directory_of(row).strip("/") if is_stored else ""
    return f"{folder}/{quote(row.filename, safe='@')}"


def done(update: Update, name: str) -> str:
    """What is said of an update that gave a recording this name."""
    if update.filename is None or name == update.asked_filename:
        return codes.ACK
    return codes.RENAMED.format(name)


def _unread(error: StorageError, selection: Selection) -> Exception:
    """What is said of a row of the catalogue that nobody can read; other errors as they are."""
    if type(error) is not StorageError:
        return error
    logger.error("recording_unreadable", error=str(error))
    criteria = selection.ani_dnis_start
    return Refusal(codes.NO_FILE, INFO_FOR_ANI.format(*criteria) if criteria else "")


def check_renaming(rows: Sequence[Recording]) -> None:
    """Raises Refusal if a recording cannot be given another name now."""
    if any(row.status == "recording" for row in rows):
        raise Refusal(codes.STILL_RECORDING)
    if any(row.is_to_go for row in rows):
        raise Refusal(codes.BEING_DELETED)
    if len(rows) > 1:
        raise Refusal(codes.FAILURE, "Cannot rename a recording of several segments")

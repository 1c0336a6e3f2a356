"""Recording platforms in the directory: what is added, changed and removed, and what may not be.

The functions are pure and are asked within the transaction that makes the change, about the entries
as they are then; so of two who make their platform the default at once, one does.
"""

from collections.abc import Mapping
from http import HTTPStatus

from msgspec import structs

from api.apio import codes, wire
from api.apio.asking import Ask
from api.apio.codes import Refusal
from api.apio.wire import Tree
from storage.directory import Directory, Entries
from storage.entries import Account, Entry, key_of, kind_of
from storage.platforms import RecordingPlatform, RecordingProperties

Edit = Mapping[tuple[str, str], Entry | None]
"""What is to become of which entry; None: it is removed."""


class Platforms:
    """Platforms and properties, as APIO's methods have them.

    Each answers the body of its response. Those that change something raise Refusal and
    StorageUnavailable; the others never wait.
    """

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    async def find(self, _: Ask) -> Tree:
        """All platforms."""
        return wire.platform_list(self._entries.platforms.values(), default(self._entries))

    async def get(self, ask: Ask) -> Tree:
        """One platform. Raises Refusal (404)."""
        if (platform := named(self._entries, ask.name)) is None:
            raise Refusal(HTTPStatus.NOT_FOUND, codes.NO_INSTANCE)
        return wire.platform(platform, default(self._entries))

    async def usage(self, ask: Ask) -> Tree:
        """The groups that use a platform. Raises Refusal."""
        return wire.usage(users(self._entries, _known(self._entries, ask.name)))

    async def properties(self, _: Ask) -> Tree:
        """What holds for all platforms."""
        return wire.properties(self._entries.properties)

    async def add(self, ask: Ask) -> Tree:
        """Add a platform."""
        platform = wire.new_platform(ask.body)
        await self._directory.edit(lambda entries: added(entries, platform))
        return await self.find(ask)

    async def change(self, ask: Ask) -> Tree:
        """Change what the body names of a platform."""
        wanted = wire.changes(ask.body)
        await self._directory.edit(lambda entries: changed(entries, ask.name, wanted))
        return await self.get(ask)

    async def delete(self, ask: Ask) -> Tree:
        """Remove a platform that nobody uses."""
        await self._directory.edit(lambda entries: deleted(entries, ask.name))
        return {}

    async def set_properties(self, ask: Ask) -> Tree:
        """Change what the body names of the properties."""
        wanted = wire.property_changes(ask.body)
        await self._directory.edit(lambda entries: _properties(entries, wanted))
        return await self.properties(ask)

    @property
    def _entries(self) -> Entries:
        return self._directory.entries


def default(entries: Entries) -> str | None:
    """Name of the system's default platform; None without one."""
    return entries.properties.default_platform


def named(entries: Entries, text: str) -> RecordingPlatform | None:
    """The platform of this name; or else the one that bears it with blanks for underscores."""
    found = entries.platforms.get(text)
    return found or entries.platforms.get(text.replace("_", " "))


def users(entries: Entries, platform: RecordingPlatform) -> list[Account]:
    """The accounts whose calls come over the platform, by number.

    An account that is a tenant's group and names no platform uses the default one.
    """
    names = {platform.name, None} if platform.name == default(entries) else {platform.name}
    return [
        account
        for account in entries.accounts.values()
        if account.platform in names and (account.platform or account.tenant)
    ]


def added(entries: Entries, platform: RecordingPlatform) -> Edit:
    """With `platform`, the default one if there is none yet. Raises Refusal."""
    if platform.name in entries.platforms:
        raise codes.invalid("name: there is a Call Recording platform of this name already")
    first = {} if default(entries) else _properties(entries, {"default_platform": platform.name})
    return {**_put(platform), **first}


def changed(entries: Entries, text: str, wanted: Tree) -> Edit:
    """With what is wanted of a platform; `default` true makes it the default one. Raises
    Refusal."""
    old = _known(entries, text)
    is_default = old.name == default(entries)
    if is_default and wanted.get("default") is False:
        raise codes.invalid("default: make another platform the default one instead")
    moved = (
        _properties(entries, {"default_platform": old.name})
        if wanted.get("default") and not is_default
        else {}
    )
    fields = {name: value for name, value in wanted.items() if name != "default"}
    return {**_put(structs.replace(old, **fields)), **moved}


def deleted(entries: Entries, text: str) -> Edit:
    """Without a platform. The default one goes last, and only unused. Raises Refusal."""
    old = _known(entries, text)
    is_used = bool(users(entries, old))
    if old.name != default(entries):
        if is_used:
            raise codes.not_deleted(codes.IN_USE)
        return {_key(old): None}
    if is_used or len(entries.platforms) > 1:
        raise codes.not_deleted(codes.IS_DEFAULT)
    return {_key(old): None, **_properties(entries, {"default_platform": None})}


def _known(entries: Entries, text: str) -> RecordingPlatform:
    if (platform := named(entries, text)) is None:
        raise codes.unknown_platform()
    return platform


def _properties(entries: Entries, wanted: Tree) -> Edit:
    new = structs.replace(entries.properties, **wanted)
    return {} if new == entries.properties else _put(new)


def _put(entry: RecordingPlatform | RecordingProperties) -> Edit:
    return {_key(entry): entry}


def _key(entry: Entry) -> tuple[str, str]:
    return kind_of(entry), key_of(entry)

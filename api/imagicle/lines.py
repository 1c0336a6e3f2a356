"""Which calls are on a line: by directory number, by the name of a device, or by both. Pure.

A number is on a call if it is a party's, a device if the recording client names it in extension
data `deviceName`, or if the directory gives it to a user who has one of those numbers.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from api.imagicle.wire import number_of
from siprec.session import Actor
from storage.directory import Entries
from storage.entries import User
from storage.records import Extension, Recording

DEVICE = "devicename"


@dataclass(frozen=True, slots=True)
class Line:
    """What somebody named; case does not count."""

    device: str = ""
    """Empty: any."""
    number: str = ""
    """Empty: any."""

    @property
    def is_named(self) -> bool:
        """There is a device or a number."""
        return bool(self.device or self.number)


def is_on(call: Recording, line: Line, entries: Entries) -> bool:
    """Whether a call, as its recording tells of it, is on this line: this device and number."""
    has_number = not line.number or _is_among(line.number, numbers(call))
    return has_number and (not line.device or _is_among(line.device, devices(call, entries)))


def is_known(line: Line, calls: Iterable[Recording], entries: Entries, actor: Actor) -> bool:
    """Whether device and number are anybody's in the directory, or on any of the calls."""
    users = [user for user in entries.users.values() if actor.sees(user.account)]
    every = [*calls]
    known_numbers = [*_all_lines(users), *(number for call in every for number in numbers(call))]
    known_devices = [
        *(device for user in users for device in user.devices),
        *(device for call in every for device in devices(call, entries)),
    ]
    has_number = not line.number or _is_among(line.number, known_numbers)
    return has_number and (not line.device or _is_among(line.device, known_devices))


def numbers(call: Recording) -> set[str]:
    """The directory numbers of a call."""
    parties = (number_of(party.aor) for party in call.participants)
    return {*filter(None, (call.local_party, call.ani, call.dnis, *parties))}


def devices(call: Recording, entries: Entries) -> Iterator[str]:
    """The devices of a call."""
    for extension in _extensions(call):
        if _bare(extension.name) == DEVICE:
            yield from extension.values
    for number in numbers(call):
        user = entries.lines.get((call.account, number))
        yield from user.devices if user else ()


def _all_lines(users: Iterable[User]) -> Iterator[str]:
    for user in users:
        yield from user.lines


def _extensions(call: Recording) -> Iterator[Extension]:
    for session in call.siprec_sessions:
        yield from session.extensions
    for party in call.participants:
        yield from party.extensions
    for stream in call.streams:
        yield from stream.extensions


def _bare(name: str) -> str:
    """A name of extension data without its prefix, as clients spell it differently."""
    return name.rpartition(":")[2].lower().replace("-", "").replace("_", "")


def _is_among(text: str, known: Iterable[str]) -> bool:
    wanted = text.casefold()
    return any(each.casefold() == wanted for each in known)

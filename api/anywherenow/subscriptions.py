"""What the readers of a hub hear of: the state of recording in the calls of some UCCs.

Of both hubs; how it is said is theirs. Nothing is heard before the first subscription, and what is
not for the actor does not exist.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from api.anywherenow import ucc, wire
from api.anywherenow.ucc import Ucc
from api.anywherenow.wire import Refusal
from siprec.feed import FeedEvent
from siprec.session import Actor
from storage.directory import Entries

STATE_ACTIONS: Mapping[str, int] = {
    "recording.started": 1,
    "recording.resumed": 1,
    "recording.stopped": 2,
    "recording.paused": 3,
    "recording.saved": 4,
    "recording.discarded": 5,
    "recording.marked": 6,
    "recording.unmarked": 7,
}
"""Type of an event -> StateAction."""

STOP = 2
_NAMES_KEPT = 10_000
_SHOWN = 200
"""Characters of a name in an answer."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the state of recording, as `RecordingStateChangedEvent` has it."""

    ucc_name: str
    correlation_id: str
    state_action: int


def state_action(event: FeedEvent) -> int | None:
    """What an event means for the state of recording; None: nothing.

    Who hangs up stops what was recorded until then; a split goes on recording.
    """
    if event.type == "session.ended" and event.recording_id:
        return STOP
    return None if event.is_split else STATE_ACTIONS.get(event.type)


class Names:
    """Which UCCs a call belongs to, by the directory of now; shared by all readers."""

    def __init__(self, entries: Callable[[], Entries]) -> None:
        """`entries`: the directory of now; a new object once it has changed."""
        self._now = entries
        self._entries = entries()
        self._known: dict[tuple[int, int], tuple[str, ...]] = {}

    def find(self, name: str) -> Ucc | None:
        """The UCC of this name."""
        return ucc.find(self._now(), name)

    def of(self, account: int, route: int) -> tuple[str, ...]:
        """The names of all UCCs that own calls of this account and route, the account's first."""
        entries = self._now()
        if entries is not self._entries or len(self._known) >= _NAMES_KEPT:
            self._entries, self._known = entries, {}
        place = account, route
        if place not in self._known:
            self._known[place] = self._owners(account, route)
        return self._known[place]

    def _owners(self, account: int, route: int) -> tuple[str, ...]:
        holder, way = self._entries.accounts.get(account), self._entries.routes.get(route)
        names = (holder.name if holder else "", way.label if way else "")
        found = (ucc.find(self._entries, name) for name in names)
        owners = (each.name for each in found if each and each.owns(account, route))
        return tuple(dict.fromkeys(owners))


class Subscriptions:
    """The UCCs one reader has subscribed to."""

    def __init__(self, actor: Actor, names: Names) -> None:
        self._actor = actor
        self._names = names
        self._wanted: frozenset[str] = frozenset()

    @property
    def group(self) -> Hashable:
        """Equal for readers who hear the same."""
        return self._wanted, self._actor.account, self._actor.routes

    @property
    def wanted(self) -> frozenset[str]:
        """The names subscribed to, without their case."""
        return self._wanted

    def add(self, name: str) -> None:
        """Hear of this UCC too. Raises Refusal if it is unknown or not for this actor."""
        found = self._names.find(name)
        if found is None or not self._actor.sees(found.account, found.route or 0):
            raise wire.unknown_ucc(name[:_SHOWN])
        self._wanted |= {found.name.casefold()}

    def restore(self, names: Iterable[str]) -> None:
        """Subscribe again to what is still there."""
        for name in names:
            with suppress(Refusal):
                self.add(name)

    def remove(self, name: str) -> None:
        """Hear of it no longer; nothing happens if it was not subscribed to."""
        self._wanted -= {name.casefold()}

    def change(self, event: FeedEvent) -> Change | None:
        """What is to be said of an event; None: nothing."""
        action = state_action(event)
        if action is None or not self._actor.sees(event.account, event.route):
            return None
        names = self._names.of(event.account, event.route)
        name = next((each for each in names if each.casefold() in self._wanted), None)
        return Change(name, ucc.correlation_id(event.session_id), action) if name else None

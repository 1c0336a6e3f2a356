"""One state of the directory, and whether it holds together.

Pure. What a field may be for itself is said by its type (`storage.entries`); `problems` is all that
must be true besides. `storage.directory` asks here before it takes a state over.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from ipaddress import ip_address, ip_network
from itertools import chain
from types import MappingProxyType
from typing import Any, TypeVar
from urllib.parse import urlsplit

from storage.entries import (
    DEFAULT_ROUTE,
    PARAMETERS,
    SYSTEM_ACCOUNT,
    Account,
    CustomField,
    Destination,
    Entry,
    ExportTemplate,
    MetadataType,
    Parameter,
    Policy,
    PolicyAction,
    Route,
    ScreenAgent,
    User,
    key_of,
    kind_of,
)
from storage.platforms import Integration, RecordingPlatform, RecordingProperties, is_host
from storage.records import InvalidEntry, Recording, RecordingQuery

E = TypeVar("E", bound=Entry)
Problem = tuple[Entry, str]
"""An entry, and what is wrong with it: field and reason."""


def _only(kind: type[E], entries: Iterable[Entry]) -> Iterator[E]:
    return (entry for entry in entries if isinstance(entry, kind))


def _by(
    key: Callable[[E], Any],
    kind: type[E],
    entries: Iterable[Entry],
    first: Callable[[E], Any] = lambda _: 0,
) -> Mapping[Any, E]:
    """The entries of a kind, sorted by `first` and `key`."""
    found = {key(entry): entry for entry in _only(kind, entries)}
    found = {key: found[key] for key in sorted(found, key=lambda each: (first(found[each]), each))}
    return MappingProxyType(found)


_PROPERTIES = RecordingProperties()


@dataclass(frozen=True, slots=True)
class Entries:
    """One state of the directory: of each kind the entries by what tells them apart."""

    accounts: Mapping[int, Account]
    routes: Mapping[int, Route]
    """In the order they are tried: highest priority first, then lowest id."""
    users: Mapping[str, User] = field(default_factory=dict)
    """By e-mail address in lower case."""
    custom_fields: Mapping[str, CustomField] = field(default_factory=dict)
    metadata_types: Mapping[str, MetadataType] = field(default_factory=dict)
    templates: Mapping[tuple[str, int], ExportTemplate] = field(default_factory=dict)
    destinations: Mapping[str, Destination] = field(default_factory=dict)
    policies: tuple[Policy, ...] = ()
    """In the order they fire."""
    screen_agents: Mapping[str, ScreenAgent] = field(default_factory=dict)
    platforms: Mapping[str, RecordingPlatform] = field(default_factory=dict)
    properties: RecordingProperties = _PROPERTIES
    integrations: Mapping[str, Integration] = field(default_factory=dict)
    """By GUID, in the order they were added."""
    lines: Mapping[tuple[int, str], User] = field(default_factory=dict)
    """Whose a directory number is, by account and number; of several users, the first."""

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> "Entries":
        """The state that has these entries; of several with the same key, the last."""
        every = list(entries)
        policies = {policy.name: policy for policy in _only(Policy, every)}
        properties = [*_only(RecordingProperties, every)] or [_PROPERTIES]
        users = _by(lambda user: user.email.lower(), User, every)
        return cls(
            accounts=_by(lambda account: account.number, Account, every),
            routes=_by(lambda route: route.id, Route, every, lambda route: -route.priority),
            users=users,
            custom_fields=_by(lambda custom: custom.name, CustomField, every),
            metadata_types=_by(lambda kind: kind.name, MetadataType, every),
            templates=_by(lambda text: (text.name, text.version), ExportTemplate, every),
            destinations=_by(lambda destination: destination.name, Destination, every),
            policies=tuple(sorted(policies.values(), key=lambda p: (p.position, p.name))),
            screen_agents=_by(lambda agent: agent.agent_id, ScreenAgent, every),
            platforms=_by(lambda platform: platform.name, RecordingPlatform, every),
            properties=properties[-1],
            integrations=_by(lambda each: each.guid, Integration, every, lambda each: each.number),
            lines=_lines(users.values()),
        )

    def __iter__(self) -> Iterator[Entry]:
        """Every entry, those that others name before them."""
        properties = [] if self.properties is _PROPERTIES else [self.properties]
        return chain(
            self.platforms.values(),
            properties,
            self.accounts.values(),
            self.routes.values(),
            self.users.values(),
            self.custom_fields.values(),
            self.metadata_types.values(),
            self.templates.values(),
            self.destinations.values(),
            self.screen_agents.values(),
            self.policies,
            self.integrations.values(),
        )

    def by_key(self) -> dict[tuple[str, str], Entry]:
        """Every entry by kind and `key_of`."""
        return {(kind_of(entry), key_of(entry)): entry for entry in self}


def _lines(users: Iterable[User]) -> Mapping[tuple[int, str], User]:
    found: dict[tuple[int, str], User] = {}
    for user in users:
        for line in user.lines:
            found.setdefault((user.account, line), user)
    return MappingProxyType(found)


INITIAL = Entries.of([Account(1, "System"), Route(1, 1, "Default", priority=0)])
"""What is there from the start: the System account and a route that records everything."""


def check(entries: Entries) -> None:
    """Raises InvalidEntry, which names entry and field, unless the state holds together."""
    for entry, text in problems(entries):
        raise InvalidEntry(f"{kind_of(entry)} {key_of(entry)}: {text}")


def sound(entries: Iterable[Entry]) -> tuple[Entries, list[Problem]]:
    """The state without what contradicts the rest of it, and what was left out for that.

    What `INITIAL` has is there in any case.
    """
    kept = [*INITIAL, *entries]
    found: list[Problem] = []
    while wrong := list(problems(state := Entries.of(kept))):
        found += wrong
        left_out = {id(entry) for entry, _ in wrong}
        kept = [entry for entry in kept if id(entry) not in left_out]
    return state, found


def problems(entries: Entries) -> Iterator[Problem]:
    """What is wrong with the state."""
    for entry in entries:
        for text in CHECKS[type(entry)](entry, entries):
            yield entry, text
    names: dict[str, str] = {}
    for template in entries.templates.values():
        first = names.setdefault(template.name.casefold(), template.name)
        if first != template.name:
            yield template, f"name: there is `{first}` already, and case does not tell names apart"


Check = Callable[[Any, Entries], Iterator[str]]


def _nothing(_: Entry, __: Entries) -> Iterator[str]:
    return iter(())


def _account(owner: int, entries: Entries) -> Iterator[str]:
    if owner not in entries.accounts:
        yield f"account {owner} does not exist"


def _platform(platform: RecordingPlatform, _: Entries) -> Iterator[str]:
    if not is_host(platform.net_address):
        yield f"net_address: `{platform.net_address}` is no IP address and no name of a host"


def _tenant(account: Account, entries: Entries) -> Iterator[str]:
    if account.platform is not None and account.platform not in entries.platforms:
        yield f"platform: there is no recording platform `{account.platform}`"


def _integration(entry: Integration, entries: Entries) -> Iterator[str]:
    if entry.account is not None:
        yield from _account(entry.account, entries)
    if entry.route is not None:
        route = entries.routes.get(entry.route)
        if route is None or route.account != entry.account:
            yield f"route: {entry.route} is none of account {entry.account}"


def _properties(properties: RecordingProperties, entries: Entries) -> Iterator[str]:
    name = properties.default_platform
    if name is not None and name not in entries.platforms:
        yield f"default_platform: there is no recording platform `{name}`"


def _route(route: Route, entries: Entries) -> Iterator[str]:
    yield from _account(route.account, entries)
    if route.id == DEFAULT_ROUTE:
        takes = (route.match, route.pattern, route.priority, route.account)
        if takes != ("to", "%", 0, SYSTEM_ACCOUNT):
            yield 'the default route keeps match "to", pattern "%", priority 0 and account 1'
    elif route.priority == 0:
        yield "priority: 0 is the default route's, which takes every call"
    if route.match == "peer":
        yield from _network(route.pattern)


def _network(pattern: str) -> Iterator[str]:
    if "%" in pattern:
        if set(pattern) - set("0123456789abcdefABCDEF.:%"):
            yield f"pattern: `{pattern}` cannot be part of a network address"
        return
    try:
        ip_network(pattern)
    except ValueError as error:
        yield f"pattern: {error}"


def _user(user: User, entries: Entries) -> Iterator[str]:
    yield from _account(user.account, entries)
    for number in user.routes:
        route = entries.routes.get(number)
        if route is None or user.account not in {SYSTEM_ACCOUNT, route.account}:
            yield f"routes: {number} is none of account {user.account}"


_FOREIGN_NAMES = """
isrUcid ingressCallId egressCallId thirdpartyId ani from dnis to filename start earliestStart
latestStart aor channelNumber rssId recordingId tmpRecordingId audioOnly mustHaveVideo format
formatName version maxListLength fillWithSilence codecProfile agentId agentTerminal sensitive
setNeverExpire token segmentId
"""
"""Criteria and data by their names in other interfaces of the field."""


def _plain(name: str) -> str:
    return name.replace("_", "").casefold()


_OWN_NAMES = (each.name for kind in (Recording, RecordingQuery) for each in fields(kind))
_RESERVED = frozenset(map(_plain, (*_OWN_NAMES, *_FOREIGN_NAMES.split())))


def _custom_field(custom: CustomField, entries: Entries) -> Iterator[str]:
    if _plain(custom.name) in _RESERVED:
        yield f"name: `{custom.name}` means something else in a search"
    if custom.name in entries.metadata_types:
        yield f"name: `{custom.name}` is a metadata type"
    for number in custom.accounts:
        yield from (f"accounts: {text}" for text in _account(number, entries))


def _destination(destination: Destination, entries: Entries) -> Iterator[str]:
    yield from _url(destination.url)
    scope, of = destination.scope, destination.of
    if scope == "global" and of != "":
        yield "of: a global destination is of nothing"
    if scope == "realm" and not (isinstance(of, str) and of):
        yield "of: the name of a realm, please"
    known: Mapping[str, Mapping[int, Entry]]
    known = {"account": entries.accounts, "route": entries.routes}
    if scope in known and not (isinstance(of, int) and of in known[scope]):
        yield f"of: {scope} {of or '(none)'} does not exist"
    yield from _parameters(destination.parameters)


def _parameters(parameters: Iterable[Parameter]) -> Iterator[str]:
    seen = set()
    for each in parameters:
        if bool(each.value) == bool(each.literal):
            yield f"parameters: `{each.name}` needs a value or a literal, one of the two"
        elif each.value and each.value not in PARAMETERS:
            yield f"parameters: `{each.name}`: value is none of {', '.join(PARAMETERS)}"
        if each.name in seen:
            yield f"parameters: `{each.name}` is there twice"
        seen.add(each.name)


def _url(url: str) -> Iterator[str]:
    """What is wrong with where a request goes. The text of the URL may be secret: never shown."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        yield f"url: {error}"
        return
    if parts.scheme not in {"http", "https"} or not host:
        yield "url: http:// or https:// and a host, please"
    if "@" in parts.netloc:
        yield "url: a name or a password before the host is not sent"
    if set(parts.netloc) & set("${}\\") or "#" in url:
        yield "url: no placeholder or backslash in the host, and no fragment"
    if not (url.isascii() and url.isprintable()) or " " in url:
        yield "url: printable ASCII only, everything else percent-encoded"


def _agent(agent: ScreenAgent, entries: Entries) -> Iterator[str]:
    yield from _account(agent.account, entries)
    if not _is_address(agent.address):
        yield f"address: `{agent.address}` is no IP address"


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def _policy(policy: Policy, entries: Entries) -> Iterator[str]:
    when = policy.when
    if when.account is not None:
        yield from (f"when: {text}" for text in _account(when.account, entries))
    if when.route is not None:
        route = entries.routes.get(when.route)
        if route is None or when.account not in {None, SYSTEM_ACCOUNT, route.account}:
            yield f"when: route {when.route} does not exist" + (
                f" in account {when.account}" if when.account else ""
            )
    if not policy.actions:
        yield "actions: at least one, please"
    for number, action in enumerate(policy.actions, 1):
        for text in _action(action, when.account, entries):
            yield f"actions: {action.type}, no. {number}: {text}"


def _action(action: PolicyAction, account: int | None, entries: Entries) -> Iterator[str]:
    if action.type == "HttpNotify":
        yield from _url(action.url)
    elif action.url:
        yield "url: for HttpNotify only"
    if action.type in {"StartAudio", "StopAudio"} and not action.isr_ucid:
        yield "isr_ucid: which call?"
    if not action.type.endswith("RecordScreen"):
        if action.screen_ip or action.agent_id:
            yield "screen_ip and agent_id: for screens only"
        return
    if action.screen_ip and "${" not in action.screen_ip and not _is_address(action.screen_ip):
        yield f"screen_ip: `{action.screen_ip}` is no IP address"
    if action.agent_id and "${" not in action.agent_id:
        agent = entries.screen_agents.get(action.agent_id)
        if agent is None or account not in {None, SYSTEM_ACCOUNT, agent.account}:
            yield f"agent_id: `{action.agent_id}` is no screen agent" + (
                f" of account {account}" if account else ""
            )


CHECKS: Mapping[type[Entry], Check] = MappingProxyType(
    {
        RecordingPlatform: _platform,
        RecordingProperties: _properties,
        Account: _tenant,
        Route: _route,
        User: _user,
        CustomField: _custom_field,
        MetadataType: _nothing,
        ExportTemplate: _nothing,
        Destination: _destination,
        ScreenAgent: _agent,
        Policy: _policy,
        Integration: _integration,
    }
)
"""Kind of entry -> what else must be true of it."""

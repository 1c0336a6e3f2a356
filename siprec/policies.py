"""Policies: what is to be done on an occurrence, as the directory says.

Pure: `siprec.dispatcher` does it. Texts of actions may hold placeholders (`siprec.placeholders`):
`${ucid}` (else the ingress call id), `${ani}`, `${dnis}`, `${account}`, `${route}`, `${realm}`,
`${filename}`, `${custom.NAME}`, `${callingAors[0]}`, `${calledAors[0].host}`.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from siprec.occurrence import POLICY_EVENTS, Occurrence, host_of
from siprec.placeholders import DOLLAR, UnusableUrl, fill, fill_url, ip_address
from storage.entries import SYSTEM_ACCOUNT, Policy, PolicyAction, ScreenAgent, When
from storage.records import Recording

NEEDS_CALL = frozenset({"StartAudio", "StopAudio", "InitiateRecordScreen"})
"""Actions that are about one call."""
SCREEN = frozenset({"InitiateRecordScreen", "TerminateRecordScreen"})
"""Actions that are about one screen."""

_AORS = re.compile(r"(calledAors|callingAors)\[([0-9]{1,3})\](\.host)?")
_CUSTOM = "custom."


@dataclass(frozen=True, slots=True)
class Planned:
    """One action to take, all of its texts filled in."""

    policy: str
    type: str
    isr_ucid: str = ""
    url: str = ""
    """For HttpNotify."""
    screen_ip: str = ""
    """For screens: an IP address."""
    skipped: str = ""
    """Why it cannot be done, as a reason code; empty: it can."""
    unknown: tuple[str, ...] = ()
    """Placeholders that mean nothing; they were left empty."""


def planned(
    occurrence: Occurrence,
    policies: Iterable[Policy],
    agents: Mapping[str, ScreenAgent] = MappingProxyType({}),
) -> list[Planned]:
    """The actions of all policies whose event and calls match, in order; none for a failure."""
    if occurrence.is_failure:
        return []
    return [
        _planned(policy.name, action, occurrence, agents)
        for policy in policies
        if policy.event in names_of(occurrence.event) and _about(policy.when, occurrence.recording)
        for action in policy.actions
    ]


def names_of(event: str) -> frozenset[str]:
    """What policies may call an event."""
    return frozenset({event, POLICY_EVENTS.get(event, event)})


def _about(when: When, recording: Recording) -> bool:
    return (
        when.account in {None, recording.account}
        and when.route in {None, recording.route}
        and when.realm in {None, recording.realm}
    )


def _planned(
    policy: str, action: PolicyAction, occurrence: Occurrence, agents: Mapping[str, ScreenAgent]
) -> Planned:
    known = _Values(occurrence)
    isr_ucid = fill(action.isr_ucid, DOLLAR, known.lookup)
    url = screen_ip = skipped = ""
    if action.type in NEEDS_CALL and not isr_ucid:
        skipped = "no_call"
    elif action.type in SCREEN:
        screen_ip = _screen(action, known, agents)
        skipped = "" if screen_ip else "screen_not_an_address"
    elif action.type == "HttpNotify":
        try:
            url = fill_url(action.url, DOLLAR, known.lookup)
        except UnusableUrl as error:
            skipped = str(error)
    return Planned(policy, action.type, isr_ucid, url, screen_ip, skipped, (*known.unknown,))


def _screen(action: PolicyAction, known: "_Values", agents: Mapping[str, ScreenAgent]) -> str:
    """Address of the screen that is meant: stated, else the agent's, else of the first called."""
    agent = agents.get(fill(action.agent_id, DOLLAR, known.lookup))
    account = known.occurrence.recording.account
    if agent and agent.account not in {SYSTEM_ACCOUNT, account}:
        agent = None
    stated = fill(action.screen_ip, DOLLAR, known.lookup)
    return ip_address(
        stated
        or (agent.address if agent else "")
        or host_of(next(iter(known.occurrence.callees), ""))
    )


class _Values:
    """What placeholders stand for in one occurrence, and which stood for nothing there is."""

    def __init__(self, occurrence: Occurrence) -> None:
        self.occurrence = occurrence
        self.unknown: dict[str, None] = {}

    def lookup(self, name: str) -> str:
        """What `name` stands for; empty, and remembered, if there is no such name."""
        if name in PLACEHOLDERS:
            return PLACEHOLDERS[name](self.occurrence)
        if name.startswith(_CUSTOM):
            return self.occurrence.recording.custom.get(name.removeprefix(_CUSTOM), "")
        if found := _AORS.fullmatch(name):
            return self._aor(found)
        self.unknown[name] = None
        return ""

    def _aor(self, found: re.Match[str]) -> str:
        called = found[1] == "calledAors"
        aors = self.occurrence.callees if called else self.occurrence.callers
        aor = dict(enumerate(aors)).get(int(found[2]), "")
        return host_of(aor) if found[3] else aor


PLACEHOLDERS: Mapping[str, Callable[[Occurrence], str]] = MappingProxyType(
    {
        "ucid": lambda occurrence: occurrence.unknown_ucid,
        "ani": lambda occurrence: occurrence.recording.ani,
        "dnis": lambda occurrence: occurrence.recording.dnis,
        "account": lambda occurrence: str(occurrence.recording.account),
        "route": lambda occurrence: str(occurrence.recording.route or ""),
        "realm": lambda occurrence: occurrence.recording.realm,
        "filename": lambda occurrence: occurrence.recording.filename,
    }
)
"""Placeholders that are names only."""

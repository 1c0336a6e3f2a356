"""Which recordings a FACE command is about: the parameters of its URL as a `Selection`.

Every criterion given must hold, exactly and with its case. A name that is unknown or means nothing
to the command, and a value that cannot be read, refuse the command: a slip never widens it.
Counterparts: `api.oracle_face.updates` for what a body changes; `storage.records.RecordingQuery`.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from api.oracle_face.codes import invalid, missing
from storage.directory import Entries
from storage.entries import SYSTEM_ACCOUNT
from storage.records import RecordingQuery
from storage.text import plain, without_scheme

CONTROL = frozenset({"start", "stop", "pause", "resume", "split"})
"""Commands to live sessions; the others are about recordings."""

MOST_MATCHES = 1000
"""Longest list of matches, also when none is asked for."""
CODEC_PROFILES: Mapping[str, str] = {
    "1": "default",
    "2": "smallest",
    "3": "small",
    "4": "best_quality",
    "5": "firefox_compatible",
}
"""codecProfile -> key of `storage.entries.PROFILES`."""

_FIELDS = {
    "isrUcid": "ucid",
    "ingressCallId": "call_id",
    "egressCallId": "egress_call_id",
    "thirdpartyId": "third_party_id",
    "ani": "ani",
    "dnis": "dnis",
    "filename": "filename",
    "aor": "aor",
    "recordingId": "number",
}
"""Criterion -> field of `RecordingQuery` that is the same."""
_SAME = {"from": "ani", "to": "dnis", "segmentId": "recordingId"}
"""Other names of criteria."""
_TIMES = frozenset({"start", "earliestStart", "latestStart"})
_FLAGS = {"audioOnly": "audio_only", "mustHaveVideo": "has_video"}
_FORMAT = frozenset({"format", "formatName", "version"})
_IDS = frozenset({"isrUcid", "ingressCallId", "egressCallId"})

_FOR_ALL = (frozenset({*_FIELDS, "from", "to", "maxListLength"}) | _TIMES) - {"recordingId"}
_FOR_CONTROL = frozenset({"channelNumber", "rssId"})
_FOR_OTHERS = frozenset({"recordingId", "tmpRecordingId", *_FLAGS})
_FOR_ONE: Mapping[str, frozenset[str]] = {
    "start": frozenset({"codecProfile"}),
    "pause": frozenset({"fillWithSilence"}),
    "details": _FORMAT,
    "segment/details": _FORMAT | {"segmentId"},
    "segment/download": frozenset({"segmentId"}),
    "segment/redirect": frozenset({"segmentId"}),
}
"""Command -> parameters that only it and its like have."""

RESERVED = frozenset({"token"}).union(_FOR_ALL, _FOR_CONTROL, _FOR_OTHERS, *_FOR_ONE.values())
"""Names that mean the same whatever an operator calls their own data."""

_TIME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{3})?")
_Span = tuple[datetime, datetime | None]
"""From its first moment to before its last; None: to the end of time."""


@dataclass(frozen=True, slots=True)
class Names:
    """Names of the operator's own that somebody may select by."""

    custom: frozenset[str] = frozenset()
    """Custom fields."""
    extensions: frozenset[str] = frozenset()
    """Extension data of the recording client."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What a command is about, and how it is to be carried out, as its URL says."""

    query: RecordingQuery
    """Asks for one recording more than may be listed, to tell whether there are more."""
    named: frozenset[str]
    """Criteria that were given: `ani` also for from, `dnis` for to, `recordingId` for segmentId."""
    max_list_length: int = MOST_MATCHES
    tmp_recording_id: int | None = None
    channel_number: int | None = None
    rss_id: int | None = None
    fill_with_silence: bool = False
    codec_profile: str = ""
    """Key of `storage.entries.PROFILES`; empty: as the route says."""
    template: tuple[str, int | None] | None = None
    """Name and version of the export template to answer with; no version: the highest."""
    start: str = ""
    """The criterion as it was written."""

    @property
    def is_empty(self) -> bool:
        """There is no criterion: every recording matches."""
        return not self.named

    @property
    def only_ids(self) -> bool:
        """There are criteria, and all of them are UCIDs or Call-IDs."""
        return bool(self.named) and self.named <= _IDS

    @property
    def ani_dnis(self) -> bool:
        """Calling and called party are the criteria, and nothing else."""
        return self.named == {"ani", "dnis"}

    @property
    def ani_dnis_start(self) -> tuple[str, str, str] | None:
        """The three of them if they are the criteria, and nothing else."""
        if self.named != {"ani", "dnis", "start"}:
            return None
        return self.query.ani or "", self.query.dnis or "", self.start


def names_for(entries: Entries, account: int) -> Names:
    """What the directory lets somebody of an account select by; the System account sees all."""
    return Names(
        frozenset(
            each.name
            for each in entries.custom_fields.values()
            if each.searchable
            and (not each.accounts or account in {SYSTEM_ACCOUNT, *each.accounts})
        ),
        frozenset(each.name for each in entries.metadata_types.values() if each.searchable),
    )


def parse(command: str, parameters: Mapping[str, str], names: Names) -> Selection:
    """The selection of a command, e.g. `start` or `segment/details`.

    `parameters`: the query of its URL, decoded, without `token`. Raises Refusal, which names the
    first parameter that cannot be.
    """
    own = names.extensions if command in CONTROL else names.extensions | names.custom
    known = _applicable(command) | (own - RESERVED)
    values: dict[str, Any] = {}
    clashes = False
    for name, text in parameters.items():
        if name not in known:
            raise invalid(plain(name))
        value = _read(name, text)
        # What is said twice, by both names of a criterion, must hold twice.
        clashes |= values.setdefault(_SAME.get(name, name), value) != value
    longest = values.get("maxListLength", MOST_MATCHES)
    return Selection(
        _query(values, names, clashes, longest + 1),
        frozenset(name for name in values if _is_criterion(name, values[name])),
        longest,
        values.get("tmpRecordingId"),
        values.get("channelNumber"),
        values.get("rssId"),
        values.get("fillWithSilence", False),
        values.get("codecProfile", ""),
        _template(values),
        parameters.get("start", ""),
    )


def _applicable(command: str) -> frozenset[str]:
    by_kind = _FOR_CONTROL if command in CONTROL else _FOR_OTHERS
    return _FOR_ALL | by_kind | _FOR_ONE.get(command, frozenset())


def _is_criterion(name: str, value: object) -> bool:
    """Whether a parameter says which recordings; a flag that is false says nothing."""
    how = {"maxListLength", "fillWithSilence", "codecProfile", *_FORMAT}
    return name not in how and value is not False


def _query(values: Mapping[str, Any], names: Names, clashes: bool, limit: int) -> RecordingQuery:
    """The criteria that recordings are searched by; with `clashes`, none matches."""
    asked: dict[str, Any] = {
        **{field: values[name] for name, field in _FIELDS.items() if name in values},
        **{field: True for name, field in _FLAGS.items() if values.get(name)},
    }
    own = {name: text for name, text in values.items() if name not in RESERVED}
    after, before = _between(values)
    return RecordingQuery(
        **asked,
        accounts=frozenset() if clashes else None,
        custom={name: text for name, text in own.items() if name not in names.extensions},
        extensions={name: text for name, text in own.items() if name in names.extensions},
        started_after=after,
        started_before=before,
        limit=limit,
        oldest_first=True,
    )


def _between(values: Mapping[str, _Span]) -> tuple[datetime | None, datetime | None]:
    """When the recordings began, by all the times that were given: from, and before."""
    firsts = [values[name][0] for name in ("start", "earliestStart") if name in values]
    ends = [values[name][1] for name in ("start", "latestStart") if name in values]
    return max(firsts, default=None), min(filter(None, ends), default=None)


def _template(values: Mapping[str, Any]) -> tuple[str, int | None] | None:
    """Name and version. Raises Refusal for one without the other, or without `format`."""
    if "format" not in values:
        for name in ("formatName", "version"):
            if name in values:
                raise invalid(name)
        return None
    if "formatName" not in values:
        raise missing("formatName")
    return values["formatName"], values.get("version")


# one value


def _read(name: str, text: str) -> Any:
    """What the text of a parameter stands for. Raises Refusal."""
    try:
        return _READERS.get(name, _text)(text)
    except (ValueError, KeyError):
        raise invalid(name) from None


def _text(text: str) -> str:
    if not text:
        raise ValueError("nothing to compare with")
    return text


def _aor(text: str) -> str:
    _text(without_scheme(text))
    return text


def _span(text: str) -> _Span:
    """The second or the millisecond in UTC that `text` names; years 1 to 9999."""
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError("not a time")
    day, clock, fraction = found.groups()
    at = datetime.fromisoformat(f"{day}T{clock}{fraction or ''}").replace(tzinfo=UTC)
    try:
        return at, at + timedelta(milliseconds=1 if fraction else 1000)
    except OverflowError:
        return at, None


def _number(possible: Iterable[int]) -> Callable[[str], int]:
    """Reads what `possible` has, in ASCII digits."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) not in possible:
            raise ValueError("not such a number")
        return int(text)

    return read


_ID = _number(range(1, 2**31))
_READERS: Mapping[str, Callable[[str], Any]] = {
    **dict.fromkeys(_TIMES, _span),
    **dict.fromkeys(("recordingId", "tmpRecordingId", "segmentId", "version"), _ID),
    **dict.fromkeys(("channelNumber", "rssId"), _number(range(2**31))),
    **dict.fromkeys((*_FLAGS, "fillWithSilence"), {"true": True, "false": False}.__getitem__),
    "maxListLength": _number(range(1, MOST_MATCHES + 1)),
    "codecProfile": CODEC_PROFILES.__getitem__,
    "format": {"template": "template"}.__getitem__,
    "aor": _aor,
}
"""Parameter -> reads its text; raises ValueError or KeyError. All others are plain text."""

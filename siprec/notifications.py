"""Notifications: whom to tell of an occurrence, and in which words.

Pure: `siprec.dispatcher` hands over what comes out, `storage.outbox` keeps it, `siprec.courier`
delivers it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType

import msgspec

from siprec.occurrence import Occurrence
from siprec.placeholders import OCTETS, URL_LIMIT, VALUE_LIMIT, bounded, encoded
from storage.directory import Entries
from storage.entries import PARAMETERS, Destination, Parameter
from storage.outbox import Notification
from storage.records import Recording

_ALL = tuple(Parameter(name, name) for name in PARAMETERS)


def compose(
    occurrence: Occurrence, entries: Entries, new_id: Callable[[], str]
) -> list[Notification]:
    """One notification for each destination whose event and scope match, in the directory's order.

    Two destinations of one URL are both told. `new_id` makes the event ids.
    """
    values = _Values(occurrence)
    return [
        _notification(destination, occurrence, values, new_id())
        for destination in entries.destinations.values()
        if destination.event == occurrence.event and _concerns(destination, occurrence.recording)
    ]


def with_query(url: str, parameters: Sequence[tuple[str, str]]) -> str:
    """`url` as it is, with `parameters` after it, percent-encoded; a fragment is never sent.

    If that is longer than servers take, every value is cut to its share of the room: nobody escapes
    being told of by having a long name.
    """
    base = url.partition("#")[0]
    if not base.endswith(("?", "&")):
        base += "&" if "?" in base else "?"
    whole = base + _query(parameters, VALUE_LIMIT * OCTETS)
    if len(whole) <= URL_LIMIT:
        return whole
    names = sum(len(encoded(name)) + len("=&") for name, _ in parameters)
    return base + _query(parameters, (URL_LIMIT - len(base) - names) // len(parameters))


def _query(parameters: Iterable[tuple[str, str]], room: int) -> str:
    return "&".join(f"{encoded(name)}={encoded(value, room)}" for name, value in parameters)


def _concerns(destination: Destination, recording: Recording) -> bool:
    if destination.scope == "global":
        return True
    of = {
        "account": str(recording.account),
        "route": str(recording.route),
        "realm": recording.realm,
    }[destination.scope]
    return of != "" and of == str(destination.of)


def _notification(
    destination: Destination, occurrence: Occurrence, values: "_Values", event_id: str
) -> Notification:
    asked = [
        (parameter.name, values.of(parameter, event_id))
        for parameter in destination.parameters or _ALL
    ]
    get = destination.method == "GET"
    return Notification(
        event_id,
        destination.name,
        bounded(occurrence.recording.call_id),
        occurrence.at,
        destination.method,
        with_query(destination.url, asked) if get else destination.url,
        "" if get else msgspec.json.encode(dict(asked)).decode(),
        occurrence.recording.account,
    )


class _Values:
    """What can be told of one occurrence, each worked out when the first destination asks."""

    def __init__(self, occurrence: Occurrence) -> None:
        self._occurrence = occurrence
        self._known: dict[str, str] = {}

    def of(self, parameter: Parameter, event_id: str) -> str:
        """What `parameter` says; empty if there is nothing to say."""
        if parameter.value == "EVENT_ID":
            return event_id
        if parameter.value not in VALUES:
            return bounded(parameter.literal)
        if parameter.value not in self._known:
            self._known[parameter.value] = bounded(VALUES[parameter.value](self._occurrence))
        return self._known[parameter.value]


def _of_recording(value: Callable[[Recording], str]) -> Callable[[Occurrence], str]:
    """What only an opened recording has; without an id it is none."""
    return lambda occurrence: value(occurrence.recording) if occurrence.recording.id else ""


def _moment(at: datetime | None) -> str:
    """Like `2026-11-22 14:05:06.789`, in UTC."""
    if at is None:
        return ""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "milliseconds")


def _latest_pause_is_silence(recording: Recording) -> str:
    silence = recording.pauses and recording.pauses[-1].fill == "silence"
    return "true" if silence else "false"


def _list(aors: Iterable[str]) -> str:
    """Addresses joined by commas, as many as fit whole; a comma within one is escaped."""
    text = ""
    for aor in aors:
        longer = f"{text},{aor.replace(',', '%2C')}" if text else aor.replace(",", "%2C")
        if len(longer) > VALUE_LIMIT:
            break
        text = longer
    return text


VALUES: Mapping[str, Callable[[Occurrence], str]] = MappingProxyType(
    {
        "EVENT": lambda occurrence: occurrence.event,
        "SESSION_ID": lambda occurrence: next(iter(occurrence.recording.siprec_session_ids), ""),
        "ANI": lambda occurrence: occurrence.recording.ani,
        "DNIS": lambda occurrence: occurrence.recording.dnis,
        "ISR_UCID": lambda occurrence: occurrence.recording.ucid,
        "INGRESS_CALLID": lambda occurrence: occurrence.recording.call_id,
        "EGRESS_CALLID": lambda occurrence: occurrence.recording.egress_call_id,
        "UNKNOWN_UCID": lambda occurrence: occurrence.unknown_ucid,
        "CALL_ID": lambda occurrence: occurrence.recording.call_id,
        "RESULT": lambda occurrence: occurrence.result,
        "FILENAME": _of_recording(lambda recording: recording.filename),
        "START_TIME": _of_recording(lambda recording: _moment(recording.started_at)),
        "END_TIME": _of_recording(lambda recording: _moment(recording.ended_at)),
        "DURATION": _of_recording(lambda recording: str(recording.duration_ms)),
        "PAUSE_LENGTH": _of_recording(lambda recording: str(recording.paused_ms)),
        "PAUSE_SILENCE": _of_recording(_latest_pause_is_silence),
        "CALLING_AORS": lambda occurrence: _list(occurrence.callers),
        "CALLED_AORS": lambda occurrence: _list(occurrence.callees),
    }
)
"""Parameter -> its value. `EVENT_ID` is not among them: each notification has its own."""

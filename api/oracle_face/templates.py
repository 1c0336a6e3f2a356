"""Export templates: a recording as a text of the operator's own form.

No logic: `${name}` stands for a field of the recording, `${name|sec}` and `${name|iso}` for that
field in another notation. Each is looked up by its whole name, in one pass; what it stands for is
never looked into again, and is escaped as the template's media type asks for, for it may come from
a caller. What a field is called is in `api.oracle_face.wire`.
"""

import re
from collections.abc import Callable, Mapping

import msgspec

from api import xml
from api.oracle_face import wire
from api.oracle_face.codes import FAILURE, Refusal
from storage.entries import ExportTemplate
from storage.text import clean, plain

OUTPUT_OCTETS = 1_048_576
"""Most that comes out of a template."""

VERINT = ExportTemplate(
    "Verint",
    1,
    '<Call xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><Data>'
    "<audio><audio_segment><channel_id>false</channel_id><recording_order>1</recording_order>"
    "<audio_url>${audioUrl}</audio_url><StartTime>${startTime|iso}</StartTime>"
    "<Duration>${duration|sec}</Duration></audio_segment></audio>"
    "<ani>${ani}</ani><dnis>${dnis}</dnis><unique_identifier>${recordingId}</unique_identifier>"
    "<time_offset>0</time_offset><direction>0</direction></Data></Call>",
)
"""The one that is there without a directory: for Verint Import Manager."""

_PLACEHOLDER = re.compile(r"\$\{([^{}]*)\}")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(\.\d+)?", re.ASCII)
_CONTROL = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""All but tab and line feed, and what UTF-8 cannot carry."""
_BREAK = re.compile("[\t\r\n]+")
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")
"""What spreadsheets take for the beginning of a formula."""


def find(
    templates: Mapping[tuple[str, int], ExportTemplate], name: str, version: int | None
) -> ExportTemplate:
    """The template of that name, in any case, and version; None: the highest.

    `templates`: those of the directory; they go before ours. Raises Refusal.
    """
    known = {(each.name.casefold(), each.version): each for each in (VERINT, *templates.values())}
    folded = name.casefold()
    versions = [number for found, number in known if found == folded]
    wanted = (folded, max(versions, default=0) if version is None else version)
    if wanted not in known:
        raise Refusal(FAILURE, "Template not found")
    return known[wanted]


def fields(shown: wire.Shown, audio_url: str) -> dict[str, str]:
    """Name -> text, for all that `wire.recording` says of a recording; lists are JSON.

    Also `audioUrl`, `endTime`, and `custom.NAME` for each field of custom data.
    """
    row = clean(shown.row)
    custom = {f"custom.{name}": value for name, value in row.custom.items()}
    shown_texts = {name: _text(value) for name, value in wire.recording(shown).items()}
    ended = wire.time(row.ended_at) if row.ended_at else ""
    return {**shown_texts, **custom, "audioUrl": audio_url, "endTime": ended}


def render(template: ExportTemplate, fields: Mapping[str, str]) -> bytes:
    """`template` with every placeholder replaced; what is not known is empty.

    Raises Refusal for more than `OUTPUT_OCTETS`, and makes no more than that.
    """
    escape = _escape_for(template.media_type)
    room = OUTPUT_OCTETS

    def value(found: re.Match[str]) -> str:
        nonlocal room
        name, _, notation = found[1].partition("|")
        text = escape(NOTATIONS.get(notation, _nothing)(fields.get(name, "")))
        room -= len(text)
        if room < 0:
            raise _too_large()
        return text

    rendered = _PLACEHOLDER.sub(value, plain(template.text)).encode()
    if len(rendered) > OUTPUT_OCTETS:
        raise _too_large()
    return rendered


def _too_large() -> Refusal:
    return Refusal(FAILURE, "Template output too large")


def _text(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


# notations


def _as_it_is(value: str) -> str:
    return value


def _seconds(value: str) -> str:
    """Milliseconds as whole seconds, rounded down, however many digits there are."""
    if not (value.isascii() and value.isdigit()):
        return ""
    return value[:-3].lstrip("0") or "0"


def _iso(value: str) -> str:
    found = _TIME.fullmatch(value)
    return f"{found[1]}T{found[2]}" if found else ""


def _nothing(_: str) -> str:
    return ""


NOTATIONS: Mapping[str, Callable[[str], str]] = {"": _as_it_is, "sec": _seconds, "iso": _iso}
"""What may follow the name behind `|`."""


# escapes


def _escape_for(media_type: str) -> Callable[[str], str]:
    """How values stand in a text of that type."""
    subtype = media_type.partition("/")[2]
    for escape, marks in ESCAPES.items():
        if any(mark in subtype for mark in marks):
            return escape
    return _printable


def _xml(value: str) -> str:
    return xml.escaped(value, quotes=True)


def _json(value: str) -> str:
    """The inside of a string."""
    return msgspec.json.encode(plain(value)).decode()[1:-1]


def _csv(value: str) -> str:
    """The inside of a quoted cell, of one line, and never a formula."""
    text = _printable(_BREAK.sub(" ", value)).replace('"', '""')
    return f"'{text}" if value.startswith(_FORMULA) else text


def _printable(value: str) -> str:
    return _CONTROL.sub("\ufffd", value)


ESCAPES: Mapping[Callable[[str], str], tuple[str, ...]] = {
    _xml: ("xml", "html"),
    _json: ("json",),
    _csv: ("csv", "separated-values"),
}
"""Escape -> what a subtype has in its name to need it."""

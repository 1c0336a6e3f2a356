"""Text from outside, made fit for a database, an index or a file name.

SIP and XML may bring octets of any charset, and text of any length.
"""

import re
import unicodedata
from hashlib import sha256
from typing import Any
from urllib.parse import unquote

import msgspec

from storage.records import Recording

_UNFIT = re.compile("[\x00\ud800-\udfff]")
"""What UTF-8 cannot carry, and the one character PostgreSQL does not take."""

INDEX_OCTETS = 512
"""Longest value that stands in an index as it is: a PostgreSQL B-tree takes rows of 2,704 octets,
and one row may hold two values."""

FILE_NAME_CHARACTERS = 200
"""Longest file name people may give."""
SAFE_CHARACTERS = 150
"""Longest file name we make; leaves room for a number and an ending."""
_SEPARATORS = re.compile(r"[/\\]")
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9]|lpt[0-9])(\.|$)", re.IGNORECASE)
"""Names that are devices on Windows, with any ending."""
_UNSAFE = re.compile(r"[^\w.@+=,-]+")


def clean(recording: Recording) -> Recording:
    """The same record with every character that cannot be stored replaced by `?`."""
    try:
        # U+0000 stands in JSON as an escape; an escape somebody spelt out is looked at in vain.
        if b"\\u0000" not in msgspec.json.encode(recording):
            return recording
    except UnicodeEncodeError:
        pass
    return msgspec.convert(_clean(msgspec.to_builtins(recording)), Recording)


def plain(text: str) -> str:
    """`text` as it is stored: every lone surrogate and U+0000 replaced by `?`."""
    return _UNFIT.sub("?", text)


def _clean(value: Any) -> Any:
    match value:
        case str():
            return plain(value)
        case list() | tuple():
            return [_clean(item) for item in value]
        case dict():
            return {plain(key): _clean(item) for key, item in value.items()}
    return value


def index_key(text: str) -> str:
    """`text` as it stands in an index: itself up to `INDEX_OCTETS`, else its beginning and digest.

    Two texts have the same key only if they are equal: a key with a digest is longer than any
    without.
    """
    if len(text) * 4 <= INDEX_OCTETS:
        return text
    octets = plain(text).encode()
    if len(octets) <= INDEX_OCTETS:
        return text
    return f"{octets[:INDEX_OCTETS].decode(errors='ignore')} {sha256(octets).hexdigest()}"


def without_scheme(aor: str) -> str:
    """An address of record without a leading `sip:` or `sips:` in any case (RFC 3261 19.1)."""
    scheme, colon, rest = aor.partition(":")
    return rest if colon and scheme.lower() in {"sip", "sips"} else aor


def file_name(text: str) -> str:
    """A file name somebody gave, in NFC. Raises ValueError that says what is wrong with it.

    Refused is whatever a file system, a shell or a browser could take for more than a name.
    """
    name = unicodedata.normalize("NFC", plain(text))
    if name != unicodedata.normalize("NFC", text):
        raise ValueError("a file name holds a character that cannot be stored")
    if fault := _fault(name) or _fault(bared(name)):
        raise ValueError(f"a file name {fault}")
    return name


def _fault(name: str) -> str:
    """What is wrong with a file name, empty if nothing."""
    faults = {
        "must not be empty": not name.strip(),
        f"has at most {FILE_NAME_CHARACTERS} characters": len(name) > FILE_NAME_CHARACTERS,
        "must not hold `/` or `\\`": _SEPARATORS.search(name),
        "must not hold control characters": any(map(_is_control, name)),
        "must not begin with a dot, `-`, `~` or a space": name[:1] in {".", "-", "~", " "},
        "must not end with a dot or a space": name[-1:] in {".", " "},
        "must not be the name of a device": _DEVICE.match(name),
    }
    return next((fault for fault, found in faults.items() if found), "")


def _is_control(character: str) -> bool:
    """Controls, line ends, and what turns the direction of writing or is not seen at all."""
    return unicodedata.category(character) in {"Cc", "Cf", "Zl", "Zp", "Cs", "Co", "Cn"}


def bared(name: str) -> str:
    """What a name looks like without percent-encoding and look-alikes, however often wrapped."""
    while (bare := unquote(unicodedata.normalize("NFKC", name))) != name:
        name = bare
    return name


def safe_file_name(text: str) -> str:
    """A name that `file_name` takes, as like `text` as can be, at most `SAFE_CHARACTERS` long."""
    name = _UNSAFE.sub("_", unicodedata.normalize("NFKC", plain(text)))
    name = unicodedata.normalize("NFC", name)[:SAFE_CHARACTERS].strip(".-~ ")
    return name if name and not _DEVICE.match(name) else f"_{name}"[:SAFE_CHARACTERS]

"""Text from the wire that UTF-8 cannot carry: SIP and XML may bring octets of any charset."""

from typing import Any

import msgspec

from storage.records import Recording


def clean(recording: Recording) -> Recording:
    """The same record with every lone surrogate replaced by `?`, so that it can be stored."""
    try:
        msgspec.json.encode(recording)
    except UnicodeEncodeError:
        return msgspec.convert(_clean(msgspec.to_builtins(recording)), Recording)
    return recording


def plain(text: str) -> str:
    """`text` as it is stored: every lone surrogate replaced by `?`."""
    return text.encode("utf-8", "replace").decode()


def _clean(value: Any) -> Any:
    match value:
        case str():
            return plain(value)
        case list() | tuple():
            return [_clean(item) for item in value]
        case dict():
            return {key: _clean(item) for key, item in value.items()}
    return value

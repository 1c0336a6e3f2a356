"""XML out: one tree of plain values as a document, for dialects that also give it as JSON.

A tree is what `msgspec.json.encode` takes as it is, and the same elements come out of both: a dict
holds elements in their order; a list is an element that holds its items, each a dict of one
element. What the elements mean is the dialect's `wire`; XML that comes in is `siprec.xml`.
"""

import html
import re
from collections.abc import Mapping
from typing import Any

_PROLOG = '<?xml version="1.0" encoding="UTF-8"?>'
_UNFIT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""All that is no Char (XML 1.0, 2.2), not even as a reference."""


def document(tree: Mapping[str, Any]) -> bytes:
    """`tree`, a dict of one element, as XML in UTF-8, without white space between elements.

    Names of elements are taken as they are; values are escaped. An empty text, list or dict is
    `<name/>`, a bool `true` or `false`.
    """
    return f"{_PROLOG}{_elements(tree)}".encode()


def escaped(text: str, *, quotes: bool = False) -> str:
    """`text` as character data; with `quotes` also fit for an attribute.

    What XML cannot carry becomes U+FFFD. A carriage return is written as a reference, or readers
    would take it for a line feed (XML 1.0, 2.11).
    """
    return html.escape(_UNFIT.sub("\ufffd", text), quote=quotes).replace("\r", "&#13;")


def _elements(tree: Mapping[str, Any]) -> str:
    return "".join(_element(name, value) for name, value in tree.items())


def _element(name: str, value: object) -> str:
    content = _content(value)
    return f"<{name}>{content}</{name}>" if content else f"<{name}/>"


def _content(value: object) -> str:
    match value:
        case dict():
            return _elements(value)
        case list():
            return "".join(map(_elements, value))
        case bool():
            return str(value).lower()
    return escaped(str(value))

"""XML out: one tree of plain values as a document, for dialects that also give it as JSON; XML in.

A tree is what `msgspec.json.encode` takes as it is, and the same elements come out of both: a dict
holds elements in their order; a list is an element that holds its items, each a dict of one
element. What the elements mean is the dialect's `wire`. What comes in is a root element of lxml, or
refused: requests are not repaired, unlike what recording clients send (`siprec.xml`).
"""

import html
import re
from collections.abc import Mapping
from typing import Any

from lxml import etree

MAX_BYTES = 64 * 1024
"""A request has about 1 kB."""
MAX_ELEMENTS = 2048
"""On all levels, which are 256 at most (libxml2)."""

_PROLOG = '<?xml version="1.0" encoding="UTF-8"?>'
_UNFIT = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""All that is no Char (XML 1.0, 2.2), not even as a reference."""


class XmlError(Exception):
    """Octets that are not XML, or XML that is refused; the text is fit for the one who sent it."""


def read(octets: bytes, most: int = MAX_BYTES) -> etree._Element:
    """The root element of a document in UTF-8, without comments and processing instructions.

    Nothing is fetched and nothing expanded. Raises XmlError for more than `most` bytes or
    `MAX_ELEMENTS`, another encoding, a document type declaration, and what is not well-formed.
    """
    if len(octets) > most:
        raise XmlError(f"{len(octets)} bytes, at most {most}")
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise XmlError("not in UTF-8") from None
    if "<!DOCTYPE" in text:
        raise XmlError("a document type declaration")
    try:
        root = etree.fromstring(text.encode(), _parser())
    except (etree.XMLSyntaxError, ValueError) as error:
        raise XmlError(f"not well-formed: {error}") from None
    if sum(1 for _ in root.iter()) > MAX_ELEMENTS:
        raise XmlError(f"more than {MAX_ELEMENTS} elements")
    return root


def _parser() -> etree.XMLParser:
    """Of its own for each document. It reads UTF-8, whatever the declaration says."""
    return etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )


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

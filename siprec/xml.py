"""XML from peers: bytes in any of the usual encodings, repaired where it can be, never trusted.

No entity, document type, network or unlimited tree. What the elements mean is `siprec.rs_metadata`.
"""

import codecs
import re

from lxml import etree

MAX_BYTES = 262_144
"""A recording metadata document of several hundred participants; that of a plain call has 3 kB."""
MAX_ELEMENTS = 2048
"""Elements on all levels; that call has 35, a conference some eight for each participant."""
MAX_AMPERSANDS = 1024
"""In a document that is to be repaired; each bare one costs an error report."""
ENCODINGS = frozenset({"utf-8", "us-ascii", "iso-8859-1", "windows-1252"})
"""What a name may stand for; UTF-16 is known by its byte order mark."""

_DECLARED = re.compile(rb"""\s*<\?xml[^>]{0,80}?encoding\s*=\s*["']([\w.:-]{1,40})""")
_BARE_AMPERSAND = re.compile(r"&(?!#\d{1,7};|#x[0-9A-Fa-f]{1,6};|(?:amp|lt|gt|quot|apos);)")


class XmlError(Exception):
    """Bytes that are not XML, or XML that is refused."""


def read(data: bytes, charset: str | None = None) -> tuple[etree._Element, tuple[str, ...]]:
    """Return the root element and reason codes of what had to be put right.

    `charset` is that of the MIME part and goes before the XML declaration (RFC 7303 3); what does
    not decode is read as Latin-1, `charset_invalid`. Unescaped `&` is repaired, other damage
    recovered from as far as it goes, both `metadata_recovered`. Raises `XmlError` for more than
    `MAX_BYTES` or `MAX_ELEMENTS`, any document type declaration, and what yields no element.
    """
    if len(data) > MAX_BYTES:
        raise XmlError(f"XML of {len(data)} bytes, at most {MAX_BYTES}")
    text, encoding_warnings = _decoded(data, charset)
    text = text.strip("\ufeff \t\r\n\0")
    if "<!DOCTYPE" in text:
        raise XmlError("XML with a document type declaration")
    repairs: tuple[str, ...] = ()
    try:
        root = etree.fromstring(text.encode(), _parser())
    except etree.XMLSyntaxError as error:
        root, repairs = _recovered(text, error), ("metadata_recovered",)
    if sum(1 for _ in root.iter()) > MAX_ELEMENTS:
        raise XmlError(f"XML of more than {MAX_ELEMENTS} elements")
    return root, (*encoding_warnings, *repairs)


def _parser(recover: bool = False) -> etree.XMLParser:
    return etree.XMLParser(
        encoding="utf-8",
        recover=recover,
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )


def _recovered(text: str, cause: etree.XMLSyntaxError) -> etree._Element:
    if text.count("&") > MAX_AMPERSANDS:
        raise XmlError(f"broken XML with more than {MAX_AMPERSANDS} ampersands") from cause
    escaped = _BARE_AMPERSAND.sub("&amp;", text).encode()
    try:
        root = etree.fromstring(escaped, _parser(recover=True))
    except etree.XMLSyntaxError:
        root = None
    if root is None:
        raise XmlError(f"not XML: {cause}") from cause
    return root


def _decoded(data: bytes, charset: str | None) -> tuple[str, tuple[str, ...]]:
    for index, name in enumerate(_encodings(data, charset)):
        try:
            return data.decode(name), ("charset_invalid",) if index else ()
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1"), ("charset_invalid",)


def _encodings(data: bytes, charset: str | None) -> list[str]:
    """What to try, in order: a byte order mark proves more than any name."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return ["utf-16"]
    if data.lstrip().startswith(codecs.BOM_UTF8):
        return ["utf-8"]
    declared = _DECLARED.match(data)
    names = [charset or "", declared[1].decode("ascii") if declared else ""]
    known = [name.lower() for name in names if name.lower() in ENCODINGS]
    return [*known[:1], "utf-8"]

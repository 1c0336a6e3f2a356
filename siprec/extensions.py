"""Extension data of recording metadata: XML elements in, names with their values out.

RFC 7865 section 9 lets clients add elements of other namespaces anywhere; drafts gathered them in
`extensiondata`, and many clients still do. Nobody but the client knows what they mean, so they are
kept as written: each leaf with text is one value of the name it bears. Counterpart of
`siprec.rs_metadata`, which reads what the RFC itself defines.
"""

from collections.abc import Iterable
from functools import lru_cache

from lxml import etree

from storage.records import Extension

CONTAINERS = frozenset(
    {
        "extensiondata",  # drafts, Oracle, Ribbon
        "extensionparameters",  # Telnyx
        "metaswitchrecordingmetadata",
        "broadworksrecordingmetadata",
        "calldata",  # Ribbon
    }
)
"""Elements that hold extension data even in a namespace of the RFC; lower case."""

VERSION = "schemaVersion"
_VERSIONS = frozenset({"version", "schemaversion"})
"""Attributes of a container that say of which version its content is; lower case."""

MAX_NAMES = 64
"""Names kept of one element; Oracle writes about ten."""
MAX_VALUES = 32
"""Values kept of one name; a SIP header may be there as often as it was in the INVITE."""
MAX_NAME = 128
MAX_VALUE = 1024
"""Characters kept of a value."""


def read(elements: Iterable[etree._Element]) -> tuple[tuple[Extension, ...], bool]:
    """Return what is in `elements`, in document order, and whether more was there than is kept.

    A name is prefix, colon and local name as written, `apkt:realm`; of a SIP header,
    `<apkt:header label="X"><value>…`, it is the label. Repeated names add values. The version that
    a container says its content is of goes under `VERSION`.
    """
    found: dict[str, list[str]] = {}
    excess = False
    for element in elements:
        for leaf in element.iter("*"):
            if not len(leaf) and (value := (leaf.text or "").strip()):
                excess |= not _kept(found, _name(leaf), value)
            elif version := _version(leaf):
                excess |= not _kept(found, VERSION, version)
    return tuple([Extension(name, tuple(values)) for name, values in found.items()]), excess


def _kept(found: dict[str, list[str]], name: str, value: str) -> bool:
    """Add a value; False if not all of it was added."""
    cut = name[:MAX_NAME]
    if cut not in found and len(found) >= MAX_NAMES:
        return False
    values = found.setdefault(cut, [])
    if len(values) >= MAX_VALUES:
        return False
    values.append(value[:MAX_VALUE])
    return len(name) <= MAX_NAME and len(value) <= MAX_VALUE


def _version(element: etree._Element) -> str:
    """What a container states as its version; nothing of other elements."""
    if _split(element.tag)[1] not in CONTAINERS:
        return ""
    stated = (str(value) for name, value in element.items() if _split(str(name))[1] in _VERSIONS)
    return next(stated, "").strip()


def _name(leaf: etree._Element) -> str:
    local, kind = _split(leaf.tag)
    header = leaf.getparent() if kind == "value" else leaf
    if header is not None and _split(header.tag)[1] == "header":
        label = (header.get("label") or "").strip()
        if label:
            return label
    return f"{leaf.prefix}:{local}" if leaf.prefix else local


@lru_cache(maxsize=1024)
def _split(tag: str) -> tuple[str, str]:
    """The local name as written, and bare: a prefix that nothing declares, in a document that was
    repaired, is part of the local name."""
    local = tag.rpartition("}")[2]
    return local, local.rpartition(":")[2].lower()

"""The XML of the interface: a request out of octets, and answers, bare or in a SOAP 1.1 envelope.

Pure. A request is `<Request Operation="…">` with properties by name; what is not known in it is
passed over, as are namespaces. SOAP 1.1 is the W3C note of 8 May 2000.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from lxml import etree

from api import xml
from api.xml import escaped

MEDIA_TYPE = "text/xml"
SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
SETTINGS = "APICommunicationSettings"
"""The container of how the recorder is reached."""

_PROLOG = '<?xml version="1.0" encoding="UTF-8"?>'
_UNDERSTAND = f"{{{SOAP}}}mustUnderstand"


class BrokenEnvelope(Exception):
    """A SOAP envelope without a request in it; `code`: what a fault calls that."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Request:
    """One request; what it does not have is empty."""

    is_soap: bool = False
    operation: str = ""
    invoke_id: str = ""
    session_id: str = ""
    offset: str = ""
    limit: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)
    """Of the payload; of those of one name the last."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Of the container `SETTINGS`."""


def read(octets: bytes) -> Request:
    """The request in a document. Raises XmlError, BrokenEnvelope.

    XML that is no request has no operation.
    """
    root = xml.read(octets)
    if _name(root) != "Envelope":
        return _request(root, is_soap=False)
    if etree.QName(root).namespace != SOAP:
        raise BrokenEnvelope("VersionMismatch", "This is no envelope of SOAP 1.1.")
    return _request(_in_envelope(root), is_soap=True)


def _in_envelope(envelope: etree._Element) -> etree._Element:
    for header in envelope.findall(f"{{{SOAP}}}Header/*"):
        if header.get(_UNDERSTAND, "0").strip() in {"1", "true"}:
            raise BrokenEnvelope("MustUnderstand", "No header is understood here.")
    bodies = envelope.findall(f"{{{SOAP}}}Body")
    if len(bodies) != 1 or len(bodies[0]) != 1:
        raise BrokenEnvelope("Client", "The envelope needs one body with one request in it.")
    return bodies[0][0]


def _request(root: etree._Element, *, is_soap: bool) -> Request:
    if _name(root) != "Request":
        return Request(is_soap)
    children = {_name(child): child for child in root}
    payload = children.get("OperationPayload", ())
    settings: Mapping[str, str] = {}
    for child in payload:
        if (_name(child), child.get("Name")) == ("Container", SETTINGS):
            settings = dict(_properties(child))
    return Request(
        is_soap,
        operation=root.get("Operation", "").strip(),
        invoke_id=_text(children.get("InvokeID")),
        session_id=_text(children.get("SessionID")),
        offset=_text(children.get("Offset")),
        limit=_text(children.get("Limit")),
        properties=dict(_properties(payload)),
        settings=settings,
    )


def _properties(parent: Iterable[etree._Element]) -> Iterator[tuple[str, str]]:
    for child in parent:
        if _name(child) == "Property":
            yield child.get("Name", ""), _text(child)


def _name(element: etree._Element) -> str:
    return etree.QName(element).localname


def _text(element: etree._Element | None) -> str:
    return "" if element is None else "".join(map(str, element.itertext())).strip()


def one(name: str, value: object) -> str:
    """A property."""
    return _element("Property", escaped(str(value)), name)


def container(content: str, name: str = "") -> str:
    """A container of properties."""
    return _element("Container", content, name)


def success(invoke_id: str, content: str | None = None) -> str:
    """The answer to a request that was carried out; `content` None: without data."""
    data = "" if content is None else _element("Success", content)
    return _response("Success", invoke_id, data)


def failure(invoke_id: str, code: int, message: str) -> str:
    """The answer to a request that was not."""
    detail = _element("ErrorCode", str(code)) + _element("ErrorMessage", escaped(message))
    return _response("Fail", invoke_id, _element("Fail", detail))


def fault(code: str, text: str) -> str:
    """What is said of a broken envelope (SOAP 1.1 section 4.4)."""
    detail = _element("faultcode", f"soap:{code}") + _element("faultstring", escaped(text))
    return _element("soap:Fault", detail)


def document(content: str, *, is_soap: bool) -> bytes:
    """An answer as it is sent."""
    if is_soap:
        body = _element("soap:Body", content)
        content = f'<soap:Envelope xmlns:soap="{SOAP}">{body}</soap:Envelope>'
    return f"{_PROLOG}{content}".encode()


def _response(result: str, invoke_id: str, content: str) -> str:
    echoed = _element("InvokeID", escaped(invoke_id))
    return f'<Response Result="{result}">{echoed}{content}</Response>'


def _element(tag: str, content: str, name: str = "") -> str:
    head = f'{tag} Name="{escaped(name, quotes=True)}"' if name else tag
    return f"<{head}>{content}</{tag}>" if content else f"<{head}/>"

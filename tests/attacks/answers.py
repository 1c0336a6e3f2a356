"""What is a proper answer in each dialect: its form is looked at, and its code found."""

from collections.abc import Callable, Mapping
from http import HTTPStatus

from lxml import etree

from tests.api.oracle_face.desk import Said as FaceSaid
from tests.attacks.face import code_of
from tests.attacks.market import Said
from tests.attacks.routes import AKIXI, AN, APIO, FACE, HUB, IMAGICLE, NATIVE, TOKEN, Row

PROBLEM = "application/problem+json"
JSON = "application/json"


def brief(row: Row, said: Said, method: str = "") -> str:
    """Status, and the dialect's own code after a slash if it says one."""
    if (method or row.method) == "HEAD":
        assert not said.body
        return str(said.status)
    code = _CODES[row.dialect](row, said)
    return f"{said.status}/{code}" if code else str(said.status)


def _type(said: Said) -> str:
    return said.headers.get("Content-Type", "")


def _native(row: Row, said: Said) -> str:
    if said.status >= 400:
        assert _type(said) == PROBLEM, said
        members = said.tree
        assert [*members][:5] == ["title", "status", "detail", "instance", "type"], said
        assert members["status"] == said.status
        assert members["title"] == HTTPStatus(said.status).phrase
    elif said.body and "media" not in row.path and "audio" not in row.path:
        assert _type(said).startswith((JSON, "text/plain")), said
    return ""


def _face(_: Row, said: Said) -> str:
    if said.status in {206, 302} or _type(said) in {"audio/wav", "audio/mpeg", "video/mp4"}:
        return ""
    return str(code_of(FaceSaid(said.status, said.headers, said.body)))


def _anywherenow(_: Row, said: Said) -> str:
    if said.status in {401, 403, 429}:
        assert not said.body, said
        return ""
    assert _type(said) == "application/json; charset=utf-8", said
    error = said.tree["ErrorMessage"]
    if error is None:
        return ""
    assert [*error] == ["ErrorType", "Message"] and error["Message"], said
    return str(error["ErrorType"])


def _hub(_: Row, said: Said) -> str:
    if said.status == 200:
        assert not said.body or _type(said) == "application/json; charset=utf-8", said
    else:
        assert not said.body or _type(said) == "text/plain; charset=utf-8", said
    return ""


def _token(_: Row, said: Said) -> str:
    assert _type(said) == JSON, said
    if said.status == 200:
        return ""
    assert [*said.tree] == ["error", "error_description"], said
    return str(said.tree["error"]).removeprefix("invalid_")


def _imagicle(_: Row, said: Said) -> str:
    if not said.body:
        return ""
    if said.status < 300:
        return ""
    assert _type(said) == JSON, said
    assert type(said.tree["reason"]) is int
    return str(said.tree["reason"])


def _apio(_: Row, said: Said) -> str:
    assert _type(said) == JSON, said
    members = said.tree
    if said.status == 200:
        return ""
    if "details" in members:
        assert [*members] == ["details"] and members["details"], said
        return ""
    ((code, name, details),) = (each.values() for each in members["errors"])
    assert name and details
    return str(code)


def _akixi(row: Row, said: Said) -> str:
    if row.path.startswith("/v1"):
        assert _type(said) == JSON, said
        return str(said.tree.get("ErrorCode", ""))
    assert _type(said) == "text/xml; charset=utf-8", said
    root = etree.fromstring(said.body)
    if root.tag != "Response":
        return root.findtext(".//faultcode") or "no fault"
    if root.get("Result") == "Success":
        return ""
    assert root.findtext("Fail/ErrorMessage"), said
    return root.findtext("Fail/ErrorCode") or "no code"


_CODES: Mapping[str, Callable[[Row, Said], str]] = {
    NATIVE: _native,
    FACE: _face,
    AN: _anywherenow,
    HUB: _hub,
    TOKEN: _token,
    IMAGICLE: _imagicle,
    APIO: _apio,
    AKIXI: _akixi,
}

"""Any request to FACE at all: it is answered in FACE's own words, and never by a failure."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.oracle_face.asking import FORM
from config.dialects import Face
from tests.api.oracle_face.desk import PASSWORD, Said, open_desk
from tests.attacks.face import CODES, HEADERS, ISR, JSON, XML, Shop, code_of, shop
from tests.attacks.lists import NAMES, SQL

_COMMANDS = (
    *("details", "delete", "download", "redirect", "start", "stop", "pause", "resume", "split"),
    *("segment/details", "segment/download", "segment/redirect"),
)
PATHS = (
    *("login", "version", "eventNotify", "StartScreenCapture", "StopScreenCapture"),
    *("file/download", "Recordings/of-the-shop.wav", "Recordings/2026-11-22/14/05/of-the-shop.wav"),
    *("audioRecording", "audioRecording/"),
    *(f"audioRecording/{command}" for command in _COMMANDS),
)
METHODS = ("GET", "POST", "DELETE", "HEAD", "PUT", "PATCH", "OPTIONS", "TRACE", "PROPFIND")
ACCEPTED = ("", "*/*", "application/json", "application/xml", "text/html;q=0.5", "audio/mpeg")
VALUES: Mapping[str, tuple[str, ...]] = {
    "isrUcid": ("ucid-of-the-shop", "stored-of-the-shop"),
    "ingressCallId": ("call-of-the-shop",),
    "ani": ("of-the-shop",),
    "from": ("of-the-shop",),
    "to": ("8675309",),
    "filename": ("of-the-shop.wav", "of-the-shop.mp4"),
    "start": ("2026-11-22T14:05:06", "2026-11-22 14:05:06.789"),
    "earliestStart": ("0001-01-01T00:00:00", "2026-11-22T00:00:00"),
    "latestStart": ("9999-12-31T23:59:59", "9999-12-31 23:59:59.999"),
    "aor": ("sip:of-the-shop@soh.net", "of-the-shop@soh.net"),
    "recordingId": ("1", "2", "2147483647"),
    "tmpRecordingId": ("1", "2"),
    "segmentId": ("1",),
    "channelNumber": ("0", "30000"),
    "rssId": ("1",),
    "otherName": ("x",),
    "apkt:realm": ("x",),
    "thirdpartyId": ("third-of-the-shop",),
    "audioOnly": ("true", "false"),
    "mustHaveVideo": ("true", "false"),
    "format": ("template",),
    "formatName": ("verint", "Verint"),
    "version": ("1", "2"),
    "maxListLength": ("1", "1000"),
    "fillWithSilence": ("true", "false"),
    "codecProfile": ("1", "5"),
    "ticket": ("r1.1.x", "r1"),
    "supplementalFileId": ("1001", "2001"),
    "type": ("video",),
    "event": ("AudioRecordingStarted", "AudioRecordingEnded"),
    "ucid": ("ucid-of-the-shop",),
    "calledAors": ("sip:x@192.0.2.1,sip:y@192.0.2.2",),
    "IsrId": ("ucid-of-the-shop",),
    "AgentId": ("7",),
    "ScreenIP": ("192.0.2.1",),
}
FIELDS = (
    *("filename", "agentId", "agentTerminal", "sensitive", "setNeverExpire", "otherName"),
    *("duration", "userEmail", "password", "expirationSeconds"),
)


@dataclass(frozen=True, slots=True)
class Request:
    """One request below /Face."""

    method: str
    path: str
    query: str
    """As it is sent, without the token."""
    token: str
    """`right`, `wrong` or empty."""
    headers: Mapping[str, str]
    body: bytes


def texts() -> st.SearchStrategy[str]:
    """Any text, and what is known to hurt."""
    return st.text(max_size=20) | st.sampled_from((*NAMES, *SQL, "", "true", "1", "0", "\0"))


def encoded() -> st.SearchStrategy[str]:
    """Octets of a URL, some of which are no text."""
    whole = texts().map(lambda text: quote(text.encode("utf-8", "surrogatepass"), safe=""))
    return whole | st.binary(max_size=6).map(lambda octets: quote(octets, safe=""))


@st.composite
def queries(draw: st.DrawFn) -> str:
    """Up to four parameters; most are known, and half of the values such as could be."""
    pairs = []
    for _ in range(draw(st.integers(0, 4))):
        name = draw(st.sampled_from(tuple(VALUES)) | encoded())
        likely = VALUES.get(name, ("x",))
        right = st.sampled_from(likely).map(lambda text: quote(text, safe=""))
        pairs.append(f"{name}={draw(right | encoded())}")
    return "&".join(pairs)


@st.composite
def forms(draw: st.DrawFn) -> bytes:
    """Up to four fields."""
    names = st.sampled_from(FIELDS) | texts()
    values = texts() | st.sampled_from((ISR, PASSWORD, "true", "0", "60", "new.wav"))
    pairs = draw(st.lists(st.tuples(names, values), max_size=4))
    return urlencode(pairs, errors="surrogatepass").encode()


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """Half of them sensible."""
    types = st.sampled_from((FORM, FORM, FORM, "application/json", "x/y", ""))
    return Request(
        draw(st.sampled_from((*METHODS[:3], *METHODS[:3], *METHODS))),
        draw(st.sampled_from(PATHS) | st.sampled_from(PATHS) | st.sampled_from(PATHS) | encoded()),
        draw(queries()),
        draw(st.sampled_from(("right", "right", "right", "wrong", ""))),
        {"Accept": draw(st.sampled_from(ACCEPTED)), "Content-Type": draw(types)}
        | draw(st.sampled_from(({}, {"Range": "bytes=0-9"}, {"Range": "bytes=900-"}))),
        draw(forms() | forms() | st.binary(max_size=50)),
    )


def judge(request: Request, said: Said) -> None:
    """What is true of each answer."""
    assert said.status in {200, 206, 302, 401, 404, 405, 408, 413, 415, 416, 429}, said.text
    assert {name: said.headers.get(name) for name in HEADERS} == HEADERS
    kind = said.headers.get("Content-Type", "")
    if kind in {"audio/wav", "audio/mpeg", "video/mp4"}:
        assert said.status in {200, 206} and "attachment" in said.headers["Content-Disposition"]
    elif said.status == 302:
        assert said.headers["Location"].startswith("/Face/Recordings/") and not said.body
    elif kind == "application/xml" and request.path.endswith("details"):
        assert said.body.startswith(b"<Call ") or request.method == "HEAD"
    elif request.method == "HEAD":
        assert kind in {XML, JSON} and not said.body
    else:
        assert code_of(said) in CODES
        wants_json = request.headers["Accept"] == "application/json"
        assert (kind == JSON) is wants_json


async def send(there: Shop, request: Request) -> None:
    """One request, and what it must be answered by; a token is never said again."""
    desk = there.desk
    token = {"right": await desk.token(), "wrong": "wrong-token", "": ""}[request.token]
    query = "&".join(filter(None, (request.query, f"token={token}" if token else "")))
    body = request.body if request.method in {"POST", "PUT", "PATCH", "DELETE"} else b""
    said = await desk.ask(
        request.method,
        request.path,
        None,
        headers=request.headers,
        body=body,
        query=f"?{query}" if query else "",
    )
    judge(request, said)
    if request.token:
        assert token.encode() not in said.body
        assert token not in str(said.headers)


@pytest.fixture(params=["6.1", "6.4"])
async def there(
    tmp_path: Path, migrated: Path, request: pytest.FixtureRequest
) -> AsyncIterator[Shop]:
    """A shop with a live call and a recording, in both releases."""
    async with open_desk(tmp_path, migrated, Face(release=request.param)) as desk:
        yield await shop(desk)


LOOSE = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@settings(LOOSE, max_examples=200)
@given(request=requests())
async def test_any_request_is_answered(there: Shop, request: Request) -> None:
    await send(there, request)


@pytest.mark.slow
@settings(LOOSE, max_examples=5000)
@given(request=requests())
async def test_very_many_requests_are_answered(there: Shop, request: Request) -> None:
    await send(there, request)


async def test_the_judge_sees_what_is_wrong(there: Shop) -> None:
    """What it lets pass, it has looked at."""
    request = Request("GET", "version", "", "", {"Accept": ""}, b"")
    said = await there.desk.get("version", None)
    judge(request, said)
    headers = {name: text for name, text in said.headers.items() if name != "Cache-Control"}
    for wrong in (
        Said(500, said.headers, said.body),
        Said(200, headers, said.body),
        Said(200, said.headers, b"<result><code>99</code><message>x</message></result>"),
        Said(200, said.headers, b"<problem/>"),
        Said(200, {**said.headers, "Content-Type": JSON}, said.body),
        Said(200, {**said.headers, "Content-Type": "text/html"}, said.body),
    ):
        with pytest.raises((AssertionError, ValueError)):
            judge(request, wrong)

"""Bodies that blow up, are endless, slow or mean two things: nothing is done, and FACE goes on."""

import asyncio
import gzip
import resource
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from lxml import etree
from structlog.testing import capture_logs

from api.listener import Limits
from api.oracle_face.asking import FORM
from config.dialects import Face
from tests.api.oracle_face.desk import Desk, open_desk
from tests.api.wires import exchange
from tests.attacks.face import CONTROL, DETAILS, code_of, move
from tests.attacks.lists import bodies

ZEROS = bytes(50_000_000)
MOST_MEMORY_KIB = 30_000
"""Less than any of the bombs holds."""
FORMS: dict[str, tuple[bytes, dict[str, str], int]] = {
    "100,000 fields": (b"agentId=1&" * 100_000, {}, 413),
    "30,000 fields": (b"a&" * 30_000, {}, 200),
    "1,001 fields": (b"&".join(b"a%d=1" % n for n in range(1_001)), {}, 200),
    "1 MB": (b"agentId=" + b"x" * 1_000_000, {}, 413),
    "60 kB in one field": (b"agentId=" + b"x" * 60_000, {}, 200),
    "60 kB of a name": (b"filename=" + b"%25" * 20_000, {}, 200),
    "gzip bomb": (gzip.compress(ZEROS, 9), {"Content-Encoding": "gzip"}, 415),
    "deflate bomb": (zlib.compress(ZEROS, 9), {"Content-Encoding": "deflate"}, 415),
    "br by name": (b"\xcf\xff\xff\x7f\xf8'\x00\xe2\xb1@\x1e", {"Content-Encoding": "br"}, 415),
    "zstd by name": (b"\x28\xb5\x2f\xfd", {"Content-Encoding": "zstd"}, 415),
    "two codings": (b"agentId=1", {"Content-Encoding": "gzip, identity"}, 415),
    "not UTF-8": (b"agentId=%ff", {}, 200),
    "not UTF-8, unescaped": (b"agentId=\xff", {}, 200),
    "overlong": (b"filename=%c0%ae%c0%ae/x", {}, 200),
    "half a surrogate": (b"agentId=%ed%a0%80", {}, 200),
    "UTF-16": ("agentId=1".encode("utf-16"), {}, 200),
    "multipart": (b"--x--\r\n", {"Content-Type": "multipart/form-data; boundary=x"}, 415),
    "two types": (b"agentId=1", {"Content-Type": f"{FORM}, text/plain"}, 415),
    "no type": (b"agentId=1", {"Content-Type": "x"}, 415),
}
"""What it is -> octets, headers, status of the refusal."""
PAUSE = CONTROL[2]


@pytest.fixture
async def desk(tmp_path: Path, migrated: Path) -> AsyncIterator[Desk]:
    """FACE with two tenants, and little patience."""
    limits = Limits(body_s=0.5, head_s=5.0)
    async with open_desk(tmp_path, migrated, limits=limits) as opened:
        yield opened


def memory_kib() -> int:
    """The most this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


async def test_a_form_nobody_can_mean_is_refused_and_nothing_done(desk: Desk) -> None:
    live, before = await desk.call(ucid="U1"), memory_kib()
    await desk.token()
    for what, (body, more, status) in FORMS.items():
        headers = {"Content-Type": FORM, **more}
        for path, who in (("login", None), (PAUSE, "isr@shop.example"), (DETAILS, None)):
            query = {"isrUcid": "U1"} if who else {}
            with capture_logs() as lines:
                said = await desk.post(path, who, body=body, headers=headers, **query)
            code, missing = code_of(said), path == DETAILS
            expected = {(200, 27)} if missing else {(status, -1), (200, 27)}
            assert (said.status, code) in expected, (what, path, said.text)
            assert len(said.body) < 300, what
            assert [line["event"] for line in lines] == ["face_refused", "request"], what
        assert live.state == "recording" and not live.pauses, what
    assert (await desk.post(PAUSE, isrUcid="U1")).code == 0
    assert memory_kib() - before < MOST_MEMORY_KIB


async def test_other_bodies_are_no_forms(desk: Desk) -> None:
    live = await desk.call(ucid="U1")
    for what, body, headers in bodies():
        if headers["Content-Type"] != FORM:
            said = await desk.post(PAUSE, isrUcid="U1", body=body, headers=headers)
            assert said.status in {413, 415} and code_of(said) == -1, what
            assert live.state == "recording"
    assert code_of(await desk.post(PAUSE, isrUcid="U1")) == 0


async def raw(desk: Desk, path: str, headers: str, body: bytes) -> tuple[int, int]:
    """Status and code of the answer to a POST whose body stays as it is."""
    token = await desk.token()
    head = (
        f"POST /Face/{path}?token={token}&isrUcid=U1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Content-Type: {FORM}\r\n{headers}\r\n\r\n"
    )
    answer = await exchange(desk.node.server.address, head.encode() + body)
    start, _, rest = answer.partition(b"\r\n")
    content = rest.partition(b"\r\n\r\n")[2]
    return int(start.split()[1]), int(etree.fromstring(content).findtext("code", ""))


async def test_a_slow_body_is_given_up_and_nothing_done(desk: Desk) -> None:
    live = await desk.call(ucid="U1")
    await desk.token()
    async with asyncio.TaskGroup() as group:
        slow = [
            group.create_task(raw(desk, path, headers, body), name="slow")
            for path in CONTROL
            for headers, body in (
                ("Content-Length: 20", b""),
                ("Content-Length: 20", b"agentId=1"),
                ("Transfer-Encoding: chunked", b""),
                ("Transfer-Encoding: chunked", b"9\r\nagentId=1\r\n"),
            )
        ]
    assert {each.result() for each in slow} == {(408, -1)}
    assert live.state == "recording" and not live.pauses and live.segments == 1
    assert live.recording and live.recording.agent_id == ""
    whole = ("Content-Length: 9", b"agentId=1")
    assert await raw(desk, PAUSE, *whole) == (200, 0)
    assert live.state == "paused"


async def test_many_slow_bodies_keep_nobody_from_pausing(desk: Desk) -> None:
    live = await desk.call(ucid="U1")
    await desk.token()
    async with asyncio.TaskGroup() as group:
        slow = [
            group.create_task(raw(desk, CONTROL[1], "Content-Length: 20", b"agentId"), name="slow")
            for _ in range(100)
        ]
        assert (await desk.post(PAUSE, isrUcid="U1")).code == 0
        assert live.state == "paused"
    assert {each.result() for each in slow} == {(408, -1)}
    assert live.state == "paused" and live.segments == 1


async def test_who_goes_away_half_way_does_nothing(desk: Desk) -> None:
    live, token = await desk.call(ucid="U1"), await desk.token()
    head = (
        f"POST /Face/{PAUSE}?token={token}&isrUcid=U1 HTTP/1.1\r\nHost: x\r\n"
        f"Content-Type: {FORM}\r\nContent-Length: 20\r\n\r\nagentId"
    )
    for _ in range(20):
        _, writer = await asyncio.open_connection(*desk.node.server.address)
        writer.write(head.encode())
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    assert code_of(await desk.get(DETAILS, isrUcid="U1")) == 0
    assert live.state == "recording"


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Client-IP"])
async def test_a_host_is_who_is_connected(tmp_path: Path, migrated: Path, header: str) -> None:
    """Neither the allow list nor the one of machines believes what a stranger says."""
    face = Face(allow=["127.0.0.2/32", "10.0.0.0/8"], allow_events=["10.0.0.0/8"])
    async with open_desk(tmp_path, migrated, face) as desk:
        for text in ("10.0.0.1", "127.0.0.2", "for=10.0.0.1", "10.0.0.1, 127.0.0.1", "::1"):
            headers = {header: text}
            for path in ("version", DETAILS, "eventNotify"):
                said = await desk.get(path, None, headers=headers, event="x")
                assert (said.status, code_of(said)) == (200, 2), (header, text)
        move(desk, "127.0.0.2")
        said = await desk.get("eventNotify", None, headers={header: "10.0.0.1"}, event="x")
        assert code_of(said) == 2, "a machine is no other one by what it says"
        assert code_of(await desk.get("version", None)) == 0

"""Bodies: their type, size and time, for orders and for forms."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from pathlib import Path

from api.listener import Limits
from tests.api.anywherenow.desk import PREFIX, V1, Desk, open_desk

ORDER = b'{"Action":1}'
UNSUPPORTED = (
    b'{"ErrorMessage":{"ErrorType":2,"Message":'
    b'"The request body must be application/json in UTF-8."}}'
)
TYPES = {
    "application/json": 200,
    "Application/JSON; charset=UTF-8": 200,
    "application/json;charset=us-ascii": 200,
    'application/json; charset="utf8"': 200,
    "text/json": 200,
    "application/json; charset=utf-16": 415,
    "application/x-www-form-urlencoded": 415,
    "text/plain": 415,
    "application/xml": 415,
    "application/problem+json": 415,
    "json": 415,
    "": 415,
}


async def test_types_of_bodies(idle_desk: Desk) -> None:
    for content_type, status in TYPES.items():
        said = await idle_desk.post(ORDER, content_type=content_type)
        assert said.status == status, content_type
        assert (said.body == UNSUPPORTED) is (status == 415)


async def test_no_body_and_packed_bodies(idle_desk: Desk) -> None:
    headers = {"Content-Type": "application/json"}
    said = await idle_desk.ask("POST", f"{V1}/set", headers=headers)
    assert said.status == 400
    packed = {**headers, "Content-Encoding": "gzip"}
    said = await idle_desk.ask("POST", f"{V1}/set", body=gzip.compress(ORDER), headers=packed)
    assert (said.status, said.body) == (415, UNSUPPORTED)


async def in_chunks(body: bytes) -> AsyncIterator[bytes]:
    yield body


async def test_bodies_that_are_too_large(idle_desk: Desk) -> None:
    body = b'{"Action":"' + bytes(70_000)
    token = await idle_desk.token("pay@shop.example")
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    url = f"{idle_desk.node.server.url}{V1}/set"
    for data in (body, in_chunks(body)):
        async with idle_desk.http.post(url, data=data, headers=headers) as response:
            text = await response.text()
        assert response.status == 413
        assert text == '{"ErrorMessage":{"ErrorType":2,"Message":"The request body is too large."}}'


LATE = '{"ErrorMessage":{"ErrorType":2,"Message":"The request body did not arrive in time."}}'


async def test_bodies_that_do_not_come(tmp_path: Path, migrated: Path) -> None:
    limits = Limits(body_s=0.1)
    async with open_desk(tmp_path, migrated, is_idle=True, limits=limits) as desk:
        token = await desk.token("pay@shop.example")
        for path, kind, text in (
            (f"{V1}/set", "application/json", LATE),
            (
                f"{PREFIX}/auth/realms/a/protocol/openid-connect/token",
                "application/x-www-form-urlencoded",
                '{"error":"invalid_request","error_description":'
                '"The request body did not arrive in time."}',
            ),
        ):
            reader, writer = await asyncio.open_connection(*desk.node.server.address)
            head = (
                f"POST {path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n"
                f"Content-Type: {kind}\r\nContent-Length: 10\r\n\r\n{{"
            )
            writer.write(head.encode())
            said = (await reader.read()).decode()
            writer.close()
            assert said.startswith("HTTP/1.1 408 ")
            assert said.endswith(text)

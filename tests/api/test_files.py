"""Stored files over HTTP: ranges, conditions, what happens when they go."""

import hashlib
from urllib.parse import unquote

import pytest
from aiohttp import ClientSession
from hypothesis import given, settings
from hypothesis import strategies as st

from api.files import CHUNK_BYTES, attachment, requested_range
from api.problem import ApiError
from tests.api.node import Node

DATA = bytes(range(256))
TAG = f'"{hashlib.sha256(DATA).hexdigest()}"'
URL = "/srs/v1/recordings/r1/media"


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("bytes=0-0", range(1)),
        ("bytes=0-9", range(10)),
        ("bytes=10-", range(10, 256)),
        ("bytes=250-999", range(250, 256)),
        ("bytes=-6", range(250, 256)),
        ("bytes=-999", range(256)),
        (None, None),
        ("", None),
        ("bytes=-", None),
        ("bytes=5-4", None),
        ("bytes=0-1,4-5", None),
        ("bytes=a-b", None),
        ("octets=0-1", None),
        ("bytes=٣-٤", None),
        ("bytes=0-1 ", None),
    ],
)
def test_requested_range(header: str | None, wanted: range | None) -> None:
    assert requested_range(header, 256) == wanted


@pytest.mark.parametrize(
    ("header", "size"),
    [("bytes=256-", 256), ("bytes=256-300", 256), ("bytes=-0", 256), ("bytes=0-", 0)],
)
def test_a_range_outside_is_refused_with_the_size(header: str, size: int) -> None:
    with pytest.raises(ApiError) as caught:
        requested_range(header, size)
    assert caught.value.status == 416
    assert caught.value.headers["Content-Range"] == f"bytes */{size}"


@settings(deadline=None)
@given(
    st.one_of(st.text(), st.from_regex(r"bytes=[0-9]{0,30}-[0-9]{0,30}", fullmatch=True)),
    st.integers(0, 2**40),
)
def test_any_range_header_stays_inside_the_file(header: str, size: int) -> None:
    try:
        span = requested_range(header, size)
    except ApiError as error:
        assert error.status == 416
    else:
        assert span is None or (0 <= span.start < span.stop <= size)


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("a b;c=d.wav", 'attachment; filename="a b;c=d.wav"'),
        ("é.wav", "attachment; filename=\"_.wav\"; filename*=UTF-8''%C3%A9.wav"),
        ("100%.wav", "attachment; filename=\"100_.wav\"; filename*=UTF-8''100%25.wav"),
        ('"\\.wav', "attachment; filename=\"__.wav\"; filename*=UTF-8''%22%5C.wav"),
        ("\ud800", "attachment; filename=\"_\"; filename*=UTF-8''%3F"),
    ],
)
def test_names_to_save_under(name: str, header: str) -> None:
    assert attachment(name) == header


@given(st.text())
def test_any_name_stays_in_its_header(name: str) -> None:
    header = attachment(name)
    assert header.isascii() and header.isprintable()
    plain, _, extended = header.removeprefix('attachment; filename="').partition('"')
    assert "\\" not in plain
    if extended:
        encoded = extended.removeprefix("; filename*=UTF-8''")
        assert unquote(encoded) == name.encode("utf-8", "replace").decode()
    else:
        assert plain == name


async def test_whole(node: Node, client: ClientSession) -> None:
    await node.stored()
    async with client.get(URL) as response:
        assert response.status == 200
        assert await response.read() == DATA
        assert response.headers["ETag"] == TAG
        assert response.headers["Accept-Ranges"] == "bytes"
        assert response.headers["Content-Type"] == "audio/wav"
        assert response.headers["Content-Disposition"] == 'attachment; filename="r1.wav"'
        assert "Content-Range" not in response.headers


async def test_range(node: Node, client: ClientSession) -> None:
    await node.stored()
    async with client.get(URL, headers={"Range": "bytes=-6"}) as response:
        assert response.status == 206
        assert await response.read() == DATA[250:]
        assert response.headers["Content-Range"] == "bytes 250-255/256"
        assert response.content_length == 6
    async with client.get(URL, headers={"Range": "bytes=256-"}) as response:
        assert response.status == 416
        assert response.content_type == "application/problem+json"
        assert response.headers["Content-Range"] == "bytes */256"
    async with client.get(URL, headers={"Range": "bytes=0-1,3-4"}) as response:
        assert response.status == 200
        assert await response.read() == DATA


async def test_head_is_the_whole_without_its_body(node: Node, client: ClientSession) -> None:
    await node.stored()
    async with client.head(URL, headers={"Range": "bytes=0-1"}) as response:
        assert response.status == 200
        assert response.content_length == len(DATA)
        assert await response.read() == b""
    async with client.get(URL) as response:
        assert await response.read() == DATA


async def test_conditions(node: Node, client: ClientSession) -> None:
    await node.stored()
    for header, status in ((TAG, 304), (f'W/{TAG}, "b"', 304), ("*", 304), ('"b"', 200)):
        async with client.get(URL, headers={"If-None-Match": header}) as response:
            assert response.status == status, header
            assert response.headers["ETag"] == TAG
    for tag, status in ((TAG, 206), ('"b"', 200)):
        headers = {"Range": "bytes=0-1", "If-Range": tag}
        async with client.get(URL, headers=headers) as response:
            assert response.status == status, tag


async def test_more_than_a_chunk_comes_whole(node: Node, client: ClientSession) -> None:
    data = hashlib.shake_256(b"seed").digest(2 * CHUNK_BYTES + 1)
    await node.stored()
    node.put("r1", "wav", data)
    async with client.get(URL) as response:
        assert await response.read() == data
    async with client.get(URL, headers={"Range": f"bytes={CHUNK_BYTES - 1}-"}) as response:
        assert await response.read() == data[CHUNK_BYTES - 1 :]


async def test_a_file_that_is_gone_is_404(node: Node, client: ClientSession) -> None:
    row = await node.stored()
    node.services.blobs.delete(row.files[0].key)
    async with client.get(URL) as response:
        assert response.status == 404
        assert (await response.json(content_type=None))["detail"] == "the file is gone"

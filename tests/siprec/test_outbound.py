import asyncio
import os
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.schema import Notify
from siprec import outbound as module
from siprec.outbound import ANSWER_BYTES, Blocked, Outbound, Undeliverable, Unreachable, is_special
from tests.siprec.receivers import CUT, DRIP, HANG, HUGE, Received, receiving, status

LOOPBACK = ["127.0.0.0/8", "::1/128"]


@asynccontextmanager
async def client(*allow: str, lookup: Any = socket.getaddrinfo) -> AsyncIterator[Outbound]:
    outbound = Outbound(Notify(allow=[*allow], timeout_s=2), lookup)
    try:
        yield outbound
    finally:
        await outbound.close()


async def reason(outbound: Outbound, url: str, **options: Any) -> str:
    """Why a GET of `url` fails: class and reason code."""
    with pytest.raises(Undeliverable) as caught:
        await outbound.send("GET", url, options.pop("headers", {}), **options)
    return f"{type(caught.value).__name__} {caught.value.reason}"


# what is sent and what comes back


async def test_a_request_is_sent_as_it_is_written() -> None:
    script = lambda request: status(201, "X-Other: 1", body=b"fine")  # noqa: E731
    async with receiving(script) as receiver, client(*LOOPBACK) as outbound:
        url = f"{receiver.url}/a/../b;c?x=%2f&y='~|#fragment"
        headers = {"User-Agent": "siprecd/1", "X-Thing": "some value"}
        answer = await outbound.send("POST", url, headers, b'{"a": 1}')
        assert (answer.status, answer.body) == (201, b"fine")
        answer = await outbound.send("GET", receiver.url, headers)
    post, get = receiver.requests
    assert (post.method, post.target, post.body) == ("POST", "/a/../b;c?x=%2f&y='~|", b'{"a": 1}')
    assert (get.method, get.target, get.body) == ("GET", "/", b"")
    assert post.headers["x-thing"] == "some value"
    assert {name: get.headers.get(name) for name in ("user-agent", "accept-encoding")} == {
        "user-agent": "siprecd/1",
        "accept-encoding": "identity",
    }
    assert "cookie" not in get.headers and "content-type" not in get.headers
    assert receiver.connects == 1


async def test_every_status_is_an_answer_and_no_redirect_is_followed() -> None:
    async with receiving() as inside:
        where = f"Location: {inside.url}/admin"
        codes = iter([302, 301, 307, 308, 404, 500, 503])
        script = lambda request: status(next(codes), where)  # noqa: E731
        async with receiving(script) as receiver, client(*LOOPBACK) as outbound:
            found = [(await outbound.send("GET", receiver.url, {})).status for _ in range(7)]
        assert found == [302, 301, 307, 308, 404, 500, 503]
        assert inside.connects == 0


def loopback(host: str, port: int, *_: Any) -> list[Any]:
    """Every name is this host."""
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]


async def test_no_cookie_is_kept() -> None:
    script = lambda request: status(200, "Set-Cookie: a=b; Path=/")  # noqa: E731
    async with receiving(script) as receiver, client(*LOOPBACK, lookup=loopback) as outbound:
        for _ in range(3):
            await outbound.send("GET", f"http://crm.example:{receiver.port}/", {})
    assert not any("cookie" in request.headers for request in receiver.requests)


async def test_no_proxy_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving() as proxy, receiving() as receiver, client(*LOOPBACK) as outbound:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setitem(os.environ, name, proxy.url)
        assert (await outbound.send("GET", receiver.url, {})).status == 204
        assert (proxy.connects, receiver.connects) == (0, 1)


async def test_a_compressed_answer_stays_compressed() -> None:
    bomb = b"\x1f\x8b\x08\x00 not gzip at all"
    script = lambda request: status(200, "Content-Encoding: gzip", body=bomb)  # noqa: E731
    async with receiving(script) as receiver, client(*LOOPBACK) as outbound:
        assert (await outbound.send("GET", receiver.url, {})).body == bomb


async def test_an_answer_is_read_up_to_its_limit() -> None:
    sizes = iter([ANSWER_BYTES, ANSWER_BYTES + 1, ANSWER_BYTES + 1])
    script = lambda request: status(200, body=b"x" * next(sizes))  # noqa: E731
    async with receiving(script) as receiver, client(*LOOPBACK) as outbound:
        assert len((await outbound.send("GET", receiver.url, {})).body) == ANSWER_BYTES
        assert await reason(outbound, receiver.url) == "Unreachable too_large"
        answer = await outbound.send("GET", receiver.url, {}, answer_bytes=0)
        assert (answer.status, answer.body) == (200, b"")


async def test_a_huge_answer_is_not_waited_for() -> None:
    async with receiving(lambda request: HUGE) as receiver, client(*LOOPBACK) as outbound:
        assert await reason(outbound, receiver.url) == "Unreachable too_large"
        assert (await outbound.send("GET", receiver.url, {}, answer_bytes=0)).status == 200


@pytest.mark.parametrize(
    ("temper", "expected"), [(HANG, "timeout"), (DRIP, "timeout"), (CUT, "reset")]
)
async def test_a_receiver_that_does_not_answer_in_time(temper: bytes, expected: str) -> None:
    async with receiving(lambda request: temper) as receiver:
        outbound = Outbound(Notify(allow=LOOPBACK, timeout_s=1))
        assert await reason(outbound, receiver.url) == f"Unreachable {expected}"
        await outbound.close()


async def test_nobody_listens() -> None:
    async with receiving() as receiver:
        url = receiver.url
    async with client(*LOOPBACK) as outbound:
        assert await reason(outbound, url) == "Unreachable refused"


async def test_a_name_that_does_not_exist() -> None:
    def lookup(*_: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    async with client(lookup=lookup) as outbound:
        assert await reason(outbound, "http://nowhere.example/") == "Unreachable dns"
    async with client(lookup=lambda *_: []) as outbound:
        assert await reason(outbound, "http://nothing.example/") == "Unreachable dns"
    async with client() as outbound:
        assert await reason(outbound, f"http://{'x' * 64}.example/") == "Unreachable dns"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    words = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    words += ["-keyout", str(key), "-out", str(cert)]
    subprocess.run(words, check=True, capture_output=True)
    yield cert, key


async def test_a_certificate_nobody_vouches_for_is_refused(certificate: tuple[Path, Path]) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server, client(*LOOPBACK) as outbound:
        port = server.sockets[0].getsockname()[1]
        assert await reason(outbound, f"https://127.0.0.1:{port}/secret") == "Unreachable tls"
    assert b"".join(heard) == b""


@pytest.mark.parametrize(
    "answer",
    [
        b"\x00" * 200,
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nSet-Cookie: \x00=\xff\r\n\r\n",
        b"HTTP/1.1 99999999999999999999 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + b"z" * 100,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 100 + b"HTTP/1.1 500 X\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_whatever_is_answered_ends_in_an_answer_or_a_reason(answer: bytes) -> None:
    async with receiving(lambda request: answer) as receiver:
        outbound = Outbound(Notify(allow=LOOPBACK, timeout_s=1))
        try:
            assert (await outbound.send("GET", receiver.url, {})).status < 600
        except Unreachable as error:
            assert error.reason in {"protocol", "reset", "timeout"}
        await outbound.close()


# what is not called

FORMS = [
    "127.0.0.1",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "017700000001",
    "127.0.0.1.",
    "0",
    "0.0.0.0",
    "localhost",
    "LOCALHOST.",
    "[::1]",
    "[::]",
    "[0:0:0:0:0:0:0:1]",
    "[::127.0.0.1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::ffff:0.0.0.0]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b:1::127.0.0.1]",
    "[2002:7f00:1::]",
    "[2001:0:7f00:1::]",
    "[fe80::1%25lo]",
    "[fe80::1%lo]",
    "%31%32%37.0.0.1",
    "127。0。0。1",
    "①②⑦.0.0.1",
]
"""Ways to write this host."""


@pytest.mark.parametrize("form", FORMS)
async def test_this_host_is_not_called_however_it_is_written(form: str) -> None:
    async with receiving() as v4, receiving(host="::1") as v6, client() as outbound:
        for port in (v4.port, v6.port):
            found = await reason(outbound, f"http://{form}:{port}/")
            assert found.startswith("Blocked ") or found == "Unreachable dns", found
        assert (v4.connects, v6.connects) == (0, 0)


@pytest.mark.parametrize("form", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
async def test_this_host_is_called_if_that_is_allowed(form: str) -> None:
    async with receiving() as receiver, client("127.0.0.0/8") as outbound:
        assert (await outbound.send("GET", f"http://{form}:{receiver.port}/", {})).status == 204


@pytest.mark.parametrize(
    "address",
    [
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.0.192",
        "198.18.0.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
        "2001::1",
        "2002:a00:1::1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "::ffff:169.254.169.254",
        "100::1",
        "3fff::1",
        "5f00::1",
    ],
)
def test_special_addresses_are_forbidden_unless_their_network_is_allowed(address: str) -> None:
    assert not Outbound(Notify()).permits(address)
    mapped = getattr(ip_address(address), "ipv4_mapped", None)
    assert Outbound(Notify(allow=[str(mapped or address)])).permits(address)
    assert not Outbound(Notify(allow=["198.51.100.0/24", "2001:db8:1::/48"])).permits(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2a00:1450::1", "::ffff:8.8.8.8"]
)
def test_ordinary_addresses_are_permitted(address: str) -> None:
    assert Outbound(Notify()).permits(address)


def test_public_addresses_behind_a_translator_are_permitted() -> None:
    assert Outbound(Notify()).permits("64:ff9b::8.8.8.8")


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_nothing_that_python_calls_private_or_multicast_is_permitted(
    address: IPv4Address | IPv6Address,
) -> None:
    mapped = getattr(address, "ipv4_mapped", None)
    translated = isinstance(address, IPv6Address) and address in module.NAT64
    if mapped or translated:
        inner = IPv4Address(int(address) & 0xFFFF_FFFF)
        assert is_special(address) == is_special(inner)
    elif address.is_private or address.is_multicast or address.is_reserved:
        assert is_special(address)


@pytest.mark.parametrize("foreign", [False, True])
def test_an_address_of_our_own_is_forbidden_even_if_it_is_public(
    monkeypatch: pytest.MonkeyPatch, foreign: bool
) -> None:
    monkeypatch.setattr(module, "SPECIAL", ())
    monkeypatch.setattr(module, "GLOBAL_UNICAST", IPv6Network("::/0"))
    if foreign:  # as on a host where every address can be bound
        monkeypatch.setattr(module, "_binds", lambda address: True)
    for address in ("127.0.0.1", "::1"):
        assert not Outbound(Notify()).permits(address)
        assert Outbound(Notify(allow=[address])).permits(address)
    assert Outbound(Notify()).permits("8.8.8.8")


async def test_a_name_is_judged_by_what_it_means_when_it_is_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_NAMES_S", 0)
    asked: list[str] = []

    def lookup(host: str, port: int, *_: Any) -> list[Any]:
        """Loopback that is allowed at first; then loopback that is not."""
        asked.append(host)
        address = "127.0.0.1" if len(asked) == 1 else "127.0.0.2"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    closing = status(200, "Connection: close")
    async with receiving(lambda request: closing, host="0.0.0.0") as receiver:
        async with client("127.0.0.1", lookup=lookup) as outbound:
            url = f"http://rebind.example:{receiver.port}/"
            assert (await outbound.send("GET", url, {})).status == 200
            assert await reason(outbound, url) == "Blocked address_forbidden"
        assert (receiver.connects, asked) == (1, ["rebind.example"] * 2)


async def test_of_several_addresses_only_permitted_ones_are_called() -> None:
    def lookup(host: str, port: int, *_: Any) -> list[Any]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in ("127.0.0.2", "127.0.0.1")
        ]

    async with (
        receiving(host="0.0.0.0") as receiver,
        client("127.0.0.1", lookup=lookup) as outbound,
    ):
        url = f"http://several.example:{receiver.port}/"
        assert (await outbound.send("GET", url, {})).status == 204
        await receiver.stop()
        assert await reason(outbound, url) == "Unreachable refused"
        assert receiver.connects == 1


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("file:///etc/passwd", "scheme"),
        ("gopher://127.0.0.1:70/x", "scheme"),
        ("ftp://example.com/", "scheme"),
        ("javascript:alert(1)", "url_invalid"),
        ("", "url_invalid"),
        ("//example.com/", "url_invalid"),
        ("http://", "url_invalid"),
        ("http:///path", "url_invalid"),
        ("http://user@example.com/", "userinfo"),
        ("http://user:pw@example.com/", "userinfo"),
        ("http://example.com@127.0.0.1/", "userinfo"),
        ("http://@example.com/", "userinfo"),
        ("http://example.com:22/", "port"),
        ("http://example.com:25/", "port"),
        ("https://example.com:0/", "port"),
        ("http://example.com:1023/", "port"),
        ("http://example.com:65536/", "port"),
        ("http://example.com:/", "url_invalid"),
        ("http://example.com:8080x/", "url_invalid"),
        ("http://exa mple.com/", "url_invalid"),
        ("http://example.com\\.evil.example/", "url_invalid"),
        ("http://example.com/\r\nX-Injected: 1", "url_invalid"),
        ("http://example.com/\n", "url_invalid"),
        ("http://example.com/?q=\x00", "url_invalid"),
        ("http://example.com/ä", "url_invalid"),
        ("http://[::1/", "url_invalid"),
        ("http://[::1]x/", "url_invalid"),
    ],
)
async def test_what_is_no_ordinary_url_is_refused(url: str, code: str) -> None:
    async with client(*LOOPBACK) as outbound:
        assert await reason(outbound, url) == f"Blocked {code}"


async def test_a_low_port_is_refused_even_in_an_allowed_network() -> None:
    async with client(*LOOPBACK) as outbound:
        assert await reason(outbound, "http://127.0.0.1:22/") == "Blocked port"


@pytest.mark.parametrize(
    "headers",
    [
        {"X-A": "a\r\nX-B: b"},
        {"X-A": "a\nb"},
        {"X-A": "\x00"},
        {"X-A": "\x1b[31m"},
        {"X-A": "ä"},
        {"X A": "b"},
        {"X-A:": "b"},
        {"": "b"},
        {"X-A\r\nX-B": "b"},
    ],
)
async def test_headers_cannot_be_slipped_in(headers: dict[str, str]) -> None:
    async with receiving() as receiver, client(*LOOPBACK) as outbound:
        assert await reason(outbound, receiver.url, headers=headers) == "Blocked header"
        assert receiver.connects == 0


@pytest.mark.parametrize(
    "method", ["get", "DELETE", "CONNECT", "GET / HTTP/1.1\r\nX: y\r\n\r\nPUT"]
)
async def test_other_methods_are_refused(method: str) -> None:
    async with receiving() as receiver, client(*LOOPBACK) as outbound:
        with pytest.raises(Blocked, match="method"):
            await outbound.send(method, receiver.url, {})
        assert receiver.connects == 0


@given(st.text(max_size=60))
def test_no_url_leads_past_the_check(text: str) -> None:
    for url in (text, f"http://{text}", f"http://{text}/", f"http://h:{text}/", f"http://h/{text}"):
        try:
            target = module._checked(url)
        except Blocked:
            continue
        assert target.scheme.lower() in module.PORTS
        assert target.raw_user is None and target.raw_password is None
        assert target.port in {80, 443} or (target.port or 0) >= module.FIRST_PORT
        assert target.raw_path_qs.isascii() and target.raw_path_qs.isprintable()
        assert " " not in target.raw_path_qs


async def test_a_lookup_that_hangs_holds_up_no_other_name() -> None:
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    def lookup(host: str, port: int, *rest: Any) -> list[Any]:
        if host.startswith("slow"):
            asyncio.run_coroutine_threadsafe(release.wait(), loop).result(20)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    async with receiving() as receiver, client(*LOOPBACK, lookup=lookup) as outbound:
        async with asyncio.TaskGroup() as group:
            slow = [
                group.create_task(reason(outbound, f"http://slow-{n % 4}.example:{receiver.port}/"))
                for n in range(40)
            ]
            for number in range(20):
                url = f"http://quick-{number}.example:{receiver.port}/"
                assert (await outbound.send("GET", url, {})).status == 204
            assert not any(task.done() for task in slow)
        assert {task.result() for task in slow} == {"Unreachable timeout"}
        release.set()


def test_a_received_request_is_told_apart() -> None:
    assert Received("GET", "/", {}, b"") != Received("GET", "/", {}, b"x")

"""Key sets: which keys are taken, when they are looked for, and sets that are none."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from api.anywherenow import keyset
from api.anywherenow.keyset import FRESH_S, RETRY_S, KeySet, KeysUnavailable
from tests.api.anywherenow.issuers import Site, ec_key, jwk, key_set, open_site, rsa_key

RSA = {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as opened:
        opened.has(jwk(rsa_key()))
        yield opened


# parsing


def taken(**members: Any) -> set[str]:
    """What a key with these members is taken for; nothing: it is passed over."""
    whole = jwk(ec_key(), "other")
    keys = keyset.parse(key_set(jwk(rsa_key(), **members), whole))
    return {name for key in keys if key.id != "other" for name in key.algorithms}


@pytest.mark.parametrize(
    ("members", "algorithms"),
    [
        ({}, RSA),
        ({"use": "sig"}, RSA),
        ({"key_ops": ["verify"]}, RSA),
        ({"alg": "RS256"}, {"RS256"}),
        ({"alg": "PS512"}, {"PS512"}),
        ({"x5c": ["garbage"], "x5u": "http://127.0.0.1/"}, RSA),
        ({"kid": None}, RSA),
        ({"kid": 5}, RSA),
        ({"use": "enc"}, set()),
        ({"key_ops": ["encrypt"]}, set()),
        ({"key_ops": "verify"}, set()),
        ({"d": "AQAB"}, set()),
        ({"alg": "RSA-OAEP"}, set()),
        ({"alg": "HS256"}, set()),
        ({"alg": "none"}, set()),
        ({"alg": "ES256"}, set()),
        ({"alg": ["RS256"]}, set()),
        ({"kty": "oct", "k": "AAAA"}, set()),
        ({"kty": ["RSA"]}, set()),
        ({"n": ""}, set()),
        ({"n": 5}, set()),
        ({"n": None}, set()),
        ({"n": "AQAB"}, set()),
        ({"e": "!"}, set()),
    ],
)
def test_keys_that_are_taken(members: dict[str, Any], algorithms: set[str]) -> None:
    assert taken(**members) == algorithms


@pytest.mark.parametrize(
    ("curve", "algorithm"),
    [("P-256", "ES256"), ("P-384", "ES384"), ("P-521", "ES512"), ("secp256k1", None)],
)
def test_curves(curve: str, algorithm: str | None) -> None:
    keys = keyset.parse(key_set(jwk(ec_key(curve)), jwk(rsa_key(), "other")))
    assert [*keys[0].algorithms] == [algorithm] if algorithm else len(keys) == 1


def test_short_keys_are_not_taken() -> None:
    with pytest.raises(KeysUnavailable):
        keyset.parse(key_set(jwk(rsa_key(bits=1024))))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"keys":{}}',
        b'{"keys":null}',
        b'{"keys":[]}',
        b'{"keys":[1,null,"x",[],{}]}',
        b'{"keys":[{"kty":"oct","k":"AAAA"}]}',
        b"<html>",
        b"\xff",
        b"[" * 100_000,
        key_set(*[{}] * 101),
    ],
    ids=range(12),
)
def test_sets_that_are_none(body: bytes) -> None:
    with pytest.raises(KeysUnavailable):
        keyset.parse(body)


@settings(max_examples=50)
@given(
    st.dictionaries(
        st.sampled_from(["kty", "crv", "n", "e", "x", "y", "alg", "use", "kid", "key_ops"]),
        st.sampled_from(["RSA", "EC", "P-256", "RS256", "sig", "AQAB", "", "é"])
        | st.none()
        | st.integers()
        | st.lists(st.text(max_size=3), max_size=2)
        | st.text(max_size=20),
    )
)
def test_any_key_is_taken_or_passed_over(member: dict[str, Any]) -> None:
    try:
        body = json.dumps({"keys": [jwk(ec_key(), "good"), member]}, ensure_ascii=False).encode()
        keys = keyset.parse(body)
    except (UnicodeEncodeError, KeysUnavailable):
        return
    assert keys[0].id == "good"


# looking


async def found(keys: KeySet, key_id: str | None, algorithm: str = "RS256") -> bool:
    return await keys.find(key_id, algorithm) is not None


async def test_keys_are_kept_for_a_while(site: Site) -> None:
    clock = Clock()
    keys = KeySet(site.url, clock)
    for _ in range(3):
        assert await found(keys, "k1")
    assert site.looks == 1
    clock.now += FRESH_S
    assert await found(keys, "k1")
    assert site.looks == 2


async def test_an_unknown_key_is_looked_for_but_not_often(site: Site) -> None:
    clock = Clock()
    keys = KeySet(site.url, clock)
    assert await found(keys, "k1")
    site.has(jwk(rsa_key()), jwk(rsa_key(1), "k2"))
    assert not await found(keys, "k2")
    clock.now += RETRY_S
    for number in range(5):
        assert not await found(keys, f"guess {number}")
    assert await found(keys, "k2")
    assert site.looks == 2


async def test_a_key_that_was_taken_back(site: Site) -> None:
    clock = Clock()
    keys = KeySet(site.url, clock)
    assert await found(keys, "k1")
    site.has(jwk(rsa_key(1), "k2"))
    clock.now += FRESH_S
    assert await found(keys, "k1") is False


async def test_which_key(site: Site) -> None:
    site.has(
        jwk(rsa_key(), "one", alg="RS256"),
        jwk(rsa_key(1), "two", alg="PS256"),
        jwk(ec_key(), "three"),
        jwk(rsa_key(), "same", alg="RS512"),
        jwk(rsa_key(1), "same", alg="RS512"),
    )
    keys = KeySet(site.url)
    assert await found(keys, "one") and await found(keys, None, "RS256")
    assert await found(keys, "two", "PS256") and await found(keys, "three", "ES256")
    for key_id, algorithm in (
        ("two", "RS256"),
        ("three", "RS256"),
        ("one", "HS256"),
        ("one", "none"),
        ("one", "rs256"),
        (None, "RS384"),
        ("same", "RS512"),
        (None, "RS512"),
        ("../one", "RS256"),
        ("", "RS256"),
    ):
        assert not await found(keys, key_id, algorithm), (key_id, algorithm)


async def test_keys_are_kept_while_the_issuer_is_away(site: Site) -> None:
    clock = Clock()
    keys = KeySet(site.url, clock)
    assert await found(keys, "k1")
    good = site.answer
    with capture_logs() as logs:
        for wrong in (
            {"status": 503},
            {"status": 404, "body": key_set(jwk(rsa_key(1)))},
            {"status": 302, "headers": {"Location": site.url}},
            {"body": b"<html>"},
            {"body": key_set()},
            {"body": b"{" + b" " * keyset.OCTETS + b"}"},
            {"body": b"x", "headers": {"Content-Encoding": "gzip"}},
        ):
            site.answers(**wrong)
            looks = site.looks
            clock.now += FRESH_S
            assert await found(keys, "k1")
            assert site.looks == looks + 1
        site.answer = good
        clock.now += FRESH_S
        assert await found(keys, "k1")
    assert [(log["event"], log.get("error", "")) for log in logs] == [
        ("token_keys_unavailable", "answered with status 503"),
        ("token_keys_available", ""),
    ]


async def test_an_issuer_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyset, "TIMEOUT_S", 0.1)
    answered = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answered.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with capture_logs() as logs:
        assert not await found(KeySet(f"http://user:secret@127.0.0.1:{port}/"), "k1")
    answered.set()
    server.close()
    assert [log["error"] for log in logs] == ["no answer within 0.1 s"]


async def test_nobody_waits_who_has_a_key(site: Site) -> None:
    clock = Clock()
    keys = KeySet(site.url, clock)
    assert await found(keys, "k1")
    held = asyncio.Event()

    async def slow(request: web.Request) -> web.Response:
        await held.wait()
        return web.Response(body=key_set(jwk(rsa_key())))

    application = web.Application()
    application.router.add_get("/", slow)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    keys._source = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    clock.now += FRESH_S
    async with asyncio.TaskGroup() as group:
        first = group.create_task(found(keys, "k1"))
        while not keys._turn.locked():
            await asyncio.sleep(0)
        assert await found(keys, "k1")
        assert not first.done()
        held.set()
    assert first.result()
    await runner.cleanup()


async def test_of_many_who_ask_one_looks(site: Site) -> None:
    keys = KeySet(site.url)
    assert all(await asyncio.gather(*(found(keys, "k1") for _ in range(20))))
    assert site.looks == 1


async def test_keys_of_a_file(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "keys.json"
    keys = KeySet(str(path), clock)
    assert not await found(keys, "k1")
    path.write_bytes(key_set(jwk(rsa_key())))
    clock.now += RETRY_S
    assert await found(keys, "k1")
    path.write_bytes(b" " * (keyset.OCTETS + 1))
    clock.now += FRESH_S
    assert await found(keys, "k1")
    for wrong in (tmp_path, "nowhere", "ftp://127.0.0.1/", "\0"):
        assert not await found(KeySet(str(wrong)), "k1")

"""Tokens of an outside issuer: whose they are, and every forgery."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from api.anywherenow.issuer import Issuer
from config.dialects import AnywhereNow
from tests.api.anywherenow.desk import V1, Desk, open_desk
from tests.api.anywherenow.issuers import (
    AUDIENCE,
    ISSUER,
    After,
    Site,
    claims,
    ec_key,
    jwk,
    key_set,
    open_site,
    raw,
    rsa_key,
    token,
)

SETTINGS = AnywhereNow(issuer=ISSUER, audience=AUDIENCE)
KEYS = key_set(
    jwk(rsa_key(), "k1"),
    jwk(ec_key(), "e1"),
    jwk(ec_key("P-384"), "e3"),
    jwk(ec_key("P-521"), "e5"),
    jwk(rsa_key(1), "only-ps", alg="PS256"),
)
PEM = (
    rsa_key()
    .public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
)


@pytest.fixture(scope="module")
def jwks(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file with the issuer's keys."""
    path = tmp_path_factory.mktemp("issuer") / "keys.json"
    path.write_bytes(KEYS)
    return str(path)


@pytest.fixture
def issuer(jwks: str) -> Issuer:
    return Issuer(AnywhereNow(issuer=ISSUER, audience=AUDIENCE, jwks=jwks))


# good ones


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"])
async def test_rsa_signatures(issuer: Issuer, algorithm: str) -> None:
    assert await issuer.user_of(token(algorithm=algorithm)) == "pay@shop.example"


@pytest.mark.parametrize(
    ("algorithm", "key_id", "curve"),
    [("ES256", "e1", "P-256"), ("ES384", "e3", "P-384"), ("ES512", "e5", "P-521")],
)
async def test_curve_signatures(issuer: Issuer, algorithm: str, key_id: str, curve: str) -> None:
    assert await issuer.user_of(token(ec_key(curve), algorithm, key_id)) == "pay@shop.example"


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": [AUDIENCE, "account"]},
        {"exp": After(-10)},
        {"nbf": After(10)},
        {"iat": After(10)},
        {"iat": None},
        {"sub": None},
        {"exp": After(100.5)},
        {"more": {"a": [1]}},
    ],
)
async def test_claims_that_are_good(issuer: Issuer, changes: dict[str, Any]) -> None:
    assert await issuer.user_of(token(**changes)) == "pay@shop.example"


async def test_headers_without_meaning_here(issuer: Issuer) -> None:
    headers = {"typ": "at+jwt", "cty": "x", "more": 5}
    assert await issuer.user_of(token(headers=headers)) == "pay@shop.example"


async def test_without_an_audience_any_will_do(jwks: str) -> None:
    issuer = Issuer(AnywhereNow(issuer=ISSUER, jwks=jwks))
    for audience in (None, "account", ["a", "b"]):
        assert await issuer.user_of(token(aud=audience)) == "pay@shop.example"


async def test_the_claim_that_names_the_user(jwks: str) -> None:
    issuer = Issuer(AnywhereNow(issuer=ISSUER, jwks=jwks, user_claim="email"))
    assert await issuer.user_of(token(email="a@b.example")) == "a@b.example"
    for email in (None, "", 5, ["a@b.example"], {"a": 1}, True):
        assert await issuer.user_of(token(email=email)) is None


# wrong claims


@pytest.mark.parametrize(
    "changes",
    [
        {"exp": After(-40)},
        {"exp": 0},
        {"exp": -1},
        {"exp": None},
        {"exp": "soon"},
        {"exp": [4_000_000_000]},
        {"exp": float("-inf")},
        {"exp": float("inf")},
        {"exp": float("nan")},
        {"nbf": After(400)},
        {"nbf": "later"},
        {"iat": After(400)},
        {"iss": None},
        {"iss": ""},
        {"iss": ISSUER + "/"},
        {"iss": ISSUER.upper()},
        {"iss": [ISSUER]},
        {"iss": "https://evil.example"},
        {"aud": None},
        {"aud": ""},
        {"aud": []},
        {"aud": "account"},
        {"aud": AUDIENCE.upper()},
        {"aud": {AUDIENCE: 1}},
        {"aud": [5]},
        {"preferred_username": None},
        {"preferred_username": 5},
    ],
    ids=str,
)
async def test_claims_that_are_wrong(issuer: Issuer, changes: dict[str, Any]) -> None:
    body = claims(**changes)
    signed = jwt.PyJWS().encode(
        json.dumps(body).encode(), rsa_key(), "RS256", headers={"kid": "k1"}
    )
    assert await issuer.user_of(signed) is None


# forgeries


def hmac_signed(algorithm: str, secret: bytes, key_id: str = "k1") -> str:
    unsigned = raw({"alg": algorithm, "typ": "JWT", "kid": key_id}, claims())[:-1]
    digest = hmac.digest(secret, unsigned.encode(), hashlib.sha256)
    return f"{unsigned}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"


GOOD = token()
HEAD, BODY, SIGNATURE = GOOD.split(".")
OTHER_HEAD, OTHER_BODY, _ = raw(
    {"alg": "RS256", "kid": "k1", "x": 1}, claims(preferred_username="boss@shop.example")
).split(".")
FORGED = {
    "no algorithm": raw({"alg": "none"}, claims()),
    "no algorithm, but a key": raw({"alg": "none", "kid": "k1"}, claims()),
    "no algorithm, spelt oddly": raw({"alg": "nOnE", "kid": "k1"}, claims()),
    "no algorithm, a good signature": f"{raw({'alg': 'none', 'kid': 'k1'}, claims())}{SIGNATURE}",
    "algorithm null": raw({"alg": None, "kid": "k1"}, claims()),
    "algorithm missing": raw({"kid": "k1"}, claims()),
    "algorithm a list": raw({"alg": ["RS256"], "kid": "k1"}, claims()),
    "the public key as secret": hmac_signed("HS256", PEM),
    "the public key as secret, trimmed": hmac_signed("HS256", PEM.strip()),
    "the modulus as secret": hmac_signed("HS256", str(jwk(rsa_key())["n"]).encode()),
    "an empty secret": hmac_signed("HS256", b""),
    "a secret, said to be RS256": hmac_signed("RS256", PEM),
    "another key of the same id": token(rsa_key(2)),
    "another key": token(rsa_key(2), key_id="k2"),
    "another key without an id": token(rsa_key(2), key_id=None),
    "a key for another algorithm": token(rsa_key(1), "RS256", "only-ps"),
    "a curve for RSA": token(ec_key(), "ES256", "k1"),
    "RSA for a curve": token(rsa_key(), "RS256", "e1"),
    "another curve": token(ec_key("P-384"), "ES384", "e1"),
    "a key id that is a path": token(key_id="../../../../dev/null"),
    "a key id that is a file": token(key_id="/proc/self/environ"),
    "a key id that is a URL": token(key_id="http://127.0.0.1/k1"),
    "a key id that is SQL": token(key_id="k1' OR '1'='1"),
    "a key id with NUL": token(key_id="k1\0"),
    "an empty key id": token(key_id=""),
    "a long key id": token(key_id="k" * 3000),
    "a key id that is a number": raw({"alg": "RS256", "kid": 1}, claims(), b"x"),
    "a key id that is null": raw({"alg": "RS256", "kid": None}, claims(), b"x"),
    "a key id that is a list": raw({"alg": "RS256", "kid": ["k1"]}, claims(), b"x"),
    "its own key": token(rsa_key(2), headers={"jwk": jwk(rsa_key(2))}),
    "its own chain": token(rsa_key(2), headers={"x5c": [base64.b64encode(PEM).decode()]}),
    "critical headers": token(headers={"crit": ["exp"], "exp": 1}),
    "not encoded": token(headers={"b64": False, "crit": ["b64"]}),
    "another body": f"{HEAD}.{OTHER_BODY}.{SIGNATURE}",
    "another head": f"{OTHER_HEAD}.{BODY}.{SIGNATURE}",
    "no signature": f"{HEAD}.{BODY}.",
    "half a signature": f"{HEAD}.{BODY}.{SIGNATURE[:100]}",
    "zeros for a curve": raw({"alg": "ES256", "kid": "e1"}, claims(), bytes(64)),
    "nothing for a curve": raw({"alg": "ES256", "kid": "e1"}, claims()),
    "encrypted": f"{GOOD}.{SIGNATURE}.{SIGNATURE}",
    "dots": "..",
    "no text": ".é.",
    "half a character": ".\udc80.",
    "garbage": "a.b.c",
    "no JSON": raw(b"\xff\xfe", b"{"),
    "no object": raw([], []),
    "deep": raw(b"[" * 2000, b"{}"),
    "large": raw({"alg": "RS256", "kid": "k1", "x": "y" * 65_536}, claims(), b"x"),
    "blanks": f" {GOOD}",
    "a line end": f"{GOOD}\n",
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED.keys())
async def test_forgeries(issuer: Issuer, forged: str) -> None:
    with capture_logs() as logs:
        assert await issuer.user_of(forged) is None
    assert forged not in str(logs) and SIGNATURE not in str(logs)
    assert await issuer.user_of(GOOD) == "pay@shop.example"


async def test_keys_are_never_taken_from_where_a_token_says(issuer: Issuer) -> None:
    async with open_site() as evil:
        evil.has(jwk(rsa_key(2)))
        for header in ("jku", "x5u", "iss"):
            forged = token(rsa_key(2), headers={header: evil.url})
            assert await issuer.user_of(forged) is None
            assert await issuer.user_of(token(rsa_key(2), iss=evil.url)) is None
        assert evil.looks == 0


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet=st.characters(codec="ascii"), max_size=200), st.integers(0, len(GOOD)))
def test_a_bent_token_is_nobodys(jwks: str, text: str, at: int) -> None:
    bent = f"{GOOD[:at]}{text}{GOOD[at:]}" if text else GOOD[:at]
    if bent != GOOD:
        section = AnywhereNow(issuer=ISSUER, audience=AUDIENCE, jwks=jwks)
        assert asyncio.run(Issuer(section).user_of(bent)) is None, bent


# at the door


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as opened:
        opened.has(jwk(rsa_key()))
        yield opened


@pytest.fixture
async def trusting(tmp_path: Path, migrated: Path, site: Site) -> AsyncIterator[Desk]:
    """A recorder that takes the tokens of `site`."""
    section = AnywhereNow(issuer=ISSUER, audience=AUDIENCE, jwks=site.url)
    async with open_desk(tmp_path, migrated, section, is_idle=True) as desk:
        yield desk


async def asked(desk: Desk, bearer: str, ucc: str = "ucc-shop") -> tuple[int, bytes]:
    headers = {"Authorization": f"Bearer {bearer}"}
    said = await desk.ask("GET", f"{V1}/capabilities/{ucc}", None, headers=headers)
    return said.status, said.body


async def test_whose_rights_a_token_gives(trusting: Desk) -> None:
    for name, ucc, status, is_known in (
        ("pay@shop.example", "ucc-shop", 200, True),
        ("PAY@shop.example", "ucc-shop", 200, True),
        ("pay", "ucc-shop", 200, True),
        ("pay@shop.example", "ucc-bank", 200, False),
        ("isr@system.example", "ucc-bank", 200, True),
        ("ann@shop.example", "ucc-shop", 403, False),
        ("off@shop.example", "ucc-shop", 401, False),
        ("nobody@shop.example", "ucc-shop", 401, False),
        ("100", "ucc-shop", 401, False),
    ):
        said, body = await asked(trusting, token(preferred_username=name), ucc)
        assert (said, b'"ErrorMessage":null' in body) == (status, is_known), name
        assert body == b"" or status == 200


async def test_own_tokens_go_on_beside(trusting: Desk) -> None:
    assert (await asked(trusting, await trusting.token("pay@shop.example")))[0] == 200
    assert (await asked(trusting, trusting.node.keys["control"]))[0] == 200


async def test_forgeries_at_the_door(trusting: Desk) -> None:
    for name in ("no algorithm", "the public key as secret", "another key", "no signature"):
        assert await asked(trusting, FORGED[name]) == (401, b""), name
    assert await asked(trusting, token(exp=After(-40))) == (401, b"")
    status, _ = await asked(trusting, FORGED["large"])  # no head of a request is that long
    assert status == 400


async def test_who_is_logged_and_what_is_not(
    trusting: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    good, forged = token(), FORGED["another key"]
    await asked(trusting, good)
    await asked(trusting, forged)
    shown = "".join(capsys.readouterr())
    assert "pay@shop.example" in shown and "token_refused" in shown
    for text in (good, forged, good.split(".")[2], forged.split(".")[2]):
        assert text not in shown


async def test_without_an_issuer_no_such_token_is_taken(idle_desk: Desk) -> None:
    assert await asked(idle_desk, GOOD) == (401, b"")


async def test_an_issuer_that_is_away_takes_nobody_else_along(trusting: Desk, site: Site) -> None:
    site.answer = lambda: web.Response(status=500)
    assert await asked(trusting, token()) == (401, b"")
    assert (await asked(trusting, await trusting.token("pay@shop.example")))[0] == 200

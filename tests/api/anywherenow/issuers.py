"""An issuer of tokens as far as a recorder sees it: keys at a URL, and tokens signed with them."""

import base64
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

ISSUER = "https://login.example/realms/shop"
AUDIENCE = "recorder"
Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True)
class After:
    """So many seconds after now, whenever a token is made."""

    seconds: float


@cache
def rsa_key(number: int = 0, bits: int = 2048) -> rsa.RSAPrivateKey:
    """An RSA key; another for each `number`."""
    return rsa.generate_private_key(65537, bits)


def ec_key(curve: str = "P-256") -> ec.EllipticCurvePrivateKey:
    """The key on a curve."""
    return _ec_key(curve)


@cache
def _ec_key(curve: str) -> ec.EllipticCurvePrivateKey:
    curves: Mapping[str, ec.EllipticCurve] = {
        "P-256": ec.SECP256R1(),
        "P-384": ec.SECP384R1(),
        "P-521": ec.SECP521R1(),
        "secp256k1": ec.SECP256K1(),
    }
    return ec.generate_private_key(curves[curve])


def jwk(key: Private, key_id: str | None = "k1", **members: Any) -> dict[str, Any]:
    """The public key as a member of a key set."""
    made: dict[str, Any]
    if isinstance(key, rsa.RSAPrivateKey):
        made = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    else:
        made = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    made.pop("key_ops", None)
    return {**made, **({"kid": key_id} if key_id is not None else {}), **members}


def key_set(*keys: object) -> bytes:
    """A key set."""
    return json.dumps({"keys": keys}).encode()


def claims(**changes: Any) -> dict[str, Any]:
    """What a good token claims, for a day; None takes a claim away."""
    now = int(time.time())
    usual: dict[str, Any] = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "1",
        "iat": now,
        "exp": now + 86_400,
        "preferred_username": "pay@shop.example",
    }
    for name, value in changes.items():
        usual[name] = now + value.seconds if isinstance(value, After) else value
    return {name: value for name, value in usual.items() if value is not None}


def token(
    key: Any = None,
    algorithm: str = "RS256",
    key_id: str | None = "k1",
    headers: Mapping[str, Any] | None = None,
    **changes: Any,
) -> str:
    """A signed token."""
    stated = {**({"kid": key_id} if key_id is not None else {}), **(headers or {})}
    return jwt.encode(claims(**changes), key or rsa_key(), algorithm, headers=stated)


def raw(header: object, payload: object, signature: bytes = b"") -> str:
    """Something of the form of a token, however wrong."""
    parts = [
        part if isinstance(part, bytes) else json.dumps(part).encode() for part in (header, payload)
    ]
    return ".".join(
        base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in (*parts, signature)
    )


@dataclass(slots=True)
class Site:
    """Where an issuer has its keys."""

    url: str = ""
    answer: Callable[[], web.StreamResponse] = field(default=lambda: web.Response(status=503))
    looks: int = 0

    def has(self, *keys: object) -> None:
        """From now on these are the keys."""
        self.answers(body=key_set(*keys))

    def answers(self, **response: Any) -> None:
        """From now on this is answered."""
        self.answer = lambda: web.Response(**response)


@asynccontextmanager
async def open_site() -> AsyncIterator[Site]:
    """A web server with keys on it."""
    site = Site()

    async def serve(_: web.Request) -> web.StreamResponse:
        site.looks += 1
        return site.answer()

    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", serve)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    listener = web.TCPSite(runner, "127.0.0.1", 0)
    await listener.start()
    host, port = runner.addresses[0][:2]
    site.url = f"http://{host}:{port}/certs"
    try:
        yield site
    finally:
        await runner.cleanup()

"""The public keys of an issuer of tokens: a JSON Web Key Set (RFC 7517) from a URL or a file.

Kept for a while; looked for again when a token names a key that is not there, and kept on when the
issuer is away. Only what the configuration names is ever asked, never what a token names.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import msgspec
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

logger = structlog.get_logger(__name__)

FRESH_S = 600.0
"""How long keys are not looked for again: so long one that was taken back may still hold."""
RETRY_S = 30.0
"""Least time between two looks, whatever tokens say."""
TIMEOUT_S = 3.0
"""For one look at a URL. Who asks waits for it, and what is asked for may be a pause."""
OCTETS = 256 * 1024
KEYS = 100
"""Largest set."""
RSA_BITS = range(2048, 8193)
"""Smaller is not safe (RFC 7518 section 3.3), larger takes too long."""

_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}


class KeysUnavailable(Exception):
    """The keys could not be had; the text says why, without their address, which may be secret."""


@dataclass(frozen=True, slots=True)
class Key:
    """One public key, and what it may be used with."""

    id: str | None
    public: Any
    algorithms: frozenset[str]
    """Of `alg` of a token (RFC 7518 section 3.1)."""


class KeySet:
    """The keys of one issuer. `source`: `https://…`, `http://…` or the path of a file."""

    def __init__(self, source: str, now: Callable[[], float] = time.monotonic) -> None:
        self._source = source
        self._now = now
        self._keys: tuple[Key, ...] = ()
        self._turn = asyncio.Lock()
        self._looked_at = -RETRY_S
        self._fresh_until = 0.0
        self._away = False

    async def find(self, key_id: str | None, algorithm: str) -> Key | None:
        """The key with this id for this algorithm; without an id, the only one there is for it.

        Whoever has a key does not wait while another looks for newer ones.
        """
        found = self._fitting(key_id, algorithm)
        if found and (self._now() < self._fresh_until or self._turn.locked()):
            return found
        await self._look()
        return self._fitting(key_id, algorithm)

    def _fitting(self, key_id: str | None, algorithm: str) -> Key | None:
        fitting = [key for key in self._keys if algorithm in key.algorithms]
        if key_id is not None:
            fitting = [key for key in fitting if key.id == key_id]
        return fitting[0] if len(fitting) == 1 else None

    async def _look(self) -> None:
        async with self._turn:
            if self._now() - self._looked_at < RETRY_S:
                return
            self._looked_at = self._now()
            try:
                self._keys = parse(await _content(self._source))
                self._note(None)
            except KeysUnavailable as error:
                self._note(error)
            self._fresh_until = self._now() + FRESH_S

    def _note(self, error: KeysUnavailable | None) -> None:
        """Log once that the issuer went away, and once that it is back."""
        if error and not self._away:
            logger.warning("token_keys_unavailable", error=str(error), kept=len(self._keys))
        if self._away and error is None:
            logger.info("token_keys_available", keys=len(self._keys))
        self._away = error is not None


def parse(body: bytes) -> tuple[Key, ...]:
    """The usable keys of a set; others are passed over (RFC 7517 section 5).

    Raises KeysUnavailable if it is no set, or has none.
    """
    try:
        members = msgspec.json.decode(body, type=dict[str, object]).get("keys")
    except (ValueError, RecursionError, msgspec.MsgspecError):
        raise KeysUnavailable("not a JSON object") from None
    if not isinstance(members, list) or len(members) > KEYS:
        raise KeysUnavailable(f"`keys` must be a list of at most {KEYS}")
    keys = tuple(key for member in members if (key := _key(member)))
    if not keys:
        raise KeysUnavailable("no key that can be used")
    return keys


def _key(member: object) -> Key | None:
    """None for what is none, or not for signatures that only the issuer can make."""
    if not isinstance(member, dict) or not _is_for_signatures(member):
        return None
    stated = member.get("alg")
    possible = _algorithms(member)
    algorithms = frozenset(each for each in possible if stated in (None, each))
    if not algorithms:
        return None
    try:
        public = jwt.PyJWK(member, min(algorithms)).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None
    if isinstance(public, RSAPublicKey) and public.key_size not in RSA_BITS:
        return None
    key_id = member.get("kid")
    return Key(key_id if isinstance(key_id, str) else None, public, algorithms)


def _is_for_signatures(member: Mapping[str, object]) -> bool:
    """Public, and for nothing else (RFC 7517 sections 4.2, 4.3)."""
    operations = member.get("key_ops")
    verifies = operations is None or (isinstance(operations, list) and "verify" in operations)
    return "d" not in member and member.get("use", "sig") == "sig" and verifies


def _algorithms(member: Mapping[str, object]) -> tuple[str, ...]:
    if member.get("kty") == "RSA":
        return _RSA
    curve = member.get("crv")
    if member.get("kty") == "EC" and isinstance(curve, str) and curve in _CURVES:
        return (_CURVES[curve],)
    return ()


async def _content(source: str) -> bytes:
    try:
        if source.startswith(("https://", "http://")):
            return await _downloaded(source)
        return await asyncio.to_thread(_read, Path(source))
    except TimeoutError:
        raise KeysUnavailable(f"no answer within {TIMEOUT_S:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise KeysUnavailable(type(error).__name__) from None


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return _whole(file.read(OCTETS + 1))


async def _downloaded(url: str) -> bytes:
    """No redirect is followed, and nothing is unpacked."""
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    async with (
        aiohttp.ClientSession(timeout=timeout, headers=headers, auto_decompress=False) as session,
        session.get(url, allow_redirects=False) as response,
    ):
        if response.status != 200:
            raise KeysUnavailable(f"answered with status {response.status}")
        body = b""
        async for chunk in response.content.iter_chunked(65_536):
            body = _whole(body + chunk)
        return body


def _whole(body: bytes) -> bytes:
    if len(body) > OCTETS:
        raise KeysUnavailable(f"more than {OCTETS} octets")
    return body

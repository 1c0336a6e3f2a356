"""Tokens of an outside issuer: signed JSON Web Tokens (RFC 7519, RFC 8725) that name our users.

Which algorithms and keys count is decided here and by the issuer's key set, never by the token.
"""

from collections.abc import Mapping
from typing import Any

import jwt
import structlog

from api.anywherenow.keyset import KeySet
from config.dialects import AnywhereNow

logger = structlog.get_logger(__name__)

OCTETS = 8192
"""Longest token."""
LEEWAY_S = 30
"""How far the clocks of issuer and recorder may be apart."""
_KEY_ID_CHARACTERS = 255


class Issuer:
    """Checks the tokens of the configured issuer."""

    def __init__(self, section: AnywhereNow, keys: KeySet | None = None) -> None:
        """`keys`: of the issuer; None: those that the configuration names."""
        self._section = section
        self._keys = keys or KeySet(section.jwks)

    async def user_of(self, token: str) -> str | None:
        """The user's name or e-mail address in a token; None unless it is the issuer's, for us, and
        holds now."""
        if not is_signed(token):
            return None
        try:
            claims = await self._claims(token)
        except jwt.PyJWTError as error:
            logger.info("token_refused", reason=type(error).__name__)
            return None
        name = claims.get(self._section.user_claim) if claims else None
        return name if isinstance(name, str) and name else None

    async def _claims(self, token: str) -> Mapping[str, Any] | None:
        """What a token claims; None if there is no key for it. Raises PyJWTError."""
        header = jwt.get_unverified_header(token)
        algorithm, key_id = header.get("alg"), header.get("kid")
        if not isinstance(algorithm, str) or len(key_id or "") > _KEY_ID_CHARACTERS:
            return None
        key = await self._keys.find(key_id, algorithm)
        if key is None:
            logger.info("token_refused", reason="no key for it")
            return None
        audience = self._section.audience or None
        return jwt.decode(
            token,
            key.public,
            algorithms=sorted(key.algorithms),
            audience=audience,
            issuer=self._section.issuer,
            leeway=LEEWAY_S,
            options={
                "require": ["exp", "iss"],
                "verify_aud": audience is not None,
                "enforce_minimum_key_length": True,
            },
        )


def is_signed(token: str) -> bool:
    """Whether it has the form of a signed token (RFC 7515 section 3.1); none of our own has."""
    return token.count(".") == 2 and token.isascii() and len(token) <= OCTETS

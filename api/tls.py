"""TLS below one HTTP connection.

asyncio makes this layer by itself, but with one certificate for ever, out of sight while the
handshake lasts, when a connection costs as much as later, and with a buffer of 256 KiB for each.
"""

import asyncio
import ssl
from asyncio.sslproto import SSLProtocol
from typing import ClassVar


class Secured(SSLProtocol):
    """What the socket's bytes go through on their way to and from `connection`.

    `handshake_s`: for the handshake; `shutdown_s`: for the peer to take what is still to be sent
    and to say goodbye; `secured`: where it keeps itself while its socket is open.
    """

    max_size: ClassVar[int] = 16 * 1024
    """Read at a time: a record of TLS."""

    def __init__(
        self,
        connection: asyncio.Protocol,
        context: ssl.SSLContext,
        handshake_s: float,
        shutdown_s: float,
        secured: "set[Secured]",
    ) -> None:
        super().__init__(
            asyncio.get_running_loop(),
            connection,
            context,
            None,  # type: ignore[arg-type]  # nobody waits for the handshake
            server_side=True,
            ssl_handshake_timeout=handshake_s,  # type: ignore[arg-type]  # fractions are fine
            ssl_shutdown_timeout=shutdown_s,
        )
        self._secured = secured

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count from now on, and begin the handshake."""
        self._secured.add(self)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Count no longer, whether or not there was a handshake."""
        self._secured.discard(self)
        super().connection_lost(exc)

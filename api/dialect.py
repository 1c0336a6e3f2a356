"""What a dialect is given, and what it gives: the routes it answers in its own words.

A dialect answers every request below its paths by itself, wrong methods, wrong bodies and failures
included; `api.server` only puts it up. The native interface is a table of `api.typed` instead.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from aiohttp import web

from api.auth import Authenticator, Failures
from api.basic import BasicAuthenticator
from api.services import Services
from api.sockets import Fanout
from config.schema import Api


@dataclass(frozen=True, slots=True)
class Context:
    """Everything a dialect may touch."""

    services: Services
    authenticator: Authenticator
    basic: BasicAuthenticator
    logins: Failures
    """Failed logins by remote address, of all dialects together."""
    config: Api
    body_s: float
    """How long the body of a request may take to come."""
    fanout: Fanout
    """Serves WebSockets that hear of events; it closes them when the server stops."""
    on_stop: Callable[["Closing"], None]
    """Have something closed when the server stops, before its listeners."""


Closing = Callable[[], Awaitable[None]]
"""Ends what would otherwise keep the server from stopping."""

Dialect = Callable[[Context], Iterable[web.RouteDef]]
"""Makes the routes of a dialect; called once, before the server starts."""

Faults = Callable[[Exception, str], web.StreamResponse]
"""Answers a failure: exception, path of the request."""
FAULTS: web.RequestKey[Faults] = web.RequestKey("faults")
"""Name of what answers failures a dialect did not foresee; it sets that before anything else."""

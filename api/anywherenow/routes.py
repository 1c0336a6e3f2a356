"""AnywhereNow: REST recording interface and SignalR hubs."""

from collections.abc import Iterable

from aiohttp import web

from api.dialect import Context


def anywherenow(context: Context) -> Iterable[web.RouteDef]:
    """The routes of this dialect."""
    return []

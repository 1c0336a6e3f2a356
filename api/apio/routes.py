"""BroadWorks recording platforms as Apio has them."""

from collections.abc import Iterable

from aiohttp import web

from api.dialect import Context


def apio(context: Context) -> Iterable[web.RouteDef]:
    """The routes of this dialect."""
    return []

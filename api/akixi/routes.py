"""Akixi recording integration entries."""

from collections.abc import Iterable

from aiohttp import web

from api.dialect import Context


def akixi(context: Context) -> Iterable[web.RouteDef]:
    """The routes of this dialect."""
    return []

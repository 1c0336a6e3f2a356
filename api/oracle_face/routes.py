"""The door of FACE: which request is which command, and who may give it."""

from collections.abc import Iterable

from aiohttp import web

from api.dialect import Context


def face(context: Context) -> Iterable[web.RouteDef]:
    """The routes of FACE."""
    return ()

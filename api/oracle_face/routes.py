"""The door of FACE: which request is which command, who may give it, and in what form it is answered."""

from collections.abc import Iterable

from aiohttp import web

from api.dialect import Context


def face(context: Context) -> Iterable[web.RouteDef]:
    """The routes of FACE."""
    return ()

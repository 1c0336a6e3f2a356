"""The whole table of routes, and a request for each of them that finds nothing."""

from typing import Any

from api.native.routes import ROUTES
from api.native.wire import PREFIX
from api.typed import Nothing, Route


async def _unused(call: object) -> None:
    raise NotImplementedError


ALL_ROUTES: tuple[Route[Any], ...] = (
    *ROUTES,
    Route("GET", "/health", None, _unused, Nothing, None, ""),
    Route("GET", f"{PREFIX}/openapi.json", None, _unused, Nothing, None, ""),
)


def request_of(route: Route[Any]) -> tuple[str, str]:
    """Method and path of a request to `route`; whatever it names does not exist."""
    values = {"session_id": "nobody", "recording_id": "nothing", "action": "pause"}
    return route.method, route.path.format(**values)

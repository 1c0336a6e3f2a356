"""Recording platforms over the native interface: whether each answers, and what comes over it."""

from http import HTTPStatus
from typing import Any, Literal

from msgspec import Struct

from api.native import wire
from api.native.encode import timestamp
from api.problem import ApiError
from api.typed import Call, Nothing, Route
from siprec.platform_watch import PlatformView
from siprec.session import Actor
from storage.entries import SYSTEM_ACCOUNT


class Platform(Struct, frozen=True):
    """A recording platform: its entry, and what is known of it now."""

    name: str
    net_address: str
    port: int | None
    """Null: 5060."""
    media_stream: Literal["Dual", "Single"]
    transport_protocol: Literal["UDP", "TCP", "Unspecified"]
    schema_version: Literal["1.0", "2.0", "3.0"]
    support_video_recording: bool
    description: str
    is_default: bool
    listener: bool
    """It is this recorder: calls that come to that address are its calls."""
    state: Literal["unknown", "up", "down"]
    since: wire.Timestamp
    answered_at: wire.Timestamp | None
    """When it last answered."""
    rtt_ms: float | None
    """How long that answer took."""
    failures: int
    """Looks without an answer since."""
    cause: str
    """Why the last look brought none."""
    sessions: int
    """Live calls that came over it."""


class PlatformList(Struct, frozen=True):
    """All recording platforms, by name."""

    items: list[Platform]


async def get_platform_states(call: Call[Nothing]) -> PlatformList:
    """What is known now; nobody is asked."""
    for_all_accounts(call.actor)
    return PlatformList([_platform(view) for view in call.services.platforms.view()])


def for_all_accounts(actor: Actor) -> None:
    """Return if `actor` may see what is said of all accounts together, else raise ApiError 403."""
    if actor.account != SYSTEM_ACCOUNT or actor.routes:
        raise ApiError(HTTPStatus.FORBIDDEN, "this is for the System account")


def _platform(view: PlatformView) -> Platform:
    entry, standing = view.entry, view.standing
    return Platform(
        name=entry.name,
        net_address=entry.net_address,
        port=entry.port,
        media_stream=entry.media_stream,
        transport_protocol=entry.transport_protocol,
        schema_version=entry.schema_version,
        support_video_recording=entry.support_video_recording,
        description=entry.description,
        is_default=view.is_default,
        listener=view.is_listener,
        state=standing.state.value,
        since=timestamp(standing.since),
        answered_at=timestamp(standing.answered_at) if standing.answered_at else None,
        rtt_ms=standing.rtt_ms,
        failures=standing.failures,
        cause=standing.cause,
        sessions=view.sessions,
    )


ROUTES: tuple[Route[Any], ...] = (
    Route(
        "GET",
        f"{wire.PREFIX}/platforms",
        "operator",
        get_platform_states,
        Nothing,
        PlatformList,
        "List recording platforms and whether they answer",
        name="find_platform_states",
    ),
)
"""Operations about recording platforms."""

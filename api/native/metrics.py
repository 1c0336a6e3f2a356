"""Figures for Prometheus, in its text format, as they are when they are asked for.

The library has a registry that all of a process share; ours is apart, so that two recorders in one
process tell of themselves only.
"""

from collections.abc import Iterator
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from api.native.platforms import for_all_accounts
from api.services import Services
from api.typed import Call, Nothing, Route
from siprec.session import State

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
"""Of the text format (Prometheus, "Exposition formats")."""


class Figures(Collector):
    """The figures of one recorder."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def collect(self) -> Iterator[Metric]:
        """Each with all its labels; nothing is waited for."""
        yield self._sessions()
        open_now = len(self._services.recorder.open_recordings())
        yield GaugeMetricFamily("siprecd_recordings_open", "Recordings that grow", value=open_now)
        yield from self._platforms()

    def _sessions(self) -> Metric:
        states = [live.state for live in self._services.recorder.sessions()]
        family = GaugeMetricFamily("siprecd_sessions", "Live sessions", labels=["state"])
        for state in State:
            family.add_metric([state.value], states.count(state))
        return family

    def _platforms(self) -> Iterator[Metric]:
        """One that nobody looked at yet is neither up nor down: it has no such figure."""
        up = _of_platform("siprecd_platform_up", "Whether the platform answers")
        rtt = _of_platform("siprecd_platform_rtt_seconds", "Round trip of its last answer")
        calls = _of_platform("siprecd_platform_sessions", "Live sessions that came over it")
        for view in self._services.platforms.view():
            name, standing = [view.entry.name], view.standing
            if standing.state != "unknown":
                up.add_metric(name, standing.state == "up")
            if standing.rtt_ms is not None:
                rtt.add_metric(name, standing.rtt_ms / 1000)
            calls.add_metric(name, view.sessions)
        yield from (up, rtt, calls)


def _of_platform(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=["platform"])


async def get_metrics(call: Call[Nothing]) -> web.Response:
    """Figures of all accounts together, and what the process uses."""
    for_all_accounts(call.actor)
    registry = CollectorRegistry()
    registry.register(Figures(call.services))
    ProcessCollector(registry=registry)
    return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE})


ROUTES: tuple[Route[Any], ...] = (
    Route(
        "GET",
        "/metrics",
        "control",
        get_metrics,
        Nothing,
        None,
        "Figures for Prometheus",
        answers={200: ("text/plain",)},
    ),
)
"""The operation of Prometheus."""

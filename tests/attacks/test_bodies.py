"""Bodies that blow up, go deep or mean two things: all are refused, and the recorder goes on."""

import resource

import pytest
from structlog.testing import capture_logs

from api.native.routes import ROUTES
from tests.api.node import Node
from tests.attacks.lists import bodies

BODIES = {what: (body, headers) for what, body, headers in bodies()}
MOST_MEMORY_KIB = 30_000
"""Less than any of the bombs holds."""


def memory_kib() -> int:
    """The most this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.parametrize("what", BODIES)
async def test_a_body_nobody_can_mean_is_refused(node: Node, what: str) -> None:
    body, headers = BODIES[what]
    before = memory_kib()
    async with node.client() as client:
        for path in ("/srs/v1/login", "/srs/v1/sessions/nobody/pause", "/srs/v1/recordings/r"):
            with capture_logs() as lines:
                async with client.post(path, data=body, headers=headers) as response:
                    assert response.status in {400, 413, 415}, what
                    assert response.content_type == "application/problem+json"
                    assert len(await response.read()) < 1000
            assert [line["event"] for line in lines] == ["request"]
        async with client.get("/srs/v1/sessions") as response:
            assert response.status == 200
    assert memory_kib() - before < MOST_MEMORY_KIB


async def test_every_operation_with_a_body_reads_it_the_same_way(node: Node) -> None:
    twice, headers = BODIES["same key twice"]
    async with node.client() as client:
        for route in (each for each in ROUTES if each.has_body):
            path = route.path.format(**dict.fromkeys(route.path_names, "1"))
            path = path.replace("/sessions/1/1", "/sessions/1/pause")
            request = client.request(route.method, path, data=twice, headers=headers)
            async with request as response:
                assert response.status == 400 and "twice" in await response.text(), path


async def test_a_body_is_read_as_it_is_whatever_it_says_of_itself(node: Node) -> None:
    """Nothing is unpacked: a body that is JSON is one whatever coding it claims."""
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    async with node.client() as client:
        path = "/srs/v1/sessions/nobody/pause"
        async with client.post(path, data=b'{"reason":"x"}', headers=headers) as response:
            assert response.status in {400, 404, 415}

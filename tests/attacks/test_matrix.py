"""Every operation by everybody: who gets in is written out here, once more and by hand.

Nothing the requests name exists, so that who is let in gets the same answer each time.
"""

import pytest

from storage.entries import KINDS
from tests.api.node import ROLES, Node
from tests.attacks.tenants import ask

MATRIX = """
operation                                   nobody control operator admin
GET    /health                              200    200     200      200
GET    /srs/v1/openapi.json                 200    200     200      200
POST   /srs/v1/login                        400    400     400      400
GET    /srs/v1/sessions                     401    200     200      200
GET    /srs/v1/sessions/{session_id}        401    404     404      404
POST   /srs/v1/sessions/{session_id}/{action} 401  404     404      404
GET    /srs/v1/events                       401    426     426      426
POST   /srs/v1/events/raise                 401    400     400      400
GET    /srs/v1/recordings                   401    403     200      200
GET    /srs/v1/recordings/{recording_id}    401    403     404      404
POST   /srs/v1/recordings/{recording_id}    401    403     404      404
DELETE /srs/v1/recordings/{recording_id}    401    403     403      404
GET    /srs/v1/recordings/{recording_id}/media 401 403     404      404
GET    /srs/v1/recordings/{recording_id}/peaks 401 403     404      404
GET    /srs/v1/playback                     401    403     400      400
GET    /srs/v1/playback/audio               401    403     400      400
GET    /srs/v1/notifications                401    403     403      200
POST   /srs/v1/notifications/replay         401    403     403      200
POST   /srs/v1/notifications/{sequence}/replay 401 403     403      404
GET    /srs/v1/directory/{kind}             401    403     403      200
GET    /srs/v1/directory/{kind}/{key}       401    403     403      404
PUT    /srs/v1/directory/{kind}/{key}       401    403     403      400
PUT    /srs/v1/directory/recording-properties/{key} 401 403 403     409
DELETE /srs/v1/directory/{kind}/{key}       401    403     403      404
POST   /srs/v1/directory/users/{email}/password 401 400    400      400
POST   /srs/v1/directory/users/{email}/unlock 401  403     403      404
POST   /srs/v1/logout                       401    204     204      204
GET    /srs/v1/platforms                    401    403     200      200
GET    /metrics                             401    200     200      200
"""
WHO = (None, *ROLES)
PLACES = {"session_id": "nobody", "recording_id": "nothing", "sequence": "9", "key": "9"} | {
    "action": "pause",
    "email": "no@one",
}


def rows() -> dict[tuple[str, str], tuple[int, ...]]:
    """Method and path as in the document -> status for each of `WHO`."""
    found = {}
    for line in MATRIX.strip().splitlines()[1:]:
        method, path, *statuses = line.split()
        paths = [path.replace("{kind}", kind) for kind in KINDS] if "{kind}" in path else [path]
        for each in paths:
            found[method, each] = tuple(map(int, statuses))
            if method == "GET" and not each.endswith("/events"):
                found["HEAD", each] = found[method, each]
    return found


async def test_the_matrix_has_every_operation_there_is(node: Node) -> None:
    async with node.client(None) as client, client.get("/srs/v1/openapi.json") as response:
        paths = (await response.json())["paths"]
    there = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert there == {*rows()}


@pytest.mark.parametrize("who", WHO)
async def test_who_gets_in(node: Node, who: str | None) -> None:
    async with node.client(who) as client:
        for (method, path), statuses in rows().items():
            status, _ = await ask(client, method, path.format(**PLACES))
            assert status == statuses[WHO.index(who)], (method, path, who)


async def test_what_is_not_there_tells_nobody_what_is(node: Node) -> None:
    """Methods and paths without an operation are the same for all."""
    paths = {path.format(**PLACES) for _, path in rows()}
    known = {(method, path.format(**PLACES)) for method, path in rows()}
    for who in WHO:
        async with node.client(who) as client:
            for path in sorted(paths):
                for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"):
                    if (method, path) not in known:
                        assert (await ask(client, method, path))[0] in {404, 405}, (method, path)
            for path in ("/", "/srs", "/srs/v1", "/srs/v1/", "/srs/v2/sessions", "/metrics/"):
                assert (await ask(client, "GET", path))[0] == 404

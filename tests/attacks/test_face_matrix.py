"""Every command of FACE by everybody: who gets in is written out here, once more and by hand.

Nothing the requests name exists, so that who is let in gets the same answer each time.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from config.dialects import Face
from storage.entries import User
from tests.api.oracle_face.desk import PASSWORD, Desk, open_desk
from tests.attacks.face import BANK, ISR, SYSTEM, WEAK, code_of, native_token, routes, seen

MATRIX = """
command                              nobody key    admin  tenant weak   bank   isr    system
POST   login                         200/27 200/27 200/27 200/27 200/27 200/27 200/27 200/27
GET    version                       200/0  200/0  200/0  200/0  200/0  200/0  200/0  200/0
GET    eventNotify                   200/-1 401/-1 401/-1 401/-1 200/-1 200/-1 200/-1 200/-1
GET    StartScreenCapture            200/26 401/-1 401/-1 401/-1 200/-1 200/26 200/26 200/26
GET    StopScreenCapture             200/1  401/-1 401/-1 401/-1 200/-1 200/1  200/1  200/1
GET    file/download                 200/27 401/-1 401/-1 401/-1 200/19 200/19 200/19 200/19
GET    Recordings/                   200/27 401/-1 401/-1 401/-1 200/-1 200/11 200/11 200/11
GET    audioRecording/details        200/27 401/-1 401/-1 401/-1 200/26 200/26 200/26 200/26
POST   audioRecording/details        200/27 401/-1 401/-1 401/-1 200/-1 200/26 200/26 200/26
DELETE audioRecording/details        200/27 401/-1 401/-1 401/-1 200/-1 200/-1 200/26 200/-1
POST   audioRecording/delete         200/27 401/-1 401/-1 401/-1 200/-1 200/-1 200/26 200/-1
GET    audioRecording/download       200/27 401/-1 401/-1 401/-1 200/-1 200/11 200/11 200/11
GET    audioRecording/redirect       200/27 401/-1 401/-1 401/-1 200/-1 200/11 200/11 200/11
POST   audioRecording/start          200/27 401/-1 401/-1 401/-1 200/-1 200/26 200/26 200/26
POST   audioRecording/stop           200/27 401/-1 401/-1 401/-1 200/-1 200/26 200/26 200/26
POST   audioRecording/pause          200/27 401/-1 401/-1 401/-1 200/-1 200/26 200/26 200/26
POST   audioRecording/resume         200/27 401/-1 401/-1 401/-1 200/-1 200/26 200/26 200/26
"""
"""HTTP status and return code. `weak` has no permission, `bank` and `system` may not delete; a key
and tokens of other users than API users are good for the native interface, and for nothing here.
eventNotify and the commands to screens take machines of this host without a token."""
WHO = MATRIX.split("\n")[1].split()[1:]
QUERIES = {
    "eventNotify": {"event": "nothing"},
    "StartScreenCapture": {"IsrId": "nobody", "ScreenIP": "192.0.2.1"},
    "StopScreenCapture": {"ScreenIP": "192.0.2.1"},
    "file/download": {"filename": "nothing", "supplementalFileId": "9001"},
    "Recordings/": {},
}
FOR_OTHERS = {"isrUcid": "nobody"}
BODY = {"agentId": "7"}
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")


@pytest.fixture
async def desk(tmp_path: Path, migrated: Path) -> AsyncIterator[Desk]:
    """FACE with two tenants."""
    async with open_desk(tmp_path, migrated) as opened:
        yield opened


def rows() -> dict[tuple[str, str], list[str]]:
    """Method and path -> answers to each of `WHO`."""
    lines = (line.split() for line in MATRIX.strip().splitlines()[1:])
    return {(method, path): answers for method, path, *answers in lines}


def place_of(path: str) -> str:
    """What is asked for; below a folder, a file."""
    return f"{path}nothing.wav" if path.endswith("/") else path


async def tokens(desk: Desk) -> dict[str, str]:
    """Token of each of `WHO`; nobody has none."""
    tenant = "tom@shop.example"
    await desk.node.services.directory.put(User(tenant, 100, "tenant"))
    await desk.node.services.users.set_password(tenant, PASSWORD, datetime.now(UTC))
    return {
        "nobody": "",
        "key": desk.node.keys["admin"],
        "admin": await native_token(desk, "ann@shop.example", PASSWORD),
        "tenant": await native_token(desk, tenant, PASSWORD),
        "weak": await desk.token(WEAK),
        "bank": await desk.token(BANK),
        "isr": await desk.token(ISR),
        "system": await desk.token(SYSTEM),
    }


async def test_the_matrix_has_every_command_there_is(tmp_path: Path, migrated: Path) -> None:
    async with open_desk(tmp_path, migrated) as desk:
        assert routes(desk) == {*rows()}
        assert all(len(answers) == len(WHO) for answers in rows().values())


async def test_who_gets_in(desk: Desk) -> None:
    everybody = await tokens(desk)
    assert [*everybody] == WHO
    for who, token in everybody.items():
        for (method, path), answers in rows().items():
            query: dict[str, Any] = {**QUERIES.get(path, FOR_OTHERS)}
            query |= {"token": token} if token else {}
            body = BODY if method == "POST" and path != "login" else None
            said = await desk.ask(method, place_of(path), None, body=body, **query)
            expected = answers[WHO.index(who)]
            assert f"{said.status}/{code_of(said)}" == expected, (method, path, who, said.text)


async def test_what_is_not_there_tells_nobody_what_is(desk: Desk) -> None:
    """Methods without a command are the same for all, and so are paths."""
    everybody = await tokens(desk)
    for _, path in sorted(rows()):
        known = {method for method, each in rows() if each == path}
        known |= {"HEAD"} if "GET" in known else set()
        for method in (each for each in METHODS if each not in known):
            answers = {
                seen(await desk.ask(method, place_of(path), None, token=token, isrUcid="nobody"))
                for token in everybody.values()
            }
            assert [status for status, _, _ in answers] == [405], (method, path)
    for path in ("", "/", "x", "login/", "version/x", "file", "Recordings", "audioRecordings"):
        answers = {seen(await desk.get(path, None, token=each)) for each in everybody.values()}
        assert [status for status, _, _ in answers] == [404], path


async def test_what_later_releases_have_is_for_the_same_people(
    tmp_path: Path, migrated: Path
) -> None:
    async with open_desk(tmp_path, migrated, Face(release="6.4")) as desk:
        more = routes(desk, Face(release="6.4")) - {*rows()}
        assert len(more) == 4
        like = {
            f"audioRecording/{new}": f"audioRecording/{old}"
            for new, old in (
                ("split", "pause"),
                ("segment/details", "details"),
                ("segment/download", "download"),
                ("segment/redirect", "redirect"),
            )
        }
        for who, token in (await tokens(desk)).items():
            for method, path in more:
                query: dict[str, Any] = {**FOR_OTHERS, **({"token": token} if token else {})}
                said = await desk.ask(method, path, None, **query)
                expected = rows()[method, like[path]][WHO.index(who)]
                assert f"{said.status}/{code_of(said)}" == expected, (path, who)

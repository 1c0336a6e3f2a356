"""What is provisioned through one interface, while calls go on that others control."""

import asyncio
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from examples.sip import Agent
from siprec.session import State
from storage.entries import User
from tests.api.akixi.desk import DEMONSTRATION, NEW, ROOT, SETTINGS
from tests.api.akixi.desk import Desk as Akixi
from tests.api.apio import desk as apio
from tests.api.apio.desk import FIRST, ONE, SECOND, TWO
from tests.api.apio.desk import Desk as Apio
from tests.api.cross.desk import OWNER, Desk, open_desk, recording_of
from tests.api.cross.operators import Face, Imagicle, everybody
from tests.api.node import OUTBOX
from tests.bench.pause import numbers
from tests.storage.people import make_hashing_cheap


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passwords take no time."""
    make_hashing_cheap(monkeypatch)


async def clerks(desk: Desk) -> tuple[Akixi, Apio]:
    """Who provisions, at the same recorder."""
    await desk.token(ROOT)
    services = desk.node.services
    await services.directory.put(User(apio.ROOT, 1, "admin"))
    await services.users.set_password(apio.ROOT, apio.PASSWORD, datetime.now(UTC))
    return Akixi(desk.node, desk.http), Apio(desk.node, desk.http)


async def change_everything(integrations: Akixi, platforms: Apio) -> str:
    """Each operation of both; the GUID of the entry that is left."""
    kept, gone = [await integrations.add(Description=each) for each in ("kept", "gone")]
    for operation, properties, settings in (
        ("CallRecIntChange", {"CallRecIntGUID": kept, "Description": "changed"}, SETTINGS),
        ("CallRecIntInfo", {"CallRecIntGUID": gone}, None),
        ("CallRecIntDelete", {"CallRecIntGUID": gone}, None),
        ("CallRecIntList", {"TelSysID": NEW["TelSysID"]}, None),
    ):
        said = await integrations.ask(operation, ROOT, properties, settings)
        assert said.code == 0, said.text
    await platforms.add(FIRST, SECOND, FIRST | {"name": "gone"})
    for method, path, body in (
        ("PUT", ONE, {"port": 5062, "description": "changed"}),
        ("PUT", TWO, {"default": True}),
        ("GET", TWO, None),
        ("DELETE", "platforms/gone/", None),
        ("PUT", "properties/", {"maxConsecutiveFailures": 7}),
    ):
        status, found = await platforms.ask(method, path, body)
        assert status in {200, 204}, found
    return kept


async def seen(integrations: Akixi, platforms: Apio) -> list[Any]:
    """What all of it looks like, through the interfaces it was made by."""
    listed = await integrations.ask("CallRecIntList", ROOT)
    guids = [each["CallRecIntGUID"] for each in listed.entries]
    asked = [await integrations.ask("CallRecIntInfo", ROOT, {"CallRecIntGUID": g}) for g in guids]
    paths = ("platforms/", ONE, TWO, "properties/")
    return [
        guids,
        *(each.properties for each in asked),
        *[await platforms.ask("GET", path) for path in paths],
    ]


async def test_provisioning_touches_no_call_and_outlives_a_restart(
    tmp_path: Path, migrated: Path
) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    after.mkdir()
    async with open_desk(before, migrated) as desk:
        both = await clerks(desk)
        live = await desk.started()
        recording_id = recording_of(live)
        playing = asyncio.gather(desk.calls[live.id].play(1.0))
        kept = await change_everything(*both)
        assert (recording_of(live), live.platform, live.warnings) == (recording_id, "", ())
        await asyncio.gather(*(each.sees(live, State.RECORDING) for each in everybody(desk)))
        await playing
        told = await desk.told(live)
        assert (told.hub, told.successes) == ([1], ["STARTED"])
        await desk.hang_up(live)
        for samples in (await desk.audio(recording_id)).T:
            assert [*numbers(samples)] == [*range(50)]
        known = await seen(*both)
    assert known[0] == [DEMONSTRATION, kept]
    left = shutil.copytree(migrated.parent, tmp_path / "left")
    shutil.copyfile(before / "siprecd.db", left / migrated.name)
    shutil.copyfile(before / "spool" / OUTBOX, left / OUTBOX)
    async with open_desk(after, left / migrated.name) as desk:
        again = Akixi(desk.node, desk.http), Apio(desk.node, desk.http)
        assert await seen(*again) == known
        row = await desk.node.services.library.get(recording_id)
        assert (row.owner, row.status) == (OWNER, "complete")


async def test_both_parties_of_a_dual_platform(tmp_path: Path, migrated: Path) -> None:
    async with open_desk(tmp_path, migrated) as desk:
        _, platforms = await clerks(desk)
        port = int(desk.agent.uri.rpartition(":")[2])
        here = {"netAddress": "127.0.0.1", "port": port, "schemaVersion": "3.0"}
        await platforms.add(FIRST | here | {"mediaStream": "Dual"})
        async with Agent(desk.agent.uri) as agent:
            live = await desk.call(agent=agent)
            face = Face(desk)
            assert (await face.ask("POST", "start", ingressCallId=live.call_id))["code"] == 0
            recording_id = recording_of(live)
            assert (live.platform, live.warnings) == (FIRST["name"], ())
            await desk.calls[live.id].play(0.4)
            await desk.hang_up(live)
            wav = await desk.audio(recording_id)
        assert wav.shape[1] == 2
        for samples in wav.T:
            assert [*numbers(samples)] == [*range(20)]
        row = await desk.stored(recording_id)
        shown = (await face.ask("GET", "details", recordingId=row.number))["recording"]
        (data,) = shown["siprecDataSets"]
        assert [each["stream"]["mode"] for each in data["siprecData"]["streams"]] == ["a", "b"]
        detail = (await Imagicle(desk).ask("GET", f"Recordings/{recording_id}")).json
        assert detail["owner"]["username"] == OWNER

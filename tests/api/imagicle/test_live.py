"""Live recordings: started, stopped, paused, resumed and listed, with every refusal there is."""

import asyncio
import json
import os
import signal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from msgspec import structs

from config.dialects import Imagicle
from media import process
from siprec.session import Action
from storage.entries import Route
from tests.api.imagicle.desk import LIVE, UNKNOWN, Desk, open_desk
from tests.storage.people import until

ANN, BOB = "ann@shop.example", "bob@shop.example"
BANK = "boss@bank.example"

MODES: tuple[Any, ...] = (2, -1, "0", True, 0.5, [], {})
LINES: tuple[tuple[dict[str, Any], int, dict[str, Any]], ...] = (
    ({}, 400, {"reason": 0}),
    ({"deviceName": "", "directoryNumber": None}, 400, {"reason": 0}),
    ({"deviceName": 5}, 400, {"reason": 0}),
    ({"directoryNumber": ["101"]}, 400, {"reason": 0}),
    ({"mode": 7}, 400, {"reason": 0}),
    *(({"directoryNumber": "999", "mode": mode}, 400, {"reason": 2}) for mode in MODES),
    ({"deviceName": "SEPX"}, 400, {"reason": 1, "deviceName": "SEPX"}),
    ({"directoryNumber": "999"}, 400, {"reason": 1, "deviceName": None}),
    ({"directoryNumber": "999", "mode": 1}, 400, {"reason": 1, "deviceName": None}),
    (
        {"deviceName": "SEP101", "directoryNumber": "999"},
        400,
        {"reason": 1, "deviceName": "SEP101"},
    ),
    ({"directoryNumber": "B1"}, 400, {"reason": 1, "deviceName": None}),
    ({"deviceName": "SEPB1"}, 400, {"reason": 1, "deviceName": "SEPB1"}),
    ({"directoryNumber": "101", "mode": 1}, 501, {"reason": 1}),
    ({"directoryNumber": "103", "mode": 1}, 501, {"reason": 1}),
    ({"directoryNumber": "103"}, 409, {"reason": 1}),
    ({"deviceName": "SEP101", "directoryNumber": "103"}, 409, {"reason": 1}),
    ({"directoryNumber": "108"}, 409, {"reason": 0, "extension": "108"}),
    ({"directoryNumber": "201"}, 400, {"reason": 4}),
    ({"directoryNumber": "301"}, 403, {"reason": 1, "username": "never"}),
    ({"directoryNumber": "701"}, 403, {"reason": 1, "username": "off"}),
    ({"directoryNumber": "702"}, 403, {"reason": 1, "username": "denied@shop.example"}),
    ({"directoryNumber": "401"}, 403, {"reason": 2}),
    ({"directoryNumber": "501"}, 403, {"reason": 3}),
    ({"directoryNumber": "601"}, 403, {"reason": 4}),
)
"""Body of a start, and how it is refused, in the order of the checks."""


async def test_every_refusal_of_a_start(desk: Desk) -> None:
    for dnis in ("101", "108", "201", "301", "401", "501", "701", "702"):
        await desk.call(dnis)
    await desk.call("601", ani="6661")
    await desk.call("B1")
    for body, status, answer in LINES:
        assert (await desk.start(**body)).short == (status, answer), body
    for raw in (b"", b"{", b"[]", b"null", b'"101"', b"\xff", b"[" * 30_000):
        assert (await desk.ask("POST", LIVE, body=raw)).short == (400, {"reason": 0}), raw
    for who in (ANN, "none@shop.example", "mute@shop.example"):
        for body in ({}, {"directoryNumber": "101"}, {"mode": 7}):
            assert (await desk.start(who, **body)).short == (403, {"reason": 0}), who


@pytest.mark.parametrize(
    ("who", "body"),
    [
        ("boss@shop.example", {"directoryNumber": "101"}),
        ("lead@shop.example", {"deviceName": "sep101", "mode": 0}),
        ("root@system.example", {"deviceName": "SEP101", "directoryNumber": "101", "mode": None}),
    ],
)
async def test_a_call_is_recorded_from_a_start_on(
    desk: Desk, who: str, body: dict[str, Any]
) -> None:
    live = await desk.call()
    said = await desk.start(who, **body)
    assert said.status == 201
    assert "Location" not in said.headers
    (found,) = said.json.values()
    assert desk.state(live) == "recording"
    assert live.recording
    assert (str(UUID(live.recording.id)), live.recording.history[-1].actor) == (found, who)
    assert (await desk.start(**body)).short == (429, {"reason": 1})
    await desk.control(live, Action.PAUSE)
    assert (await desk.start(**body)).short == (429, {"reason": 1})
    await desk.control(live, Action.STOP)
    again = await desk.start(**body)
    assert again.status == 201
    assert again.json["id"] != found


async def test_of_several_calls_on_a_line_the_one_not_recorded_is_meant(desk: Desk) -> None:
    first, second = await desk.call("101"), await desk.call("101")
    assert (await desk.start(directoryNumber="101")).status == 201
    assert (desk.state(first), desk.state(second)) == ("idle", "recording")
    assert (await desk.start(directoryNumber="101")).status == 201
    assert desk.state(first) == "recording"
    assert (await desk.start(directoryNumber="101")).short == (429, {"reason": 1})


async def test_a_start_that_is_being_carried_out_is_told_from_one_that_has_been(
    desk: Desk,
) -> None:
    live = await desk.call()
    await desk.basic("boss@shop.example")
    worker = desk.node.engine.worker_pid or 0
    os.kill(worker, signal.SIGSTOP)
    try:
        async with asyncio.TaskGroup() as group:
            first = group.create_task(desk.start(directoryNumber="101"))
            await until(lambda: desk.state(live) == "recording")
            assert (await desk.start(directoryNumber="101")).short == (429, {"reason": 0})
            os.kill(worker, signal.SIGCONT)
        assert first.result().status == 201
    finally:
        os.kill(worker, signal.SIGCONT)
    assert (await desk.start(directoryNumber="101")).short == (429, {"reason": 1})


async def test_more_channels_than_there_are(desk: Desk) -> None:
    who = "boss@kiosk.example"
    await desk.call("K1")
    await desk.call("K2")
    assert (await desk.start(who, directoryNumber="K1")).status == 201
    assert (await desk.start(who, directoryNumber="K2")).short == (503, None)
    assert (await desk.delete("?directoryNumber=K1", who)).status == 204
    assert (await desk.start(who, directoryNumber="K2")).status == 201


async def test_while_the_media_process_does_not_answer_the_service_is_away(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = await started(desk)
    monkeypatch.setattr(process, "ACKNOWLEDGE_S", 0.5)
    monkeypatch.setattr(process, "HEARTBEAT_S", 0.1)
    engine = desk.node.engine

    def hang(*_: str) -> None:
        os.kill(engine.worker_pid or 0, signal.SIGSTOP)

    engine.on_trouble = hang  # the next one as well
    hang()
    assert (await desk.put(f"{mine}/Pause")).short == (504, None)


async def test_a_user_may_record_their_own_line_where_that_is_on(
    tmp_path: Path, migrated: Path
) -> None:
    section = Imagicle(start_own_line=True)
    async with open_desk(tmp_path, migrated, section) as desk:
        for who, body, answer in (
            (ANN, {"directoryNumber": "101"}, (403, {"reason": 0})),
            ("none@shop.example", {}, (403, {"reason": 0})),
            ("denied@shop.example", {}, (403, {"reason": 0})),
            (ANN, {"mode": 3}, (400, {"reason": 2})),
            (ANN, {"mode": 1}, (501, {"reason": 1})),
            ("boss@shop.example", {}, (400, {"reason": 3})),
            (BOB, {}, (409, {"reason": 1})),
        ):
            assert (await desk.start(who, **body)).short == answer, (who, body)
        live = await desk.call("102")
        assert (await desk.ask("POST", LIVE, ANN)).status == 201
        assert desk.state(live) == "recording"
        assert (await desk.start(ANN)).short == (429, {"reason": 1})


# stop


async def started(desk: Desk, number: str = "101", who: str = "boss@shop.example") -> str:
    """The id of a recording that was started on a new call."""
    await desk.call(number)
    said = await desk.start(who, directoryNumber=number)
    assert said.status == 201, said
    return str(said.json["id"])


async def test_a_recording_is_stopped_by_its_id(desk: Desk) -> None:
    automatic = await desk.call("201")
    assert automatic.recording
    mine, theirs = await started(desk), await started(desk, "B1", BANK)
    for path, who, answer in (
        ("/x", "boss@shop.example", (400, {"reason": 0})),
        ("/x", ANN, (403, None)),
        (f"/{mine}", ANN, (403, None)),
        (f"/{mine}", "mute@shop.example", (403, None)),
        (f"/{mine}", BANK, (409, None)),
        (f"/{theirs}", "boss@shop.example", (409, None)),
        (f"/{UNKNOWN}", "boss@shop.example", (409, None)),
        (f"/{UUID(automatic.recording.id)}", "boss@shop.example", (400, {"reason": 2})),
        (f"/{mine.upper()}", "boss@shop.example", (204, None)),
        (f"/{mine}", "boss@shop.example", (409, None)),
        (f"/{theirs}", "root@system.example", (204, None)),
    ):
        assert (await desk.delete(path, who)).short == answer, (path, who)
    assert await desk.recorded("root@system.example") == [str(UUID(automatic.recording.id))]


async def test_recordings_are_stopped_by_device_and_number(desk: Desk) -> None:
    await desk.call("201")
    await started(desk, "B1", BANK)
    first, second = await started(desk), await started(desk)
    other = await started(desk, "102")
    boss = "boss@shop.example"
    for query, who, answer in (
        ("", boss, (400, {"reason": 0})),
        ("?deviceName=&directoryNumber=", boss, (400, {"reason": 0})),
        ("?directoryNumber=101", ANN, (403, None)),
        ("?directoryNumber=999", boss, (409, None)),
        ("?directoryNumber=103", boss, (409, None)),
        ("?directoryNumber=B1", boss, (409, None)),
        ("?deviceName=SEPX&directoryNumber=101", boss, (409, None)),
        ("?directoryNumber=201", boss, (400, {"reason": 2})),
    ):
        assert (await desk.delete(query, who)).short == answer, query
    assert {first, second, other} <= {*await desk.recorded()}
    assert (await desk.delete("?directoryNumber=101&deviceName=SEP101")).short == (204, None)
    assert not {first, second} & {*await desk.recorded()}
    assert (await desk.delete("?DeviceName=sep101")).short == (204, None)
    assert other not in await desk.recorded()
    assert (await desk.delete("?deviceName=SEP101")).short == (409, None)


async def test_a_user_stops_their_own_line(desk: Desk) -> None:
    await started(desk)
    await desk.call("201")
    for who, answer in (
        ("none@shop.example", (403, None)),
        ("denied@shop.example", (403, None)),
        ("boss@shop.example", (400, {"reason": 3})),
        ("auto@shop.example", (400, {"reason": 2})),
        (BOB, (409, None)),
        (ANN, (204, None)),
        (ANN, (409, None)),
    ):
        assert (await desk.delete("/mine", who)).short == answer, who


# pause


async def test_a_recording_is_paused_and_goes_on_by_its_id(desk: Desk) -> None:
    mine = await started(desk)
    boss = "boss@shop.example"
    for path, who, answer in (
        ("x/Pause", boss, (400, {"reason": 0})),
        (f"{mine}/Pause", ANN, (403, None)),
        (f"{mine}/Pause", BANK, (409, None)),
        (f"{UNKNOWN}/Resume", boss, (409, None)),
        (f"{mine}/Resume", boss, (429, None)),
        (f"{mine}/Pause", boss, (204, None)),
        (f"{mine}/pause", boss, (429, None)),
    ):
        assert (await desk.put(path, who)).short == answer, (path, who)
    (shown,) = (await desk.get(LIVE)).json
    assert shown["isPaused"] is True
    assert (await desk.put(f"{mine.upper()}/Resume")).short == (204, None)
    (shown,) = (await desk.get(LIVE)).json
    assert shown["isPaused"] is False


async def test_all_recordings_on_a_line_are_paused_and_go_on(desk: Desk) -> None:
    await started(desk)
    automatic = await desk.call("201")
    boss = "boss@shop.example"
    for path, who, answer in (
        ("Pause", boss, (400, {"reason": 0})),
        ("Pause?deviceName=SEP101", boss, (400, {"reason": 0})),
        ("Pause?directoryNumber=101", ANN, (403, None)),
        ("Pause?directoryNumber=103", boss, (409, None)),
        ("Pause?directoryNumber=201", boss, (204, None)),
        ("Pause?directoryNumber=201", boss, (429, None)),
        ("Pause?directoryNumber=101", boss, (204, None)),
    ):
        assert (await desk.put(path, who)).short == answer, (path, who)
    assert desk.state(automatic) == "paused"
    another = await started(desk)
    assert (await desk.put("Pause?directoryNumber=101")).status == 204, "one was not paused"
    paused = {each["id"]: each["isPaused"] for each in (await desk.get(LIVE)).json}
    assert len(paused) == 3
    assert all(paused.values())
    assert (await desk.put(f"{another}/Resume")).status == 204
    assert (await desk.put("Resume?directoryNumber=101")).status == 204
    assert (await desk.put("Resume?directoryNumber=101")).status == 429


# list


async def test_recordings_that_go_on_are_listed_by_filters(desk: Desk) -> None:
    assert (await desk.get(LIVE)).short == (200, [])
    first = await started(desk)
    second = await started(desk, "103")
    await desk.call("101")
    theirs = await started(desk, "B1", BANK)
    for query, found in (
        ("", [first, second]),
        ("?deviceName=SEP101", [first]),
        ("?directoryNumber=103", [second]),
        ("?directoryNumber=101&username=ann", [first]),
        ("?directoryNumber=101&username=bob", []),
        ("?username=ANN@shop.example", [first]),
        ("?numericUserId=4711", [first]),
        ("?numericUserId=471", []),
        ("?username=ann&deviceName=SEPX", []),
        ("?directoryNumber=B1", []),
        ("?username=", [first, second]),
        ("?other=1", [first, second]),
    ):
        listed = [each["id"] for each in (await desk.get(LIVE + query)).json]
        assert listed == found, query
    assert await desk.recorded("root@system.example") == [first, second, theirs]
    for who in (ANN, "none@shop.example"):
        assert (await desk.get(LIVE, who)).short == (403, None)


async def test_what_is_shown_of_a_recording_that_goes_on(desk: Desk) -> None:
    live = await desk.call("101", ani="103")
    await desk.control(live, Action.START)
    (shown,) = (await desk.get(LIVE)).json
    assert live.recording
    assert shown["id"] == str(UUID(live.recording.id))
    # The caller's line decides whose call it was.
    assert shown["localParty"] == {"username": "bob"}
    assert shown["remoteParty"] == {"firstName": "Ann", "lastName": "Smith", "phoneNumber": "101"}
    assert shown["isPaused"] is False
    assert shown["startedAt"].endswith("+00:00")
    assert shown["duration"].startswith("PT0M")
    assert list(shown) == [
        *("id", "duration", "startedAt", "localParty", "remoteParty", "isPaused"),
    ]


async def test_what_one_may_not_see_is_not_on_any_line(desk: Desk) -> None:
    boss = desk.node.services.directory.entries.users["boss@shop.example"]
    await started(desk)
    await desk.node.services.directory.put(structs.replace(boss, routes=[20]))
    assert await desk.recorded() == []
    assert (await desk.start(directoryNumber="101")).short == (409, {"reason": 1})
    assert (await desk.delete("?directoryNumber=101")).short == (409, None)


async def test_a_route_can_change_what_a_line_may_do(desk: Desk) -> None:
    await desk.node.services.directory.put(Route(20, 100, pattern="20%", record="on_demand"))
    live = await desk.call("201")
    assert (await desk.start(directoryNumber="201")).status == 201
    assert json.loads((await desk.get(LIVE)).body)[0]["localParty"] == {"username": "auto"}
    desk.hang_up(live)
    assert await desk.recorded() == []

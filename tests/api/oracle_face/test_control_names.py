"""File names that a start or a stop gives a recording."""

import asyncio
from datetime import UTC, datetime

import pytest

from storage.records import Recording, RecordingQuery
from tests.api.oracle_face.desk import Desk, simultaneously
from tests.api.oracle_face.hearing import give

RENAMED = (
    "This file has been renamed by the recorder, please use the following new filename for future "
    "commands: "
)
MARGIN_S = 20
"""What a test may take: a name is free or taken within the minute the recording began."""


async def early() -> None:
    """Wait for the next minute, unless this one has still some time."""
    if (left := 60 - datetime.now(UTC).second) < MARGIN_S:
        await asyncio.sleep(left)


async def stored(desk: Desk) -> dict[str, Recording]:
    """All recordings there are, by file name, once their files are made."""
    library = desk.node.services.library
    rows = await library.match(RecordingQuery())
    return {row.filename: await library.finished(row.id) for row in rows}


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("startstoptest.wav", "startstoptest.wav"),
        ("Anruf von M\u00fcller (2).WAV", "Anruf von M\u00fcller (2).WAV"),
        ("call", "call.wav"),
        ("a\nb.wav", "a_b.wav"),
        ("\u202egnp.wav", "_gnp.wav"),
        ("-rf.wav", "rf.wav"),
        ("con", "_con.wav"),
    ],
    ids=ascii,
)
async def test_a_name_is_made_fit_to_be_stored(desk: Desk, asked: str, name: str) -> None:
    message = "ACK" if name == asked else f"{RENAMED}{name}"
    live = await desk.call(dnis="777")
    said = await give(desk, "start", live, body={"filename": asked})
    assert (said.message, said.recording["filename"]) == (message, name)
    assert "previousFilename" not in said.recording
    # The name is for future commands, to the live call and then to the stored recording.
    said = await desk.post("audioRecording/stop", filename=name)
    assert (said.message, said.recording["filename"]) == ("ACK", name)
    second = await desk.call(dnis="8675309", ucid="U2")
    own = second.recording and second.recording.filename
    await desk.calls[second.id].play(0.1)
    said = await give(desk, "stop", second, body={"filename": f"2 {asked}"})
    assert said.recording["previousFilename"] == own == "8675309-U2.wav"
    assert said.recording["archiverAction"] == "2"
    new = said.recording["filename"]
    assert said.message == ("ACK" if new == f"2 {asked}" else f"{RENAMED}{new}")
    assert {*await stored(desk)} == {name, new}
    shown = (await desk.get("audioRecording/details", filename=new)).recording
    assert (shown["isrUcid"], shown["archived"]) == ("U2", "1")
    file = await desk.get("audioRecording/download", filename=new)
    assert file.body[:4] == b"RIFF"


async def test_a_name_that_is_taken_gets_a_number(desk: Desk) -> None:
    await early()
    calls = [await desk.call(dnis="777") for _ in range(5)]
    asked = ["x.wav", "X.wav", "x", "x-1.wav", "y.wav"]
    names = ["x.wav", "X-1.wav", "x-2.wav", "x-1-1.wav", "y.wav"]
    for live, wanted, name in zip(calls, asked, names, strict=True):
        said = await give(desk, "start", live, body={"filename": wanted})
        assert (said.code, said.recording["filename"]) == (0, name)
        assert said.message == ("ACK" if name == wanted else f"{RENAMED}{name}")
    for live in calls[:4]:
        assert (await give(desk, "stop", live)).code == 0
    # Live, being rendered or stored: a name is taken, but not by the recording itself.
    said = await give(desk, "stop", calls[4], body={"filename": "x.wav"})
    assert (said.message, said.recording["filename"]) == (f"{RENAMED}x-3.wav", "x-3.wav")
    assert said.recording["previousFilename"] == "y.wav"
    assert {*await stored(desk)} == {*names[:4], "x-3.wav"}
    live = await desk.call()
    said = await give(desk, "stop", live, body={"filename": "x.wav"})
    assert said.recording["filename"] == "x-4.wav"


async def test_the_name_it_has_already_is_its_own(desk: Desk) -> None:
    live = await desk.call(dnis="777")
    await give(desk, "start", live, body={"filename": "x.wav"})
    said = await give(desk, "stop", live, body={"filename": "x.wav"})
    assert (said.code, said.message) == (0, "ACK")
    shown = said.recording
    assert (shown["filename"], shown["previousFilename"]) == ("x.wav", "x.wav")


@pytest.mark.parametrize("verb", ["start", "stop"])
async def test_of_several_who_ask_for_one_name_at_once_each_gets_another(
    desk: Desk, verb: str
) -> None:
    await early()
    dnis = "777" if verb == "start" else "8675309"
    calls = [await desk.call(dnis=dnis) for _ in range(6)]
    await desk.token()
    body = {"filename": "x.wav"}
    said = await simultaneously(*(give(desk, verb, live, body=body) for live in calls))
    assert [each.code for each in said] == [0] * 6, [each.text for each in said]
    names = [each.recording["filename"] for each in said]
    assert sorted(names) == ["x-1.wav", "x-2.wav", "x-3.wav", "x-4.wav", "x-5.wav", "x.wav"]
    for each, name in zip(said, names, strict=True):
        assert each.message == ("ACK" if name == "x.wav" else f"{RENAMED}{name}")
    for live in calls:
        await desk.hang_up(live)
    assert {*await stored(desk)} == {*names}

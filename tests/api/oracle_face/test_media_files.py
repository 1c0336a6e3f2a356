"""Supplemental files over FACE: video for who may see it, and criteria about it."""

from typing import Any

from msgspec import structs

from storage.entries import Account, Entry, Route, User
from storage.records import Recording, SupplementalFile
from tests.api.oracle_face.desk import DIRECTORY, Desk, Said
from tests.api.oracle_face.test_media import BANK, SHOP, WEAK, said, stored

FILE = "file/download"
DETAILS = "audioRecording/details"
VIDEO, MORE = b"\0\0\0\x18ftypmp42 one", b"\0\0\0\x18ftypmp42 two"
NAMES = ("8675309-dfe-1.mp4", "8675309 & dfe-2.mp4")


async def filmed(desk: Desk, recording_id: str = "r1", **changes: Any) -> Recording:
    """A finished recording of the shop with two videos."""
    videos = tuple(
        SupplementalFile(number, "video", name, desk.node.put(recording_id, f"{number}.mp4", data))
        for number, (name, data) in enumerate(zip(NAMES, (VIDEO, MORE), strict=True), 1)
    )
    return await stored(desk, recording_id, supplemental_files=videos, **changes)


async def change(desk: Desk, kind: type[Entry], key: object, **fields: Any) -> None:
    """Change an entry of the directory; `key`: the value of its first field."""
    entries = [each for each in DIRECTORY if isinstance(each, kind)]
    (entry,) = [each for each in entries if getattr(each, each.__struct_fields__[0]) == key]
    await desk.node.services.directory.put(structs.replace(entry, **fields))


async def test_a_video_is_found_by_its_name_and_id(desk: Desk) -> None:
    row = await filmed(desk)
    shown = (await desk.get(DETAILS, recordingId=row.number)).recording
    first, second = (each["supplementalFile"] for each in shown["supplementalFiles"])
    assert shown["hasVideo"] == "true"
    assert (first["fileType"], first["filename"], second["filename"]) == ("video", *NAMES)
    for each, data in ((first, VIDEO), (second, MORE)):
        wanted = {"filename": each["filename"], "supplementalFileId": each["supplementalFileId"]}
        for narrowed in (wanted, {**wanted, "type": "video"}):
            whole = await desk.get(FILE, **narrowed)
            assert (whole.status, whole.body) == (200, data)
    assert whole.headers["Content-Type"] == "video/mp4"
    assert whole.headers["Content-Disposition"] == f'attachment; filename="{NAMES[1]}"'
    part = await desk.get(FILE, **wanted, headers={"Range": "bytes=4-11"})
    assert (part.status, part.body) == (206, b"ftypmp42")
    head = await desk.ask("HEAD", FILE, **wanted)
    assert (head.headers["Content-Length"], head.body) == (str(len(MORE)), b"")
    nothing = (200, 19, "No recording found with supplied criteria")
    assert said(await desk.get(FILE, BANK, **wanted)) == nothing
    for changed in (
        {"filename": NAMES[0]},
        {"filename": NAMES[1].upper()},
        {"filename": row.filename},
        {"supplementalFileId": first["supplementalFileId"]},
        {"supplementalFileId": 0},
        {"supplementalFileId": int(second["supplementalFileId"]) + 1},
        {"supplementalFileId": 999_999_999_999_999},
    ):
        assert said(await desk.get(FILE, **{**wanted, **changed})) == nothing
    desk.node.services.blobs.delete(row.supplemental_files[1].file.key)
    gone = await desk.get(FILE, **wanted)
    assert said(gone) == (200, 11, "Error retrieving file with supplied criteria")


async def test_what_has_to_be_said_and_what_cannot_be(desk: Desk) -> None:
    both = {"filename": NAMES[0], "supplementalFileId": "1001"}
    for name in both:
        rest = {key: text for key, text in both.items() if key != name}
        for parameters in (rest, {**rest, name: ""}):
            missing = await desk.get(FILE, **parameters)
            assert said(missing) == (200, 27, f"Missing Parameter - {name} is required")
    no_token = await desk.get(FILE, None, **both)
    assert said(no_token) == (200, 27, "Missing Parameter - token is required")
    for name, text in (
        ("type", "audio"),
        ("type", ""),
        ("supplementalFileId", "x"),
        ("supplementalFileId", "-1"),
        ("supplementalFileId", "١"),
        ("supplementalFileId", "9" * 5000),
        ("fileName", "x"),
        ("recordingId", "1"),
    ):
        invalid = await desk.get(FILE, **{**both, name: text})
        assert said(invalid) == (200, -1, f"Invalid Parameter - {name}")
    assert said(await desk.post(FILE, **both))[:2] == (405, 5)


async def test_a_video_is_for_whom_user_account_and_route_let_see_it(desk: Desk) -> None:
    row = await filmed(desk)
    wanted = {"filename": NAMES[0], "supplementalFileId": str(row.number * 1000 + 1)}
    rights = ["download", "video"]

    async def seen() -> Said:
        video = await desk.get(FILE, **wanted)
        chosen = await desk.get(DETAILS, recordingId=row.number, mustHaveVideo="true")
        assert (chosen.code == 0) == (video.status == 200 and video.body == VIDEO)
        if chosen.code:
            assert said(chosen) == (200, 19, "No recording found with supplied criteria")
        assert (await desk.get(DETAILS, recordingId=row.number)).recording["hasVideo"] == "true"
        return video

    assert (await seen()).body == VIDEO
    refused = (200, 1, "Feature Not Licensed")
    await change(desk, User, SHOP, permissions=["download"])
    assert said(await seen()) == refused
    await change(desk, User, SHOP, permissions=rights)
    await change(desk, Account, 100, video_access=False)
    assert said(await seen()) == refused
    await change(desk, Route, 13, video_access=True)
    assert said(await seen()) == refused
    await change(desk, Account, 100)
    await change(desk, Route, 13, video_access=False)
    assert said(await seen()) == refused
    await change(desk, Route, 13, video_access=None)
    assert (await seen()).body == VIDEO
    denied = await desk.get(FILE, WEAK, **wanted)
    assert said(denied) == (200, -1, "Permission denied")


async def test_with_video_or_without_any_other_file(desk: Desk) -> None:
    film = await filmed(desk, "r1", ani="1234")
    sound = await stored(desk, "r2", ani="1234")

    async def number(**flags: str) -> str:
        shown = (await desk.get(DETAILS, from_="1234", **flags)).recording
        return str(shown["recordingId"])

    assert await number(mustHaveVideo="true") == str(film.number)
    assert await number(audioOnly="true") == str(sound.number)
    for flags in ({}, {"mustHaveVideo": "false"}, {"audioOnly": "false"}):
        listed = (await desk.get(DETAILS, from_="1234", **flags)).matches
        assert [each["hasVideo"] for each in listed] == ["true", "false"]
    neither = await desk.get(DETAILS, from_="1234", mustHaveVideo="true", audioOnly="true")
    assert neither.code == 19
    whole = await desk.get("audioRecording/download", from_="1234", mustHaveVideo="true")
    assert whole.headers["Content-Disposition"] == 'attachment; filename="r1.wav"'
    odd = await desk.get(DETAILS, from_="1234", mustHaveVideo="True")
    assert (odd.code, odd.message) == (-1, "Invalid Parameter - mustHaveVideo")
    deleted = await desk.ask("DELETE", DETAILS, from_="1234", mustHaveVideo="true")
    assert deleted.message == "delete command returned successfully"
    blobs = desk.node.services.blobs
    assert not [each for each in film.supplemental_files if blobs.exists(each.file.key)]

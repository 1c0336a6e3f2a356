"""Recordings over HTTP: who sees, finds, changes, hears and deletes what."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import ClientSession
from structlog.testing import capture_logs

from api.native import recording as json
from media.spec import MediaFile, RenderFailed
from siprec import conversion
from storage.entries import Account, CustomField, MetadataType, Permission, Route, User
from storage.records import Extension, Participant, SiprecSession
from tests.api.native.asking import get, speak, status_of, until
from tests.api.node import PEAKS, STARTED, Node

RECORDINGS = "/srs/v1/recordings"
OPERATIONS: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("GET", "", {}),
    ("HEAD", "", {}),
    ("POST", "", {"note": "mine"}),
    ("POST", "", {"filename": "mine.wav", "custom": {"case": "1"}, "hold": True}),
    ("GET", "/media", {}),
    ("HEAD", "/media", {}),
    ("GET", "/media?format=mp3", {}),
    ("GET", "/peaks", {}),
    ("HEAD", "/peaks", {}),
    ("DELETE", "", {}),
)
"""Everything that can be done with one recording."""
PASSWORD = "correct horse battery"


@pytest.fixture
async def filled(node: Node) -> Node:
    """A node with two accounts, and a recording of one of them."""
    for entry in (
        Account(100),
        Account(200),
        Route(7, 100),
        Route(8, 100),
        CustomField("case"),
        CustomField("budget", [200]),
        MetadataType("apkt:realm"),
    ):
        await node.services.directory.put(entry)
    await node.stored(account=100, route=7, filename="call.wav")
    return node


def client_of(node: Node, token: str) -> ClientSession:
    return ClientSession(node.server.url, headers={"Authorization": f"Bearer {token}"})


async def client_with(node: Node, role: str, account: int) -> ClientSession:
    """The client of a new API key."""
    return client_of(node, await node.services.keys.add(f"{role} {account}", role, account))


async def client_as(node: Node, user: User) -> ClientSession:
    """The client of a new user, logged in."""
    now = datetime.now(UTC)
    await node.services.directory.put(user)
    await node.services.users.set_password(user.email, PASSWORD, now)
    token = await node.services.users.login(user.email, PASSWORD, None, now)
    return client_of(node, token.text)


# whose it is


@pytest.mark.parametrize("who", ["operator", "admin", "user", "administrator", "of another route"])
async def test_what_belongs_to_others_is_not_there(filled: Node, who: str) -> None:
    match who:
        case "user":
            everything: list[Permission] = ["playback", "download", "edit", "delete", "video"]
            client = await client_as(filled, User("u@x", 200, "api", permissions=everything))
        case "administrator":
            client = await client_as(filled, User("a@x", 200, "admin"))
        case "of another route":
            client = await client_as(filled, User("r@x", 100, "admin", routes=[8]))
        case role:
            client = await client_with(filled, role, 200)
    before = await filled.services.catalog.get("r1")
    async with client:
        for method, path, body in OPERATIONS:
            found = {
                await status_of(client, method, f"{RECORDINGS}/{name}{path}", **body)
                for name in ("r1", "nothing")
            }
            below_admin = who in {"operator", "user"} and ("hold" in body or method == "DELETE")
            assert found == {404} or (below_admin and found == {403}), (method, path, found)
        for query in ({}, {"account": 100}, {"route": 7}, {"filename": "call.wav"}, {"number": 1}):
            page = await get(client, RECORDINGS, json.RecordingList, **query)
            assert (page.items, page.next) == ([], None), query
    assert await filled.services.catalog.get("r1") == before
    assert all(filled.services.blobs.exists(file.key) for file in before.files)


async def test_what_is_not_there_and_what_is_hidden_look_the_same(filled: Node) -> None:
    async with await client_with(filled, "admin", 200) as client:
        texts = set()
        for name in ("r1", "r2"):
            async with client.get(f"{RECORDINGS}/{name}") as response:
                texts.add((await response.text()).replace(name, ""))
    assert len(texts) == 1


async def test_ones_own_is_there(filled: Node) -> None:
    async with await client_with(filled, "admin", 100) as client:
        assert (await get(client, f"{RECORDINGS}/r1", json.Recording)).account == 100
        page = await get(client, RECORDINGS, json.RecordingList, account=100, route=7, number=1)
        assert [row.id for row in page.items] == ["r1"]
        for method, path, body in OPERATIONS:
            if "mp3" not in path and method != "DELETE":
                found = await status_of(client, method, f"{RECORDINGS}/r1{path}", **body)
                assert found == 200, (method, path)
        assert await status_of(client, "POST", f"{RECORDINGS}/r1", hold=False) == 200
        assert await status_of(client, "DELETE", f"{RECORDINGS}/r1") == 204


# who may do what


@pytest.mark.parametrize(
    ("permissions", "allowed"),
    [
        ([], {"GET "}),
        (["playback"], {"GET ", "GET /media", "GET /peaks"}),
        (["download"], {"GET ", "GET /media", "GET /peaks"}),
        (["edit"], {"GET ", "POST "}),
        (["delete"], {"GET ", "DELETE "}),
        (["control", "video"], {"GET "}),
    ],
)
async def test_permissions(filled: Node, permissions: list[Permission], allowed: set[str]) -> None:
    user = User("u@x", 100, "tenant", permissions=permissions)
    async with await client_as(filled, user) as client:
        for method, path in (
            *(("GET", ""), ("GET", "/media"), ("GET", "/peaks")),
            *(("POST", ""), ("DELETE", "")),
        ):
            body = {"note": "x"} if method == "POST" else {}
            found = await status_of(client, method, f"{RECORDINGS}/r1{path}", **body)
            assert (found != 403) == (f"{method} {path}" in allowed), (method, path, found)


@pytest.mark.parametrize("change", [{"hold": True}, {"hold": False}, {"never_expire": True}])
async def test_evidence_is_the_admins(filled: Node, change: dict[str, bool]) -> None:
    async with await client_with(filled, "operator", 100) as client:
        assert await status_of(client, "POST", f"{RECORDINGS}/r1", note="n", **change) == 403
        assert (await get(client, f"{RECORDINGS}/r1", json.Recording)).note == ""
    async with await client_with(filled, "admin", 100) as client:
        assert await status_of(client, "POST", f"{RECORDINGS}/r1", note="n", **change) == 200


async def test_nobody_deletes_what_is_held(filled: Node) -> None:
    async with filled.client() as client:
        assert await status_of(client, "POST", f"{RECORDINGS}/r1", hold=True) == 200
        async with client.delete(f"{RECORDINGS}/r1") as response:
            assert response.status == 409
            assert "held" in (await response.json(content_type=None))["detail"]
        found = await get(client, f"{RECORDINGS}/r1", json.Recording)
        assert [(e.action, e.reason) for e in found.history] == [
            ("update", "hold=true"),
            ("delete refused", "hold"),
        ]
        assert await status_of(client, "POST", f"{RECORDINGS}/r1", hold=False) == 200
        assert await status_of(client, "DELETE", f"{RECORDINGS}/r1") == 204


# change


async def test_a_change_is_answered_with_what_there_is_then(filled: Node) -> None:
    async with await client_with(filled, "operator", 100) as client:
        path = f"{RECORDINGS}/r1"
        body = {"note": "a\r\nb", "agent_id": "007", "custom": {"case": "4711"}, "sensitive": True}
        async with client.post(path, json={**body, "filename": "Gespräch 1"}) as response:
            assert response.status == 200
            answered = await response.json()
        found = await get(client, path, json.Recording)
        assert {**answered, "number": 1} == {**answered, "number": found.number}
        assert (found.note, found.agent_id, found.sensitive) == ("a\r\nb", "007", True)
        assert (found.filename, found.previous_filename) == ("Gespräch 1.wav", "call.wav")
        assert found.custom == {"case": "4711"}
        assert found.history[0].actor == "operator 100"
        page = await get(client, RECORDINGS, json.RecordingList, custom="case=4711")
        assert [row.id for row in page.items] == ["r1"]


@pytest.mark.parametrize(
    "body",
    [
        *({name: 1} for name in ("account", "route", "status", "deleting", "number", "key")),
        *({name: []} for name in ("files", "history", "participants")),
        {"recording_id": "r2"},
        {"id": "r2"},
        {"note": None},
        {"note": 7},
        {"custom": {"budget": "another account's"}},
        {"custom": {"account": "200"}},
        {"custom": {"case": "x" * 1025}},
        {"filename": "../../etc/passwd"},
        {"filename": "..%2f..%2fx.wav"},
        {"filename": "a\u0000.wav"},
        {"filename": "x" * 201},
    ],
)
async def test_what_cannot_be_changed_changes_nothing(filled: Node, body: dict[str, Any]) -> None:
    before = await filled.services.catalog.get("r1")
    async with filled.client() as client:
        path = f"{RECORDINGS}/r1"
        assert await status_of(client, "POST", path, agent_id="007", **body) == 400
    assert await filled.services.catalog.get("r1") == before


async def test_a_name_of_the_same_folder_is_taken(filled: Node) -> None:
    await filled.stored("r2", account=200, route=1, filename="Twin.wav")
    async with filled.client() as client:
        for name in ("Twin.wav", "tWIN"):
            assert await status_of(client, "POST", f"{RECORDINGS}/r1", filename=name) == 409
        assert await status_of(client, "POST", f"{RECORDINGS}/r1", filename="twin 2") == 200


async def test_a_live_recording_is_changed_but_not_renamed(calling: Node) -> None:
    await calling.services.directory.put(CustomField("case"))
    live = await calling.call()
    assert live.recording
    path = f"{RECORDINGS}/{live.recording.id}"
    speak(live.streams[0].port.rtp_port, 10)
    async with calling.client() as client:
        assert await status_of(client, "POST", path, note="n", custom={"case": "1"}) == 200
        assert await status_of(client, "POST", path, filename="new.wav") == 400
        found = await get(client, path, json.Recording)
        assert (found.note, found.custom, found.status) == ("n", {"case": "1"}, "recording")
        with calling.services.feed.subscribe() as events:
            calling.services.recorder.end("dialog call-1@src", "bye")
            await until(events, "recording.complete")
        assert await status_of(client, "POST", path, filename="new.wav") == 200
        done = await get(client, path, json.Recording)
        assert (done.note, done.custom, done.filename) == ("n", {"case": "1"}, "new.wav")


# find


FOUND: tuple[dict[str, Any], ...] = (
    {"number": 2},
    {"ucid": "00FA;encoding=hex"},
    {"any_ucid": "00FA;encoding=hex"},
    {"any_ucid": "the call"},
    {"call_id": "the call"},
    {"egress_call_id": "egress"},
    {"siprec_session_id": "hVpd7Q=="},
    {"third_party_id": "screen-1"},
    {"ani": "+4930"},
    {"dnis": "8675309"},
    {"filename": "it.wav"},
    {"agent_id": "007"},
    {"realm": "core"},
    {"aor": "carol@example.com"},
    {"aor": "sip:carol@example.com"},
    {"route": 8},
    {"account": 100, "route": 8},
    {"custom": "case=a=b' OR 1=1 --"},
    {"extension": "apkt:realm=core 1"},
    {"custom": "case=a=b' OR 1=1 --", "extension": "apkt:realm=core 1", "ani": "+4930"},
    {"started_after": "2026-11-22T14:05:07Z", "oldest_first": "true"},
)


@pytest.fixture
async def searched(filled: Node) -> AsyncIterator[ClientSession]:
    """A client of account 100, which has a recording with something in every field."""
    await filled.stored(
        "it",
        account=100,
        route=8,
        started_at=STARTED + timedelta(seconds=1),
        call_id="the call",
        ucid="00FA;encoding=hex",
        egress_call_id="egress",
        siprec_sessions=(SiprecSession("hVpd7Q==", None, (Extension("apkt:realm", ("core 1",)),)),),
        third_party_id="screen-1",
        ani="+4930",
        dnis="8675309",
        filename="it.wav",
        agent_id="007",
        realm="core",
        participants=(Participant("p", "sip:carol@example.com", "Carol"),),
        custom={"case": "a=b' OR 1=1 --"},
    )
    async with await client_with(filled, "operator", 100) as client:
        yield client


@pytest.mark.parametrize("query", FOUND, ids=str)
async def test_a_recording_is_found_by(searched: ClientSession, query: dict[str, Any]) -> None:
    page = await get(searched, RECORDINGS, json.RecordingList, **query)
    assert [row.id for row in page.items] == ["it"]


async def test_recordings_are_found_by_having_no_video(searched: ClientSession) -> None:
    for query, found in (
        ({"has_video": "false"}, 2),
        ({"has_video": "true"}, 0),
        ({"audio_only": "true"}, 2),
        ({"audio_only": "false"}, 0),
    ):
        page = await get(searched, RECORDINGS, json.RecordingList, **query)
        assert len(page.items) == found


@pytest.mark.parametrize(
    "query",
    [
        {"custom": "budget=1"},
        {"custom": "unknown=1"},
        {"custom": "case' OR '1'='1=1"},
        {"custom": "case"},
        {"custom": ["case=1", "case=2"]},
        {"extension": "apkt:secret=1"},
        {"extension": "apkt:realm"},
        {"has_video": "1"},
        {"account": "one"},
        {"number": "-1"},
        {"cursor": "' OR 1=1 --"},
        {"sort": "started_at; DROP TABLE recordings"},
        {"order": "desc"},
    ],
    ids=str,
)
async def test_what_cannot_be_searched_for(searched: ClientSession, query: dict[str, Any]) -> None:
    async with searched.get(RECORDINGS, params=query) as response:
        assert response.status == 400
        assert response.content_type == "application/problem+json"


# files


@pytest.mark.parametrize(
    ("filename", "disposition"),
    [
        ("call.wav", 'attachment; filename="call.wav"'),
        ("", 'attachment; filename="r2.wav"'),
        (
            "Gespräch 1.wav",
            "attachment; filename=\"Gespr_ch 1.wav\"; filename*=UTF-8''Gespr%C3%A4ch%201.wav",
        ),
        ('a".wav', "attachment; filename=\"a_.wav\"; filename*=UTF-8''a%22.wav"),
        (
            "x\r\nSet-Cookie: y.WAV",
            'attachment; filename="x__Set-Cookie: y.wav"; '
            "filename*=UTF-8''x%0D%0ASet-Cookie%3A%20y.wav",
        ),
        ("no ending", 'attachment; filename="no ending.wav"'),
    ],
)
async def test_a_download_bears_the_name_people_gave(
    filled: Node, filename: str, disposition: str
) -> None:
    await filled.stored("r2", filename=filename)
    async with filled.client() as client, client.get(f"{RECORDINGS}/r2/media") as response:
        assert response.headers["Content-Disposition"] == disposition
        assert "Set-Cookie" not in response.headers


async def test_what_is_being_deleted_is_shown_but_not_sent(filled: Node) -> None:
    await filled.stored("r2", deleting=True)
    async with filled.client() as client:
        assert (await get(client, f"{RECORDINGS}/r2", json.Recording)).deleting
        for path in ("media", "media?format=mp3", "peaks"):
            assert await status_of(client, "GET", f"{RECORDINGS}/r2/{path}") == 410
        assert await status_of(client, "POST", f"{RECORDINGS}/r2", note="n") == 400
        assert await status_of(client, "DELETE", f"{RECORDINGS}/r2") == 204
        assert await status_of(client, "GET", f"{RECORDINGS}/r2") == 404


async def test_a_conversion_that_fails_tells_nothing_about_the_inside(
    filled: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*args: Any) -> MediaFile:
        raise RenderFailed(f"{filled.folder}: lame is lame")

    renderer = filled.services.library._conversions._converter._renderer
    monkeypatch.setattr(renderer, "mp3", broken)
    path = f"{RECORDINGS}/r1/media?format=mp3"
    with capture_logs() as logs:
        async with filled.client() as client, client.get(path) as response:
            assert response.status == 500
            detail = (await response.json(content_type=None))["detail"]
    assert "could not be converted" in detail and "lame" not in detail
    (failed,) = (log for log in logs if log["event"] == "conversion_failed")
    assert "lame is lame" in failed["error"]


async def test_a_conversion_that_takes_long_says_when_to_come_again(
    filled: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversion, "LIMIT_S", 0)
    path = f"{RECORDINGS}/r1/media?format=mp3"
    async with filled.client() as client, await client_with(filled, "admin", 1) as other:
        async with client.get(path) as response:
            assert (response.status, response.headers["Retry-After"]) == (503, "10")
        async with other.get(path) as response:
            assert (response.status, response.headers["Retry-After"]) == (409, "10")


# calls and files


async def test_a_recording_from_its_call_to_its_files(calling: Node) -> None:
    live = await calling.call()
    assert live.recording
    path = f"{RECORDINGS}/{live.recording.id}"
    async with calling.client() as client:
        with calling.services.feed.subscribe() as events:
            speak(live.streams[0].port.rtp_port, 10)
            growing = await get(client, path, json.Recording)
            assert (growing.status, growing.ended_at) == ("recording", None)
            assert await status_of(client, "GET", f"{path}/media") == 409
            assert await status_of(client, "GET", f"{path}/peaks") == 409
            assert await status_of(client, "DELETE", path) == 409
            calling.services.recorder.end("dialog call-1@src", "bye")
            await until(events, "recording.complete")
        done = await get(client, path, json.Recording)
        assert (done.status, done.reason) == ("complete", "")
        assert [stream.packets for stream in done.streams] == [10, 0]
        assert [entry.action for entry in done.history] == ["start", "stop"]
        files = {file.format: file for file in done.files}
        assert set(files) == {"wav", "peaks"}
        async with client.get(files["wav"].url) as response:
            wav = await response.read()
            assert (wav[:4], len(wav)) == (b"RIFF", files["wav"].size_bytes)
        await get(client, files["peaks"].url, json.Peaks)
        async with client.get(f"{path}/media", params={"format": "mp3"}) as response:
            assert (response.status, response.content_type) == (200, "audio/mpeg")
            mp3 = await response.read()
        done = await get(client, path, json.Recording)
        assert {file.format: file.size_bytes for file in done.files}["mp3"] == len(mp3)


async def test_a_live_recording_has_its_duration_of_now(calling: Node) -> None:
    live = await calling.call(received_at=STARTED)
    await calling.services.writer.stored(live.recording.id if live.recording else "")
    async with calling.client() as client:
        listed = await get(client, RECORDINGS, json.RecordingList, status="recording")
        assert listed.items[0].duration_ms > 0
        one = await get(client, f"{RECORDINGS}/{listed.items[0].id}", json.Recording)
        assert one.duration_ms >= listed.items[0].duration_ms


async def test_recordings_are_filtered_and_paged(node: Node, client: ClientSession) -> None:
    hour = timedelta(hours=1)
    carol = (Participant("p", "sip:carol@example.com", "Carol"),)
    await node.stored("r1", call_id="c1", session_id="s1")
    await node.stored("r2", started_at=STARTED + hour, status="failed", reason="no_media")
    await node.stored("r3", started_at=STARTED + 2 * hour, participants=carol)

    async def found(**query: Any) -> list[str]:
        page = await get(client, RECORDINGS, json.RecordingList, **query)
        return [row.id for row in page.items]

    assert await found() == ["r3", "r2", "r1"]
    assert await found(status="failed") == ["r2"]
    assert await found(call_id="c1") == await found(session_id="s1", call_id="c1") == ["r1"]
    assert await found(aor="sip:carol@example.com") == ["r3"]
    assert await found(started_after="2026-11-22T16:05:06+01:00") == ["r3", "r2"]
    assert await found(started_before="2026-11-22T15:05:06.789Z") == ["r1"]
    first = await get(client, RECORDINGS, json.RecordingList, limit=2)
    rest = await get(client, RECORDINGS, json.RecordingList, limit=2, cursor=first.next)
    assert ([r.id for r in rest.items], rest.next) == (["r1"], None)


async def test_peaks_are_the_stored_ones(node: Node, client: ClientSession) -> None:
    await node.stored()
    async with client.get(f"{RECORDINGS}/r1/peaks") as response:
        assert await response.read() == PEAKS


async def test_what_has_no_file_is_404(node: Node, client: ClientSession) -> None:
    await node.stored(status="failed", files=())
    for path in ("media", "media?format=mp3", "peaks"):
        assert await status_of(client, "GET", f"{RECORDINGS}/r1/{path}") == 404


async def test_deleting_takes_row_and_files(node: Node, client: ClientSession) -> None:
    row = await node.stored()
    with node.services.feed.subscribe() as events:
        assert await status_of(client, "DELETE", f"{RECORDINGS}/r1") == 204
        await until(events, "recording.deleted")
    assert await status_of(client, "GET", f"{RECORDINGS}/r1") == 404
    assert await status_of(client, "DELETE", f"{RECORDINGS}/r1") == 404
    assert not any(node.services.blobs.exists(file.key) for file in row.files)


async def test_a_database_that_is_gone_is_503(node: Node, client: ClientSession) -> None:
    (node.folder / "siprecd.db").rename(node.folder / "away.db")
    async with client.get(RECORDINGS) as response:
        assert response.status == 503
        assert response.headers["Retry-After"] == "1"
        assert str(node.folder) not in await response.text()
    (node.folder / "away.db").rename(node.folder / "siprecd.db")
    assert await status_of(client, "GET", RECORDINGS) == 200


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_what_can_be_got_can_be_asked_about(node: Node, method: str) -> None:
    await node.stored()
    async with node.client("operator") as client:
        for path in ("", "/r1", "/r1/media", "/r1/peaks"):
            async with client.request(method, RECORDINGS + path) as response:
                assert response.status == 200
                length = len(await response.read())
                assert length == (response.content_length if method == "GET" else 0)
                assert response.content_length

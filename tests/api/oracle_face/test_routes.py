"""The door: paths, methods, encodings, hosts, and the statuses of refusals."""

from pathlib import Path
from typing import Any

import aiohttp

from config.dialects import Face
from config.schema import Api
from siprec import __version__
from tests.api.oracle_face.desk import Desk, open_desk

PROLOG = '<?xml version="1.0" encoding="UTF-8"?>'
JSON = {"Accept": "application/json"}
INVALID = f"{PROLOG}<result><code>5</code><message>Invalid Command</message></result>"
NO_TOKEN = "Missing Parameter - token is required"
BAD_TOKEN = "Invalid or expired token"
GUESSES = 50
METHODS = {
    "login": "POST",
    "version": "GET, HEAD",
    "eventNotify": "GET, HEAD",
    "StartScreenCapture": "GET, HEAD",
    "StopScreenCapture": "GET, HEAD",
    "file/download": "GET, HEAD",
    "Recordings/a.wav": "GET, HEAD",
    "audioRecording/details": "GET, HEAD, POST, DELETE",
    "audioRecording/delete": "POST",
    "audioRecording/download": "GET, HEAD",
    "audioRecording/redirect": "GET, HEAD",
    "audioRecording/start": "POST",
    "audioRecording/stop": "POST",
    "audioRecording/pause": "POST",
    "audioRecording/resume": "POST",
}
RESPONSES = {"eventNotify", "StartScreenCapture", "StopScreenCapture"}


def use_address(desk: Desk, host: str) -> None:
    """From now on requests come from this loopback address."""
    connector = aiohttp.TCPConnector(local_addr=(host, 0))
    desk.http = aiohttp.ClientSession(connector=connector)
    desk.stack.push_async_callback(desk.http.close)


# paths


async def test_a_recording_without_a_command(desk: Desk) -> None:
    for path in ("audioRecording", "audioRecording/"):
        for method in ("GET", "POST", "DELETE", "PUT"):
            said = await desk.ask(method, path, isrUcid="U1")
            assert (said.status, said.text) == (
                200,
                f"{PROLOG}<result><code>4</code>"
                "<message>Missing Command - command parameter is required</message></result>",
            )


async def test_commands_that_there_are_not(desk: Desk) -> None:
    live = await desk.call(ucid="U1")
    for path in (
        "audioRecording/Details",
        "audioRecording/PAUSE",
        "audioRecording/pause/",
        "audioRecording/pause/now",
        "audioRecording/split",
        "audioRecording/segment/details",
    ):
        said = await desk.post(path, isrUcid="U1")
        assert (said.status, said.text) == (200, INVALID), path
    assert live.state == "recording"
    json = await desk.get("audioRecording/x", headers=JSON)
    assert json.text == '{"result":{"code":5,"message":"Invalid Command"}}'


async def test_unknown_recording_commands_are_told_to_users_only(desk: Desk) -> None:
    for path in ("audioRecording", "audioRecording/x"):
        said = await desk.get(path, who=None)
        assert (said.status, said.code, said.message) == (200, 27, NO_TOKEN)
        said = await desk.get(path, who=None, token="x")
        assert (said.status, said.code, said.message) == (401, -1, BAD_TOKEN)


async def test_paths_that_there_are_not(desk: Desk) -> None:
    for path in (
        "",
        "audiorecording/details",
        "audioRecordings",
        "Version",
        "version/",
        "Login",
        "startScreenCapture",
        "file",
        "Recordings",
    ):
        said = await desk.get(path, who=None)
        assert (said.status, said.text) == (404, INVALID), path
    async with desk.http.get(f"{desk.node.server.url}/face/version") as response:
        assert response.status == 404
        assert response.content_type == "application/problem+json"


# methods


async def test_a_wrong_method_is_no_command(desk: Desk) -> None:
    for path, methods in METHODS.items():
        method = "PATCH" if "POST" in methods else "POST"
        root, code = ("response", "Code") if path in RESPONSES else ("result", "code")
        said = await desk.ask(method, path, who=None)
        assert (said.status, said.headers["Allow"]) == (405, methods), path
        assert said.text == (
            f"{PROLOG}<{root}><{code}>5</{code}><message>Invalid Command</message></{root}>"
        )
        json = await desk.ask(method, path, who=None, headers=JSON)
        assert json.text == f'{{"{root}":{{"{code}":5,"message":"Invalid Command"}}}}'


async def test_no_method_but_post_controls(desk: Desk) -> None:
    live = await desk.call(ucid="U1")
    for command in ("pause", "stop"):
        for method in ("GET", "HEAD", "PUT", "DELETE"):
            said = await desk.ask(method, f"audioRecording/{command}", isrUcid="U1")
            assert said.status == 405, method
    assert live.state == "recording"


async def test_head_is_get_without_the_body(desk: Desk) -> None:
    await desk.call(ucid="U1")
    for path in ("version", "audioRecording/details"):
        get = await desk.get(path)
        head = await desk.ask("HEAD", path)
        assert (head.status, head.body) == (get.status, b"")
        assert head.headers["Content-Type"] == get.headers["Content-Type"]
    said = await desk.ask("HEAD", "audioRecording/details", token="x")
    assert (said.status, said.body) == (401, b"")


# version


async def test_the_version(desk: Desk) -> None:
    said = await desk.get("version", who=None)
    version, _, build = said.tree["version"].partition(" build ")
    assert version == __version__ and len(build) == 12
    assert said.text == f"{PROLOG}<result><version>{version} build {build}</version></result>"
    json = await desk.get("version", who=None, headers=JSON)
    assert json.text == f'{{"result":{{"version":"{version} build {build}"}}}}'


# encodings


QUERIES = {
    "aor=%2B491234@soh.net": True,
    "aor=%2B491234%40soh.net": True,
    "aor=%2b491234%40soh%2enet": True,
    "aor=sip:%2B491234@soh.net": True,
    "aor=sip%3A%2B491234%40soh.net": True,
    "aor=+491234@soh.net": False,  # a plus is a blank
    "aor=%2B491234%3Asoh.net": False,  # a colon, whatever the guide says
    "aor=sip%253A%2B491234@soh.net": False,  # decoded once
    "from=%2B491234": True,
    "from=+491234": False,
    "from=%20491234": False,
    "isrUcid=%C3%A4;a=b/%26": True,
    "isrUcid=%c3%a4%3ba%3db%2f%26": True,
    "isrUcid=%E4;a=b/%26": False,  # not UTF-8
    "isrUcid=nobody&isrUcid=%C3%A4;a=b/%26": True,  # the last one counts
    "isrUcid=%C3%A4;a=b/%26&isrUcid=nobody": False,
}


async def test_values_are_decoded_as_forms_are(desk: Desk) -> None:
    await desk.call("+491234", ucid="ä;a=b/&")
    for query, is_found in QUERIES.items():
        said = await desk.get("audioRecording/details", query=f"&{query}")
        none = 26 if "Ucid" in query else 19
        assert (said.status, said.code) == (200, 0 if is_found else none), query


async def test_names_of_parameters_are_shown_as_text_can_be(desk: Desk) -> None:
    said = await desk.get("audioRecording/details", query="&<b>=1")
    assert said.text.endswith("<message>Invalid Parameter - &lt;b&gt;</message></result>")
    said = await desk.get("audioRecording/details", query="&%00%01%0a=1")
    assert said.message.startswith("Invalid Parameter - ")
    said = await desk.get("audioRecording/details", query="&%22%5C=1", headers=JSON)
    assert said.text == '{"result":{"code":-1,"message":"Invalid Parameter - \\"\\\\"}}'


# statuses


async def asked_in_all_wrong_ways(desk: Desk) -> list[tuple[int, int, str]]:
    said = [
        await desk.get("audioRecording/details", token="x"),
        await desk.get("nothing"),
        await desk.get("login"),
        await desk.login("isr@shop.example", "wrong"),
        await desk.get("audioRecording/details", isrUcid="nobody"),
        await desk.post("login", body=b"a=" + bytes(70_000), headers={"Content-Type": ""}),
    ]
    assert said[2].headers["Allow"] == "POST"
    return [(each.status, each.code, each.message) for each in said]


WRONG = [
    (401, -1, BAD_TOKEN),
    (404, 5, "Invalid Command"),
    (405, 5, "Invalid Command"),
    (200, -1, "Invalid credentials or user locked out"),
    (200, 26, "No session or file was found matching the provided UCID"),
    (413, -1, "The body is too large"),
]


async def test_refusals_have_a_status(desk: Desk) -> None:
    assert await asked_in_all_wrong_ways(desk) == WRONG
    said = await desk.get("audioRecording/details", token="x")
    assert said.headers["WWW-Authenticate"] == 'Bearer realm="siprecd", error="invalid_token"'


async def test_refusals_are_200_for_who_wants_that(tmp_path: Path, migrated: Path) -> None:
    async with open_desk(tmp_path, migrated, Face(always_http_200=True)) as desk:
        found = await asked_in_all_wrong_ways(desk)
    assert found == [(200 if status < 410 else status, *rest) for status, *rest in WRONG]


async def test_a_range_outside_the_file(tmp_path: Path, migrated: Path) -> None:
    async with open_desk(tmp_path, migrated, Face(always_http_200=True)) as desk:
        await desk.recorded(await desk.call(ucid="U1"))
        beyond = {"Range": "bytes=9000000-"}
        said = await desk.get("audioRecording/download", isrUcid="U1", headers=beyond)
        whole = await desk.get("audioRecording/download", isrUcid="U1")
    assert (said.status, said.code) == (416, -1)
    assert said.message == "the range lies outside the file"
    assert said.headers["Content-Range"] == f"bytes */{len(whole.body)}"


async def test_guessing_tokens_from_one_address(desk: Desk) -> None:
    token = await desk.token()
    use_address(desk, "127.0.0.9")
    for number in range(GUESSES + 1):
        said = await desk.get("audioRecording/details", who=None, token=f"guess {number}")
        assert said.status == (401 if number < GUESSES else 429)
        assert (said.code, said.message) == (-1, BAD_TOKEN)
    assert 1 <= int(said.headers["Retry-After"]) <= 61
    said = await desk.get("audioRecording/details", who=None, token=token)
    assert (said.status, said.code) == (200, 19)
    use_address(desk, "127.0.0.1")
    said = await desk.get("audioRecording/details", who=None, token="guess")
    assert said.status == 401


# hosts


async def test_hosts_that_may_not_use_it(tmp_path: Path, migrated: Path) -> None:
    async with open_desk(tmp_path, migrated, Face(allow=["127.0.0.2/32", "::1/128"])) as desk:
        use_address(desk, "127.0.0.2")
        await desk.token()
        live = await desk.call(ucid="U1")
        assert (await desk.get("audioRecording/details")).code == 0
        use_address(desk, "127.0.0.3")
        for method, path in (
            ("GET", "audioRecording/details"),
            ("POST", "audioRecording/pause"),
            ("POST", "login"),
            ("GET", "version"),
            ("GET", "nothing"),
            ("DELETE", "version"),
        ):
            said = await desk.ask(method, path, isrUcid="U1")
            assert (said.status, said.text) == (
                200,
                f"{PROLOG}<result><code>2</code><message>Host Not Authorized</message></result>",
            )
        said = await desk.get("eventNotify", event="AudioRecordingStarted")
        assert said.text == (
            f"{PROLOG}<response><Code>2</Code><message>Host Not Authorized</message></response>"
        )
        assert live.state == "recording"


async def test_hosts_behind_a_proxy(tmp_path: Path, migrated: Path) -> None:
    api, face = Api(proxies=["127.0.0.0/8"]), Face(allow=["10.1.0.0/16"])
    async with open_desk(tmp_path, migrated, face, api=api) as desk:
        for forwarded, code in (
            ("10.1.2.3", None),
            ("::ffff:10.1.2.3", None),
            ("::ffff:10.2.2.3", 2),
            ("10.2.2.3", 2),
            ("::1", 2),
        ):
            said = await desk.get("version", None, headers={"X-Forwarded-For": forwarded})
            assert (said.code if "code" in said.tree else None) == code, forwarded


async def test_machines_from_known_hosts_need_no_token(desk: Desk) -> None:
    event: Any = {"event": "AudioRecordingStarted"}
    assert (await desk.get("eventNotify", who=None, **event)).code == 0
    for path in RESPONSES:
        said = await desk.get(path, who=None, token="x")
        assert (said.status, said.code, said.message) == (401, -1, BAD_TOKEN)


async def test_machines_from_elsewhere_need_one(tmp_path: Path, migrated: Path) -> None:
    event: Any = {"event": "AudioRecordingStarted"}
    async with open_desk(tmp_path, migrated, Face(allow_events=["127.0.0.2/32"])) as desk:
        for path in RESPONSES:
            said = await desk.get(path, who=None, **event)
            assert (said.status, said.code) == (200, 2)
        assert (await desk.get("eventNotify", **event)).code == 0
        use_address(desk, "127.0.0.2")
        assert (await desk.get("eventNotify", who=None, **event)).code == 0

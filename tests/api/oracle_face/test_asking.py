"""Requests taken apart: what Accept asks for, and bodies that cannot be read."""

from typing import Any

import pytest

from api.oracle_face.asking import FORM, prefers_json
from tests.api.oracle_face.desk import Desk

XML = "application/xml"
JSON = "application/json"


@pytest.mark.parametrize(
    ("accept", "json"),
    [
        ("", False),
        ("*/*", False),
        ("application/*", False),
        ("text/html", False),
        (XML, False),
        (JSON, True),
        ("Application/JSON", True),
        (f"{JSON}, text/plain, */*", True),
        (f"{JSON}, {XML}", False),
        (f"{XML};q=0.5, {JSON};q=0.6", True),
        (f"{XML};q=0.7, {JSON};q=0.6", False),
        (f"text/xml, {JSON};q=0.9", False),
        (f"{JSON};q=0", False),
        (f"{JSON};q=nan", False),
        (f"{JSON};q=7", False),
        (f"{JSON};charset=utf-8;q=0.3", True),
        (f"{JSON};q=0.2, {JSON};q=0.8, {XML};q=0.5", True),
        (",;,;q=", False),
    ],
)
def test_json_is_for_who_names_it_before_xml(accept: str, json: bool) -> None:
    assert prefers_json(accept) is json


async def test_the_same_answer_in_both_forms(desk: Desk) -> None:
    xml = await desk.get("audioRecording/details", isrUcid="nobody")
    assert xml.headers["Content-Type"] == "application/xml;charset=UTF-8"
    assert xml.text == (
        '<?xml version="1.0" encoding="UTF-8"?>'
        "<result><code>26</code>"
        "<message>No session or file was found matching the provided UCID</message></result>"
    )
    json = await desk.get("audioRecording/details", isrUcid="nobody", headers={"Accept": JSON})
    assert json.headers["Content-Type"] == "application/json;charset=UTF-8"
    assert json.text == (
        '{"result":{"code":26,"message":"No session or file was found matching the provided UCID"}}'
    )


@pytest.mark.parametrize(
    ("headers", "body", "status", "message"),
    [
        ({"Content-Type": JSON}, b"{}", 415, f"The body must be {FORM}"),
        (
            {"Content-Type": FORM, "Content-Encoding": "gzip"},
            b"a=1",
            415,
            f"The body must be {FORM}",
        ),
        ({"Content-Type": FORM}, b"a=%ff", 200, "Invalid Parameter - body"),
        ({"Content-Type": FORM}, b"x=" + bytes(70_000), 413, "The body is too large"),
        ({"Content-Type": FORM}, b"a&" * 1001, 200, "Invalid Parameter - body"),
    ],
)
async def test_a_body_that_cannot_be_read_does_nothing(
    desk: Desk, headers: dict[str, str], body: bytes, status: int, message: str
) -> None:
    live = await desk.call(ucid="U1")
    said = await desk.post("audioRecording/pause", isrUcid="U1", headers=headers, body=body)
    assert (said.status, said.code, said.message) == (status, -1, message)
    assert live.state == "recording"


async def test_the_body_of_a_get_or_delete_is_ignored(desk: Desk) -> None:
    await desk.call(ucid="U1")
    odd: dict[str, Any] = {"headers": {"Content-Type": JSON}, "body": b"{"}
    said = await desk.get("audioRecording/details", isrUcid="U1", **odd)
    assert said.recording["isrUcid"] == "U1"
    said = await desk.ask("DELETE", "audioRecording/details", isrUcid="U1", **odd)
    assert (said.code, said.message) == (-1, "Cannot delete a recording in progress")


async def test_a_form_needs_no_content_type(desk: Desk) -> None:
    live = await desk.call(ucid="U1")
    headers = {"Content-Type": ""}
    said = await desk.post("audioRecording/pause", isrUcid="U1", headers=headers, body=b"agentId=7")
    assert said.recording["agentId"] == "7" and live.state == "paused"

"""Platforms and properties: each method's request and response, and what others see of it."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from api.apio.codes import Refusal
from api.apio.platforms import added, changed, default, deleted, named, users
from storage.database import Database
from storage.directory import Directory
from storage.entries import Account
from storage.platforms import RecordingPlatform, RecordingProperties
from storage.snapshot import INITIAL, Entries
from tests.api.apio.desk import (
    FIRST,
    NO_PLATFORM,
    ONE,
    SECOND,
    TWO,
    Desk,
    instance,
    open_desk,
)
from tests.api.apio.test_wire import PROPERTIES
from tests.storage.people import make_hashing_cheap

BOTH = {"systemDefault": "Call Rec Platform 1", "callRecordingPlatforms": [FIRST, SECOND]}
IS_DEFAULT = {
    "errors": [
        {
            "code": 21,
            "message": "NOT_DELETED",
            "details": "The system default Recording Platform cannot be deleted, unless it is not "
            "in use and the unique one defined.",
        }
    ]
}
IN_USE = {
    "errors": [
        {
            "code": 21,
            "message": "NOT_DELETED",
            "details": "The Recording Platform cannot be deleted while it is in use.",
        }
    ]
}


def platform(name: str) -> RecordingPlatform:
    return RecordingPlatform(name, "192.0.2.1", "Dual", "UDP", "1.0", False)


async def listed(desk: Desk) -> tuple[str, list[str]]:
    """The default platform's name, and everybody's."""
    status, found = await desk.ask("GET", "platforms/")
    assert status == 200
    return found["systemDefault"], [each["name"] for each in found["callRecordingPlatforms"]]


# the list


async def test_the_list_as_published(desk: Desk) -> None:
    nothing = {"systemDefault": "", "callRecordingPlatforms": []}
    assert await desk.ask("GET", "platforms/") == (200, nothing)
    await desk.add(FIRST, SECOND)
    response, text = await desk.raw("GET", "platforms/")
    assert response.headers["Content-Type"] == "application/json"
    assert text == (
        b'{"systemDefault":"Call Rec Platform 1","callRecordingPlatforms":['
        b'{"name":"Call Rec Platform 1","netAddress":"10.0.32.55","port":222,'
        b'"mediaStream":"Dual","transportProtocol":"UDP","description":"test description",'
        b'"schemaVersion":"1.0","supportVideoRecording":false},'
        b'{"name":"Call Rec Platform 2","netAddress":"10.0.32.55","port":222,'
        b'"mediaStream":"Dual","transportProtocol":"UDP","description":"test description",'
        b'"schemaVersion":"1.0","supportVideoRecording":false}]}'
    )


async def test_the_list_is_in_the_order_of_names(desk: Desk) -> None:
    await desk.add(*(FIRST | {"name": name} for name in ("c", "a", "B", "b")))
    assert await listed(desk) == ("c", ["B", "a", "b", "c"])


# adding


async def test_adding_answers_the_list_and_the_first_becomes_the_default(desk: Desk) -> None:
    only = {"systemDefault": "Call Rec Platform 1", "callRecordingPlatforms": [FIRST]}
    assert await desk.ask("POST", "platforms/", FIRST) == (200, only)
    assert await desk.ask("POST", "platforms/", SECOND) == (200, BOTH)
    assert desk.entries.platforms["Call Rec Platform 1"] == RecordingPlatform(
        "Call Rec Platform 1", "10.0.32.55", "Dual", "UDP", "1.0", False, 222, "test description"
    )


async def test_what_is_optional_is_left_out_of_answers(desk: Desk) -> None:
    bare = {name: FIRST[name] for name in FIRST if name not in {"port", "description"}}
    status, found = await desk.ask("POST", "platforms/", bare)
    assert (status, found["callRecordingPlatforms"]) == (200, [bare])
    assert await desk.ask("GET", ONE) == (200, instance(bare, True))


async def test_what_cannot_be_added(desk: Desk) -> None:
    await desk.add(FIRST)
    before = desk.entries
    taken = {"details": "name: there is a Call Recording platform of this name already"}
    assert await desk.ask("POST", "platforms/", FIRST) == (400, taken)
    assert await desk.ask("POST", "platforms/", {}) == (
        400,
        {
            "details": "name, netAddress, mediaStream, transportProtocol, schemaVersion, "
            "supportVideoRecording: required"
        },
    )
    assert await desk.ask("POST", "platforms/", SECOND | {"mediaStream": "Triple"}) == (
        400,
        {"details": 'mediaStream: must be "Dual" or "Single"'},
    )
    assert desk.entries == before


async def test_names_in_paths(desk: Desk) -> None:
    names = ("a b", "a_b", "c_d e", "größe", "50%/2", "usage", "properties", "x+y", "?#&;=")
    await desk.add(*(FIRST | {"name": name, "description": name} for name in names))
    for path, name in (
        ("a_b", "a_b"),  # exactly so first
        ("a%20b", "a b"),
        ("a%5Fb", "a_b"),
        ("c_d%20e", "c_d e"),
        ("gr%C3%B6%C3%9Fe", "größe"),
        ("50%25%2F2", "50%/2"),
        ("usage", "usage"),
        ("properties", "properties"),
        ("x+y", "x+y"),
        ("%3F%23%26;=", "?#&;="),
    ):
        for end in ("", "/"):
            status, found = await desk.ask("GET", f"platforms/{path}{end}")
            assert (status, found["description"]) == (200, name), path
    for path in ("A_b", "c_d_e", "a", "50%25/2", "%ff", "%00", "a%20b%20", "x%20y", "x" * 3000):
        assert (await desk.ask("GET", f"platforms/{path}/"))[0] == 404, path
    assert await desk.ask("GET", "platforms/usage/usage/") == (200, {"groups": []})


# one platform


async def test_one_platform_as_published(desk: Desk) -> None:
    await desk.add(FIRST, SECOND)
    response, text = await desk.raw("GET", ONE)
    assert response.status == 200
    assert text == (
        b'{"default":true,"netAddress":"10.0.32.55","port":222,"mediaStream":"Dual",'
        b'"transportProtocol":"UDP","description":"test description","schemaVersion":"1.0",'
        b'"supportVideoRecording":false}'
    )
    assert await desk.ask("GET", TWO) == (200, instance(SECOND, False))


async def test_one_that_is_not_there(desk: Desk) -> None:
    missing = (404, {"details": "instance not found"})
    assert await desk.ask("GET", ONE) == missing
    await desk.add(SECOND)
    assert await desk.ask("GET", ONE) == missing


# changing


async def test_a_change_as_published(desk: Desk) -> None:
    await desk.add(FIRST, SECOND)
    body = instance(SECOND, True)
    assert await desk.ask("PUT", TWO, body) == (200, body)
    assert await listed(desk) == ("Call Rec Platform 2", [FIRST["name"], SECOND["name"]])
    assert await desk.ask("GET", ONE) == (200, instance(FIRST, False))


async def test_each_member_can_be_changed_alone(desk: Desk) -> None:
    await desk.add(FIRST)
    now = instance(FIRST, True)
    for name, value in (
        ("netAddress", "srs.example.com"),
        ("port", 5060),
        ("mediaStream", "Single"),
        ("transportProtocol", "TCP"),
        ("transportProtocol", "Unspecified"),
        ("description", "other"),
        ("schemaVersion", "2.0"),
        ("schemaVersion", "3.0"),
        ("supportVideoRecording", True),
        ("default", True),
    ):
        now[name] = value
        assert await desk.ask("PUT", ONE, {name: value}) == (200, now)
    assert await desk.ask("PUT", ONE, {}) == (200, now)
    assert await desk.ask("PUT", ONE, {"name": "Other", "colour": "red"}) == (200, now)
    del now["port"], now["description"]
    assert await desk.ask("PUT", ONE, {"port": 0, "description": ""}) == (200, now)
    assert await desk.ask("GET", ONE) == (200, now)
    assert await listed(desk) == (FIRST["name"], [FIRST["name"]])


async def test_a_change_that_is_refused_changes_nothing(desk: Desk) -> None:
    await desk.add(FIRST, SECOND)
    before = desk.entries
    for path, body, expected in (
        (TWO, {"port": 5060, "mediaStream": "?"}, 'mediaStream: must be "Dual" or "Single"'),
        (TWO, {"port": "5060", "default": True}, "port: must be a number from 1 to 65535"),
        (TWO, {"default": "yes"}, "default: must be true or false"),
        (ONE, {"default": False}, "default: make another platform the default one instead"),
    ):
        assert await desk.ask("PUT", path, body) == (400, {"details": expected})
    for change in ("{}", '{"port": 5060}', '{"default": true}'):
        assert await desk.ask("PUT", "platforms/Nothing/", change.encode()) == (400, NO_PLATFORM)
    assert desk.entries == before
    assert await desk.ask("PUT", TWO, {"default": False}) == (200, instance(SECOND, False))


async def test_of_many_who_want_to_be_the_default_one_is(desk: Desk) -> None:
    await desk.add(FIRST, SECOND, FIRST | {"name": "c"})
    wanted = (ONE, TWO, "platforms/c/")
    answers = await asyncio.gather(
        *(desk.ask("PUT", path, {"default": True}) for path in (*wanted, *wanted))
    )
    assert [(status, found["default"]) for status, found in answers] == [(200, True)] * 6
    found = [(await desk.ask("GET", path))[1]["default"] for path in wanted]
    assert sorted(found) == [False, False, True]


async def test_of_two_who_add_a_platform_at_once_one_does(desk: Desk) -> None:
    answers = await asyncio.gather(
        desk.ask("POST", "platforms/", FIRST), desk.ask("POST", "platforms/", FIRST)
    )
    assert sorted(status for status, _ in answers) == [200, 400]


# deleting


async def test_what_is_deleted_is_gone(desk: Desk) -> None:
    await desk.add(FIRST, SECOND)
    assert await desk.ask("DELETE", TWO) == (200, {})
    assert await listed(desk) == (FIRST["name"], [FIRST["name"]])
    for method, path, body in (
        ("DELETE", TWO, None),
        ("PUT", TWO, {}),
        ("GET", f"{TWO}usage/", None),
    ):
        assert await desk.ask(method, path, body) == (400, NO_PLATFORM)


async def test_the_default_goes_last_and_unused(desk: Desk) -> None:
    await desk.add(FIRST, SECOND)
    assert await desk.ask("DELETE", ONE) == (400, IS_DEFAULT)
    await desk.ask("DELETE", TWO)
    await desk.group(7, "ApioGrpTest", "ApioSpTest")  # uses the default
    assert await desk.ask("DELETE", ONE) == (400, IS_DEFAULT)
    await desk.group(7, "ApioGrpTest")
    assert await desk.ask("DELETE", ONE) == (200, {})
    assert await listed(desk) == ("", [])
    await desk.add(SECOND)
    assert await listed(desk) == (SECOND["name"], [SECOND["name"]])


async def test_what_groups_use_is_not_deleted(desk: Desk) -> None:
    await desk.add(FIRST, SECOND)
    await desk.group(7, "ApioGrpTest", "ApioSpTest", SECOND["name"])
    assert await desk.ask("DELETE", TWO) == (400, IN_USE)
    await desk.group(7, "ApioGrpTest", platform=SECOND["name"])
    assert await desk.ask("DELETE", TWO) == (400, IN_USE)
    await desk.group(7, "ApioGrpTest", "ApioSpTest")
    assert await desk.ask("DELETE", TWO) == (200, {})


# usage


async def test_usage_as_published(desk: Desk) -> None:
    await desk.add(FIRST, SECOND)
    assert await desk.ask("GET", f"{ONE}usage/") == (200, {"groups": []})
    await desk.group(8, "ApioGrpTest", "ApioSpTest", FIRST["name"])
    response, text = await desk.raw("GET", f"{ONE}usage/")
    assert response.status == 200
    assert text == b'{"groups":[{"groupId":"ApioGrpTest","tenantId":"ApioSpTest"}]}'


async def test_who_uses_which_platform(desk: Desk) -> None:
    await desk.add(FIRST, SECOND)
    await desk.group(9, "explicit", "T", FIRST["name"])
    await desk.group(8, "", "T")  # the default, whichever it is
    await desk.group(7, "no group of a tenant")
    first, other = {"groupId": "explicit", "tenantId": "T"}, {"groupId": "8", "tenantId": "T"}
    assert await desk.ask("GET", f"{ONE}usage") == (200, {"groups": [other, first]})
    assert await desk.ask("GET", f"{TWO}usage") == (200, {"groups": []})
    await desk.ask("PUT", TWO, {"default": True})
    assert await desk.ask("GET", f"{ONE}usage") == (200, {"groups": [first]})
    assert await desk.ask("GET", f"{TWO}usage") == (200, {"groups": [other]})


async def test_usage_of_nothing(desk: Desk) -> None:
    assert await desk.ask("GET", f"{ONE}usage/") == (400, NO_PLATFORM)


# properties


async def test_the_properties_as_published(desk: Desk) -> None:
    response, text = await desk.raw("GET", "properties/")
    assert response.status == 200
    assert text == (
        b'{"continueCallAfterRecordingFailure":true,"refreshPeriodSeconds":60,'
        b'"maxConsecutiveFailures":1,"maxResponseWaitTimeMilliseconds":3000,'
        b'"continueCallAfterVideoRecordingFailure":true}'
    )
    assert await desk.ask("PUT", "properties/", PROPERTIES) == (200, PROPERTIES)


async def test_each_property_can_be_changed_alone(desk: Desk) -> None:
    now = dict(PROPERTIES)
    for name, value in (
        ("continueCallAfterRecordingFailure", False),
        ("refreshPeriodSeconds", 10),
        ("maxConsecutiveFailures", 10),
        ("maxResponseWaitTimeMilliseconds", 50),
        ("continueCallAfterVideoRecordingFailure", False),
    ):
        now[name] = value
        assert await desk.ask("PUT", "properties/", {name: value}) == (200, now)
    assert await desk.ask("PUT", "properties", {"other": 5}) == (200, now)
    assert await desk.ask("GET", "properties") == (200, now)
    assert desk.entries.properties == RecordingProperties(
        None,
        False,
        False,
        refresh_period_s=10,
        max_consecutive_failures=10,
        max_response_wait_ms=50,
    )


async def test_properties_that_are_refused_change_nothing(desk: Desk) -> None:
    body = {"continueCallAfterRecordingFailure": False, "maxConsecutiveFailures": 11}
    expected = {"details": "maxConsecutiveFailures: must be a number from 1 to 10"}
    assert await desk.ask("PUT", "properties/", body) == (400, expected)
    assert await desk.ask("GET", "properties/") == (200, PROPERTIES)


async def test_properties_and_the_default_do_not_disturb_each_other(desk: Desk) -> None:
    await desk.ask("PUT", "properties/", {"refreshPeriodSeconds": 30})
    await desk.add(FIRST, SECOND)
    await desk.ask("PUT", "properties/", {"maxConsecutiveFailures": 3})
    assert (await listed(desk))[0] == FIRST["name"]
    await desk.ask("PUT", TWO, {"default": True})
    assert (await desk.ask("GET", "properties/"))[1] == PROPERTIES | {
        "refreshPeriodSeconds": 30,
        "maxConsecutiveFailures": 3,
    }


# the directory


async def test_all_of_it_is_there_after_a_restart(
    tmp_path: Path, migrated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_hashing_cheap(monkeypatch)
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    after.mkdir()
    async with open_desk(before, migrated) as desk:
        await desk.add(FIRST, SECOND, FIRST | {"name": "gone"})
        await desk.ask("PUT", TWO, {"default": True, "port": 0})
        await desk.ask("DELETE", "platforms/gone/")
        await desk.ask("PUT", "properties/", {"refreshPeriodSeconds": 30})
        known = [await desk.raw("GET", path) for path in ("platforms/", TWO, "properties/")]
    left = shutil.copytree(migrated.parent, tmp_path / "left")
    shutil.copyfile(before / "siprecd.db", left / migrated.name)
    async with open_desk(after, left / migrated.name) as desk:
        again = [await desk.raw("GET", path) for path in ("platforms/", TWO, "properties/")]
    assert [text for _, text in known] == [text for _, text in again]
    assert b'"systemDefault":"Call Rec Platform 2"' in known[0][1]


async def test_without_the_database_it_is_read_and_not_changed(desk: Desk, tmp_path: Path) -> None:
    await desk.add(FIRST)
    await desk.ask("GET", "platforms/")
    (tmp_path / "siprecd.db").rename(tmp_path / "away")
    away = {"details": "The database does not answer now; nothing was changed."}
    for method, path, body in (
        ("POST", "platforms/", SECOND),
        ("PUT", ONE, {"port": 5060}),
        ("DELETE", ONE, None),
        ("PUT", "properties/", {"refreshPeriodSeconds": 30}),
    ):
        response, _ = await desk.raw(method, path, body)
        assert response.headers["Retry-After"] == "1"
        assert await desk.ask(method, path, body) == (503, away), method
    assert await desk.ask("GET", ONE) == (200, instance(FIRST, True))
    assert await desk.ask("GET", "properties/") == (200, PROPERTIES)
    (tmp_path / "away").rename(tmp_path / "siprecd.db")
    assert (await desk.ask("PUT", ONE, {"port": 5060}))[0] == 200


async def test_what_another_process_did_a_moment_ago_counts(desk: Desk, tmp_path: Path) -> None:
    await desk.add(FIRST, SECOND)
    database = Database(f"sqlite:///{tmp_path}/siprecd.db")
    elsewhere = Directory(database)
    await elsewhere.put(Account(7, "G", tenant="T", platform=SECOND["name"]))
    await elsewhere.put(RecordingProperties(SECOND["name"]))
    assert desk.entries.properties.default_platform == FIRST["name"]
    assert await desk.ask("DELETE", TWO) == (400, IS_DEFAULT)
    assert await listed(desk) == (FIRST["name"], [FIRST["name"], SECOND["name"]])
    await database.close()


async def test_live_calls_go_on(desk: Desk) -> None:
    await desk.node.engine.start()
    live = await desk.node.call()
    await desk.add(FIRST)
    await desk.ask("DELETE", ONE)
    assert desk.node.services.recorder.sessions() == [live]


# the rules, for themselves

A, B, TENANT = platform("a b"), platform("b"), Account(7, tenant="T")


def state(*entries: Any, default: str | None = None) -> Entries:
    return Entries.of([*INITIAL, *entries, RecordingProperties(default, refresh_period_s=30)])


def test_names_and_defaults() -> None:
    entries = state(A, platform("a_b"), B, default="b")
    assert (named(entries, "a_b"), named(entries, "a b")) == (platform("a_b"), A)
    assert named(state(A), "a_b") == A and named(state(), "a_b") is None
    assert (default(entries), default(INITIAL)) == ("b", None)


def test_edits_touch_what_they_must_only() -> None:
    key, properties = ("platforms", "a b"), ("recording-properties", "system")
    with_a = RecordingProperties("a b", refresh_period_s=30)
    assert added(state(), A) == {key: A, properties: with_a}
    assert added(state(B, default="b"), A) == {key: A}
    assert changed(state(A, B, default="b"), "a_b", {"default": True}) == {
        key: A,
        properties: with_a,
    }
    assert changed(state(A, default="a b"), "a_b", {"default": True}) == {key: A}
    assert deleted(state(A, B, default="b"), "a_b") == {key: None}
    assert deleted(state(A, default="a b"), "a_b") == {
        key: None,
        properties: RecordingProperties(None, refresh_period_s=30),
    }


def test_a_platform_without_a_default_is_nobodys_fallback() -> None:
    assert users(state(A, TENANT), A) == []
    assert users(state(A, TENANT, default="a b"), A) == [TENANT]
    assert deleted(state(A, TENANT), "a b") == {("platforms", "a b"): None}
    with pytest.raises(Refusal, match="does not exist"):
        changed(state(A), "b", {})
    with pytest.raises(Refusal, match="does not exist"):
        deleted(state(A), "b")

"""Events and screens over FACE: from known hosts without a token, byte for byte as in the guide."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from config.dialects import Face
from config.schema import Api, Notify, Screen
from storage.entries import Destination, Parameter, Policy, PolicyAction, ScreenAgent
from tests.api.oracle_face.desk import Desk, Said, open_desk
from tests.siprec.receivers import Receiver, receiving, status

START, STOP, EVENT = "StartScreenCapture", "StopScreenCapture", "eventNotify"
DETAILS = "audioRecording/details"
JSON = {"Accept": "application/json"}
PROLOG = '<?xml version="1.0" encoding="UTF-8"?>'
IP, OTHER_IP = "10.0.0.11", "10.0.0.13"
NACK = (200, -1, "NACK")
NOT_AUTHORIZED = (200, 2, "Host Not Authorized")


def said(answer: Said) -> tuple[int, int, str]:
    assert set(answer.tree) == {"Code", "message"}
    return answer.status, answer.code, answer.message


@dataclass(frozen=True, slots=True)
class Studio:
    """A desk and the recorder of screens."""

    desk: Desk
    there: Receiver

    @property
    def asked(self) -> list[tuple[str, dict[str, str]]]:
        """Path and query of each request the screen recorder got."""
        targets = [urlsplit(request.target) for request in self.there.requests]
        return [(target.path, dict(parse_qsl(target.query))) for target in targets]

    async def settled(self) -> None:
        """Return once no policy is at work and nobody is still to be told."""
        services = self.desk.node.services
        async with asyncio.timeout(60):
            while services.dispatcher.unfinished or await services.outbox.count("pending"):
                await asyncio.sleep(0.01)

    async def policy(self, event: str, type: Any, **fields: Any) -> None:
        action = PolicyAction(type, **fields)
        await self.desk.node.services.directory.put(Policy(f"{event} {type}", event, [action]))


@asynccontextmanager
async def open_studio(folder: Path, migrated: Path, **sections: Any) -> AsyncIterator[Studio]:
    """A desk whose screen recorder calls every recording `S-1`."""
    answer = status(200, body=b'{"sessionId":"S-1"}')
    async with receiving(lambda request: answer) as there:
        screen = Screen(
            f"{there.url}/start?screen={{ip}}&call={{isr_id}}",
            f"{there.url}/stop?screen={{ip}}&call={{isr_id}}",
        )
        notify = Notify(allow=["127.0.0.0/8"], timeout_s=2, retry_max_s=1)
        async with open_desk(folder, migrated, screen=screen, notify=notify, **sections) as desk:
            yield Studio(desk, there)


@pytest.fixture
async def studio(tmp_path: Path, migrated: Path) -> AsyncIterator[Studio]:
    async with open_studio(tmp_path, migrated) as opened:
        yield opened


# events


async def test_an_event_as_in_the_guide(desk: Desk) -> None:
    query = (
        "?event=AudioRecordingStarted&ucid=fbd5715afe5aca679d1c9230dce37e73@1.2.3.5"
        "&calledAors=sip:agentX@10.0.0.11,sip:agentY@10.0.0.13"
    )
    xml = await desk.get(EVENT, None, query=query)
    assert xml.headers["Content-Type"] == "application/xml;charset=UTF-8"
    assert xml.text == f"{PROLOG}<response><Code>0</Code><message>success</message></response>"
    json = await desk.get(EVENT, None, query=query, headers=JSON)
    assert json.text == '{"response":{"Code":0,"message":"success"}}'
    for event in ("AudioRecordingEnded", "RECORDING_STARTED_EVENT"):
        assert said(await desk.get(EVENT, None, event=event)) == (200, 0, "success")
    missing = (200, 27, "Missing Parameter - event is required")
    assert said(await desk.get(EVENT, None)) == missing
    assert said(await desk.get(EVENT, None, event="", ucid="U1")) == missing
    for event in ("Announced", "audiorecordingstarted", "<b>&\x01"):
        unknown = await desk.get(EVENT, None, event=event)
        text = f"Unknown event type {event}".replace("\x01", "\ufffd")
        assert said(unknown) == (200, -1, text)
    wrong = await desk.post(EVENT, None, event="AudioRecordingStarted")
    assert said(wrong) == (405, 5, "Invalid Command")


async def test_an_event_of_ones_own_starts_a_recording(studio: Studio) -> None:
    desk = studio.desk
    live, other = await desk.call(dnis="777", ucid="U1"), await desk.call(dnis="777", ucid="U2")
    assert said(await desk.get(EVENT, None, event="OrderPlaced"))[1] == -1
    await studio.policy("OrderPlaced", "StartAudio")
    placed = {"event": "OrderPlaced", "ucid": "U1", "anything": "else"}
    assert said(await desk.get(EVENT, "isr@bank.example", **placed)) == (200, 0, "success")
    await studio.settled()
    assert live.recording is None
    assert said(await desk.get(EVENT, "isr@shop.example", **placed)) == (200, 0, "success")
    await studio.settled()
    assert (live.state, other.recording) == ("recording", None)
    by_call_id = await desk.get(EVENT, None, event="OrderPlaced", ucid=other.call_id)
    assert said(by_call_id) == (200, 0, "success")
    await studio.settled()
    assert other.state == "recording"


@pytest.mark.parametrize(
    "called",
    [
        f"sip:agentX@{IP},sip:agentY@{OTHER_IP}",
        f"sip%3AagentX%40{IP}%2Csip%3AagentY%40{OTHER_IP}",
        f"%20sip:agentX@{IP}:5060%20,,+agentY@{OTHER_IP}",
        f"agentX@{IP}",
    ],
)
async def test_the_screen_of_the_first_who_is_called(studio: Studio, called: str) -> None:
    desk = studio.desk
    await studio.policy("AudioRecordingStarted", "InitiateRecordScreen")
    await studio.policy("AudioRecordingEnded", "TerminateRecordScreen")
    await desk.call(ucid="U1")
    await studio.settled()
    assert studio.asked == []  # whom it calls says no address
    query = f"?ucid=U1&calledAors={called}&event=AudioRecording"
    assert said(await desk.get(EVENT, None, query=f"{query}Started")) == (200, 0, "success")
    await studio.settled()
    assert (await desk.get(DETAILS, thirdpartyId="S-1")).recording["isrUcid"] == "U1"
    assert said(await desk.get(EVENT, None, query=f"{query}Ended")) == (200, 0, "success")
    await studio.settled()
    about = {"screen": IP, "call": "U1"}
    assert studio.asked == [("/start", about), ("/stop", about)]


async def test_an_action_that_fails_is_no_failure_of_the_event(studio: Studio) -> None:
    desk = studio.desk
    await studio.policy("Announced", "InitiateRecordScreen")
    await studio.policy("Announced", "StartAudio")
    studio.there.script = lambda request: status(500)
    for called in (f"sip:a@{IP}", "sip:a@desk.example"):
        answer = await desk.get(EVENT, None, event="Announced", ucid="U1", calledAors=called)
        assert said(answer) == (200, 0, "success")
        await studio.settled()
    assert [path for path, _ in studio.asked] == ["/start"]


async def test_the_recorder_notifies_itself(studio: Studio) -> None:
    desk = studio.desk
    url = f"{studio.there.url}/told?ucid=${{ucid}}&to=${{calledAors[0]}}"
    await studio.policy("CallIsRecorded", "HttpNotify", url=url)
    back = Destination(
        "back",
        "RECORDING_STARTED_EVENT",
        f"{desk.node.server.url}/Face/eventNotify",
        parameters=[
            Parameter("event", literal="CallIsRecorded"),
            Parameter("calledAors", "CALLED_AORS"),
            Parameter("ucid", "INGRESS_CALLID"),
        ],
    )
    await desk.node.services.directory.put(back)
    live = await desk.call()
    async with asyncio.timeout(60):
        while not studio.asked:
            await studio.settled()
    told = {"ucid": live.call_id, "to": "sip:8675309@sh.net"}
    assert studio.asked == [("/told", told)]


# who may


async def test_only_known_hosts_need_no_token(tmp_path: Path, migrated: Path) -> None:
    face = Face(allow_events=["192.0.2.0/24", "2001:db8::/32"])
    async with open_studio(tmp_path, migrated, face=face) as studio:
        desk = studio.desk
        await desk.call(ucid="U1")
        event = {"event": "AudioRecordingStarted"}
        screen = {"IsrId": "U1", "ScreenIP": IP}
        for command, parameters in ((EVENT, event), (START, screen), (STOP, screen)):
            assert said(await desk.get(command, None, **parameters)) == NOT_AUTHORIZED
            with_token = await desk.get(command, "isr@shop.example", **parameters)
            assert (with_token.status, with_token.code) == (200, 0)
            weak = await desk.get(command, "weak@shop.example", **parameters)
            assert said(weak) == (200, -1, "Permission denied")
            bad = await desk.get(command, None, **parameters, token="x")
            assert said(bad) == (401, -1, "Invalid or expired token")
        assert [path for path, _ in studio.asked] == ["/start", "/stop"]


RELAYED = [{"X-Forwarded-For": "127.0.0.1"}, {"Forwarded": "for=127.0.0.1"}, {"Via": "1.1 nginx"}]


@pytest.mark.parametrize("headers", RELAYED, ids=str)
async def test_behind_an_unknown_proxy_nobody_is_a_known_host(
    desk: Desk, headers: dict[str, str]
) -> None:
    event = {"event": "AudioRecordingStarted"}
    assert (await desk.get(EVENT, None, **event)).code == 0
    assert said(await desk.get(EVENT, None, headers=headers, **event)) == NOT_AUTHORIZED
    assert (await desk.get(EVENT, headers=headers, **event)).code == 0


async def test_behind_a_known_proxy_its_client_counts(tmp_path: Path, migrated: Path) -> None:
    api = Api(proxies=["127.0.0.0/8"])
    async with open_desk(tmp_path, migrated, Face(allow_events=["192.0.2.0/24"]), api=api) as desk:
        for client, code in (("192.0.2.9", 0), ("198.51.100.9", 2), ("192.0.2.9, 198.51.100.9", 2)):
            headers = {"X-Forwarded-For": client}
            answer = await desk.get(EVENT, None, headers=headers, event="AudioRecordingStarted")
            assert answer.code == code


async def test_a_tenant_reaches_its_own_calls_and_agents(studio: Studio) -> None:
    desk = studio.desk
    await desk.call(ucid="U1")
    for agent in (ScreenAgent("6789", IP, 100), ScreenAgent("all", OTHER_IP)):
        await desk.node.services.directory.put(agent)
    unknown = (200, 26, "No session or file was found matching the provided UCID")
    bank = await desk.get(START, "isr@bank.example", IsrId="U1", AgentId="all")
    assert said(bank) == unknown
    await desk.call(dnis="200", ucid="U2")
    for command in (START, STOP):
        for screen in ({"AgentId": "6789"}, {"ScreenIP": IP}, {"ScreenIP": f"::ffff:{IP}"}):
            refused = await desk.get(command, "isr@bank.example", IsrId="U2", **screen)
            assert said(refused) == NACK
        both = {"AgentId": "all", "ScreenIP": IP}
        assert said(await desk.get(command, "isr@bank.example", IsrId="U2", **both)) == NACK
    assert studio.asked == []
    for who, ucid, agent_id in (
        ("isr@bank.example", "U2", "all"),
        ("isr@shop.example", "U1", "6789"),
        ("isr@system.example", "U1", "6789"),
    ):
        done = await desk.get(START, who, IsrId=ucid, AgentId=agent_id)
        assert said(done) == (200, 0, "ACK")


# screens


async def test_a_screen_is_recorded_and_its_call_found_by_it(studio: Studio) -> None:
    desk = studio.desk
    await desk.node.services.directory.put(ScreenAgent("6789", IP))
    live = await desk.call(ucid="fbcd5715afe5aca6@1.2.3.5")
    await desk.call(ucid="U2")
    query = "?IsrId=fbcd5715afe5aca6@1.2.3.5&AgentId=6789"
    xml = await desk.get(START, None, query=query)
    assert xml.text == f"{PROLOG}<response><Code>0</Code><message>ACK</message></response>"
    assert (await desk.get(DETAILS, thirdpartyId="S-1")).recording["isrUcid"] == live.identity.ucid
    json = await desk.get(STOP, None, AgentId="6789", headers=JSON)
    assert json.text == '{"response":{"Code":0,"message":"ACK"}}'
    about = {"screen": IP, "call": live.identity.ucid}
    assert studio.asked == [("/start", about), ("/stop", about)]
    row = await desk.recorded(live)
    shown = (await desk.get(DETAILS, thirdpartyId="S-1")).recording
    assert shown["recordingId"] == str(row.number)
    over = await desk.get(START, None, query=query)
    assert said(over) == (200, 26, "No session or file was found matching the provided UCID")


async def test_which_screen_and_which_call(studio: Studio) -> None:
    desk = studio.desk
    await desk.node.services.directory.put(ScreenAgent("6789", IP))
    live = await desk.call(ucid="U1")
    for where, address in (
        ({"AgentId": "6789"}, IP),
        ({"ScreenIP": OTHER_IP}, OTHER_IP),
        ({"ScreenIp": OTHER_IP}, OTHER_IP),
        ({"AgentId": "6789", "ScreenIP": OTHER_IP}, OTHER_IP),
        ({"AgentId": "6789", "ScreenIp": OTHER_IP}, OTHER_IP),
        ({"AgentId": "nobody", "ScreenIP": "2001:DB8::11"}, "2001:db8::11"),
    ):
        for command, more in ((START, {"IsrId": live.call_id}), (STOP, {})):
            assert said(await desk.get(command, None, **where, **more)) == (200, 0, "ACK")
            assert studio.asked[-1][1] == {"screen": address, "call": live.call_id}
    count = len(studio.asked)
    for command in (START, STOP):
        for where in ({"AgentId": "0000"}, {"ScreenIP": "desk.example"}, {"ScreenIP": "10.0.0"}):
            assert said(await desk.get(command, None, IsrId="U1", **where)) == NACK
        for where in ({}, {"AgentId": ""}, {"ScreenIP": "", "ScreenIp": ""}, {"screenip": IP}):
            missing = await desk.get(command, None, IsrId="U1", **where)
            assert said(missing) == (200, 27, "Missing Parameter - AgentId or ScreenIP is required")
    for isr_id in ({}, {"IsrId": ""}, {"isrId": "U1"}):
        missing = await desk.get(START, None, ScreenIP=IP, **isr_id)
        assert said(missing) == (200, 27, "Missing Parameter - IsrId is required")
    unknown = await desk.get(START, None, IsrId="u1", ScreenIP=IP)
    assert said(unknown) == (200, 26, "No session or file was found matching the provided UCID")
    assert len(studio.asked) == count


async def test_a_screen_recorder_that_refuses_or_is_not_there(studio: Studio) -> None:
    desk = studio.desk
    await desk.call(ucid="U1")
    studio.there.script = lambda request: status(503, body=b'{"sessionId":"S-2"}')
    asks = [(START, {"IsrId": "U1", "ScreenIP": IP}), (STOP, {"ScreenIP": IP})]
    for command, parameters in asks:
        assert said(await desk.get(command, None, **parameters)) == NACK
    assert [path for path, _ in studio.asked] == ["/start", "/stop"]
    await studio.there.stop()
    for command, parameters in asks:
        assert said(await desk.get(command, None, **parameters)) == NACK
    assert (await desk.get(DETAILS, thirdpartyId="S-2")).code == 19


async def test_without_a_screen_recorder(desk: Desk) -> None:
    await desk.call(ucid="U1")
    for command in (START, STOP):
        refused = await desk.get(command, None, IsrId="U1", ScreenIP=IP)
        assert said(refused) == (200, 1, "Feature Not Licensed")


async def test_a_call_that_ends_meanwhile_is_found_by_its_screen(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = studio.desk
    live = await desk.call(ucid="U1")
    start = desk.node.services.screens.start

    async def late(*args: str) -> str:
        session_id = await start(*args)
        await desk.recorded(live)
        return session_id

    monkeypatch.setattr(desk.node.services.screens, "start", late)
    assert said(await desk.get(START, None, IsrId="U1", ScreenIP=IP)) == (200, 0, "ACK")
    assert (await desk.get(DETAILS, thirdpartyId="S-1")).recording["isrUcid"] == "U1"

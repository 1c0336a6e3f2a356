"""The commands: states, capabilities, orders, and every refusal word for word."""

import asyncio
import base64
import json
import os
import signal
from typing import Any
from uuid import UUID

import pytest
from msgspec import structs

from api.anywherenow.ucc import correlation_id
from media import process
from siprec import rs_metadata
from siprec.session import Action, Actor, LiveSession
from storage.entries import Account
from tests.api.anywherenow.desk import AGENT, V1, V2, Desk

GUID = "1d6c6a58-6739-4f0c-98ff-0968292c8c30"
ADMIN = Actor("admin desk")
NOT_FOUND = (2, f"No Audio session with correlation Id:'{GUID}' was found.")


def id_of(live: LiveSession) -> str:
    return correlation_id(live.id)


# state


async def test_the_state_of_a_call(desk: Desk) -> None:
    live = await desk.call()
    said = await desk.state("ucc-shop", id_of(live))
    assert said.headers["Content-Type"] == "application/json; charset=utf-8"
    assert said.body.decode() == (
        f'{{"CorrelationId":"{id_of(live)}","RecordingState":1,"MarkingState":0,"SavingState":0,'
        '"ErrorMessage":null,"UCCName":"ucc-shop"}'
    )


async def test_states_whoever_made_them(desk: Desk) -> None:
    live = await desk.call("777")
    control = desk.node.services.recorder.control
    assert (await desk.state("ucc-shop", id_of(live))).states == (0, 0, 0)
    for action, states in (
        (Action.START, (1, 0, 0)),
        (Action.PAUSE, (3, 0, 0)),
        (Action.MARK, (3, 1, 0)),
        (Action.SAVE, (3, 1, 1)),
        (Action.RESUME, (1, 1, 1)),
        (Action.UNMARK, (1, 2, 1)),
        (Action.DISCARD, (1, 2, 2)),
        (Action.STOP, (2, 2, 2)),
    ):
        await control(live.id, action, ADMIN)
        assert (await desk.state("ucc-shop", id_of(live))).states == states, action


async def test_a_call_that_is_not_there(desk: Desk) -> None:
    live = await desk.call()
    bank = await desk.call("200")
    for id_ in (GUID, GUID.upper(), "1", "x y", id_of(live)[:-1], id_of(bank)):
        said = await desk.state("ucc-shop", id_.replace(" ", "%20"))
        assert said.body.decode() == (
            f'{{"CorrelationId":"{id_}","RecordingState":0,"MarkingState":0,"SavingState":0,'
            '"ErrorMessage":{"ErrorType":2,"Message":"No Audio session with correlation Id:'
            f'\'{id_}\' was found."}},"UCCName":"ucc-shop"}}'
        )


async def test_a_call_that_has_ended(desk: Desk) -> None:
    live = await desk.call()
    desk.node.services.recorder.end(live.dialog_id, "bye")
    said = await desk.state("ucc-shop", id_of(live))
    assert said.error == (2, f"No Audio session with correlation Id:'{id_of(live)}' was found.")
    assert said.states == (0, 0, 0)


@pytest.mark.parametrize("base", [V1, V2])
async def test_ids_a_call_answers_to(desk: Desk, base: str) -> None:
    session_id = base64.b64encode(UUID(GUID).bytes).decode()
    document = (
        '<recording xmlns="urn:ietf:params:xml:ns:recording:1"><datamode>complete</datamode>'
        f'<session session_id="{session_id}"/></recording>'
    )
    ucid = "7D6C6A58-6739-4F0C-98FF-0968292C8C30"
    live = await desk.call(metadata=rs_metadata.parse(document.encode()), ucid=ucid)
    await desk.call()
    for id_ in (
        id_of(live),
        id_of(live).upper(),
        live.id,
        f"%7B{id_of(live)}%7D",
        GUID,
        ucid,
        ucid.lower(),
    ):
        said = await desk.state("ucc-shop", id_, base=base)
        assert (said.error, said.states) == (None, (1, 0, 0)), id_
    assert (await desk.set("Pause", GUID, base=base)).states == (3, 0, 0)


async def test_an_id_of_two_calls_is_none(desk: Desk) -> None:
    one, two = await desk.call(ucid=GUID), await desk.call(ucid=GUID)
    for said in (await desk.state("ucc-shop", GUID), await desk.set("Pause", GUID)):
        assert said.error == NOT_FOUND
    assert (one.state, two.state) == ("recording", "recording")
    await desk.call("200", ucid=GUID)
    desk.node.services.recorder.end(one.dialog_id, "bye")
    assert (await desk.set("Pause", GUID)).states == (3, 0, 0)  # the other UCC's does not count


async def test_both_versions_answer_alike(desk: Desk) -> None:
    live = await desk.call()
    for path in (
        f"ucc-shop/{id_of(live)}",
        f"ucc-shop/{GUID}",
        f"nobody/{GUID}",
        "capabilities/ucc-shop",
        "capabilities/nobody",
        "nothing",
    ):
        one, two = await desk.ask("GET", f"{V1}/{path}"), await desk.ask("GET", f"{V2}/{path}")
        assert (one.status, one.body) == (two.status, two.body), path
    for order in (["Mark", GUID], [9, id_of(live)], ["Mark", id_of(live)], ["Start", id_of(live)]):
        one, two = await desk.set(*order, base=V1), await desk.set(*order, base=V2)
        assert (one.status, one.body) == (two.status, two.body), order


# UCCs


async def test_a_ucc_is_an_account_or_a_route(desk: Desk) -> None:
    live = await desk.call()
    for ucc, found in (("UCC-Shop", True), ("sales", True), ("service", False), ("ucc-bank", None)):
        said = await desk.state(ucc, id_of(live))
        assert said.json["UCCName"] == ucc
        assert (said.error is None) is bool(found), ucc
    assert said.error == (2, "UCC with name:'ucc-bank' was not found.")


async def test_uccs_with_odd_names(desk: Desk) -> None:
    live = await desk.call()
    for name, path in (("Sales & Co/Ünit #1?", "Sales%20%26%20Co%2F%C3%9Cnit%20%231%3F"),):
        await desk.node.services.directory.put(Account(100, name))
        said = await desk.state(path, id_of(live))
        assert (said.error, said.json["UCCName"]) == (None, name)
        assert (await desk.set("Pause", id_of(live), ucc=name)).states == (3, 0, 0)


async def test_whose_ucc_it_is(desk: Desk) -> None:
    shop, bank = await desk.call(), await desk.call("200")
    everywhere, own = "isr@system.example", "pay@bank.example"
    assert (await desk.state("ucc-shop", id_of(shop), everywhere)).error is None
    assert (await desk.state("ucc-bank", id_of(bank), everywhere)).error is None
    assert (await desk.state("ucc-bank", id_of(bank), own)).error is None
    assert (await desk.state("ucc-bank", id_of(shop), everywhere)).error is not None
    said = await desk.state("ucc-shop", id_of(shop), own)
    assert said.error == (2, "UCC with name:'ucc-shop' was not found.")
    said = await desk.set("Pause", id_of(shop), own)
    assert said.error == (2, "UCC with name:'ucc-shop' was not found.")
    assert (await desk.ask("GET", f"{V1}/capabilities/ucc-shop", own)).json == {
        "AgentCanEditRecordings": False,
        "ErrorMessage": {"ErrorType": 2, "Message": "UCC with name:'ucc-shop' was not found."},
        "UCCName": "ucc-shop",
    }
    assert shop.state == "recording"


async def test_users_of_some_routes_only(desk: Desk) -> None:
    sales, service = await desk.call(), await desk.call("555")
    eve = "eve@shop.example"
    assert (await desk.state("ucc-shop", id_of(sales), eve)).error is None
    assert (await desk.state("ucc-shop", id_of(service), eve)).error is not None
    assert (await desk.state("service", id_of(service), eve)).error == (
        2,
        "UCC with name:'service' was not found.",
    )
    waiting = await desk.call("777")
    said = await desk.set("Start", id_of(waiting), requester=eve)
    assert said.error == (2, f"No Audio session with correlation Id:'{id_of(waiting)}' was found.")
    assert waiting.state == "idle"


# capabilities


CAPABLE = {
    "ucc-shop": True,
    "UCC-SHOP": True,
    "sales": True,
    "ucc-off": False,
    "ucc-locked": False,
    "Service": False,
}


async def test_capabilities(idle_desk: Desk) -> None:
    for ucc, can in CAPABLE.items():
        said = await idle_desk.ask("GET", f"{V1}/capabilities/{ucc}", "isr@system.example")
        assert said.body.decode() == (
            f'{{"AgentCanEditRecordings":{str(can).lower()},"ErrorMessage":null,"UCCName":"{ucc}"}}'
        )


async def test_capabilities_of_nobody(idle_desk: Desk) -> None:
    said = await idle_desk.ask("GET", f"{V1}/capabilities/nobody")
    assert said.body.decode() == (
        '{"AgentCanEditRecordings":false,"ErrorMessage":{"ErrorType":2,"Message":'
        '"UCC with name:\'nobody\' was not found."},"UCCName":"nobody"}'
    )


# set

Step = tuple[object, tuple[int, int, int]]
PATHS: list[tuple[str, list[Step]]] = [
    ("8675309", [(3, (3, 0, 0)), (1, (1, 0, 0)), (2, (2, 0, 0)), (1, (1, 0, 0))]),
    ("8675309", [("3", (3, 0, 0)), ("2", (2, 0, 0)), ("1", (1, 0, 0)), (" 3 ", (3, 0, 0))]),
    ("8675309", [("Pause", (3, 0, 0)), ("Start", (1, 0, 0)), ("Stop", (2, 0, 0))]),
    ("777", [("start", (1, 0, 0)), ("PAUSE", (3, 0, 0)), ("sToP", (2, 0, 0))]),
    ("777", [("Mark", (0, 1, 0)), ("unmark", (0, 2, 0)), ("Save", (0, 2, 1)), (1, (1, 2, 1))]),
    (
        "8675309",
        [
            (6, (1, 1, 0)),
            (6, (1, 1, 0)),
            (7, (1, 2, 0)),
            ("UnMark", (1, 2, 0)),
            (4, (1, 2, 1)),
            (4, (1, 2, 1)),
            (5, (1, 2, 2)),
            ("delete", (1, 2, 2)),
            ("Save", (1, 2, 1)),
            (3, (3, 2, 1)),
        ],
    ),
]


async def test_actions(desk: Desk) -> None:
    for dnis, steps in PATHS:
        live = await desk.call(dnis)
        for action, states in steps:
            said = await desk.set(action, id_of(live))
            assert (said.error, said.states) == (None, states), action
            assert said.body == (await desk.state("ucc-shop", id_of(live))).body


async def test_the_answer_to_an_order(desk: Desk) -> None:
    live = await desk.call()
    said = await desk.set("Pause", id_of(live).upper(), ucc="UCC-Shop")
    assert said.body.decode() == (
        f'{{"CorrelationId":"{id_of(live).upper()}","RecordingState":3,"MarkingState":0,'
        '"SavingState":0,"ErrorMessage":null,"UCCName":"UCC-Shop"}'
    )


REFUSED = [
    ("8675309", [], "Start", "Started", 1),
    ("8675309", ["Pause"], "Pause", "Paused", 3),
    ("8675309", ["Stop"], "Stop", "Stopped", 2),
    ("8675309", ["Stop"], "Pause", "Stopped", 2),
    ("777", [], "Stop", "Uninitialized", 0),
    ("777", [], "Pause", "Uninitialized", 0),
]


async def test_actions_that_the_state_does_not_allow(desk: Desk) -> None:
    for dnis, before, name, state, number in REFUSED:
        live = await desk.call(dnis)
        for action in before:
            assert (await desk.set(action, id_of(live))).error is None
        said = await desk.set(name.lower(), id_of(live))
        text = f"Action:'{name}' is not allowed in recording state:'{state}'."
        assert (said.error, said.states) == ((2, text), (number, 0, 0))


async def test_a_pause_is_cut_out(desk: Desk) -> None:
    live = await desk.call()
    await desk.set("Pause", id_of(live))
    assert [pause.fill for pause in live.pauses] == ["cut"]
    recording = live.recording
    await desk.set("Start", id_of(live))
    assert live.recording and recording and live.recording.id == recording.id
    assert live.pauses[0].ended_at is not None and live.segments == 1


async def test_the_history_says_which_agent(desk: Desk) -> None:
    live = await desk.call()
    recording = live.recording
    assert recording
    for action in ("Pause", "Start", "Mark", "UnMark"):
        assert (await desk.set(action, id_of(live), "boss@shop.example")).error is None
    assert live.recording
    said = [(entry.actor, entry.action, entry.reason) for entry in live.recording.history[-4:]]
    assert said == [
        ("ann@shop.example", "pause", ""),
        ("ann@shop.example", "resume", ""),
        ("ann@shop.example", "mark", "RecorderSetToMarkByAgent"),
        ("ann@shop.example", "unmark", "RecorderSetToUnMarkByAgent"),
    ]


async def test_of_simultaneous_orders_one_is_carried_out(desk: Desk) -> None:
    live = await desk.call()
    for action, name in ((3, "Paused"), (1, "Started"), (2, "Stopped")):
        said = await asyncio.gather(*(desk.set(action, id_of(live)) for _ in range(3)))
        errors = [each.error for each in said if each.error]
        assert len(errors) == 2
        assert all(text.endswith(f"state:'{name}'.") for _, text in errors)
    assert live.segments == 1


# what is refused, in the order of the checks


def wrong(text: str, kind: int = 2) -> tuple[int, str]:
    return kind, text


ORDERS: list[tuple[dict[str, object], tuple[int, str]]] = [
    ({"Action": None}, wrong("Action is required.")),
    ({"Action": None, "UCCName": None}, wrong("Action is required.")),
    ({"RequesterSipUri": "", "UCCName": "x"}, wrong("RequesterSipUri is required.")),
    ({"CorrelationId": " "}, wrong("CorrelationId is required.")),
    ({"UCCName": None, "Action": 9}, wrong("UCCName is required.")),
    ({"UCCName": "x", "Action": 9}, wrong("UCC with name:'x' was not found.")),
    ({"UCCName": 5}, wrong("UCC with name:'5' was not found.")),
    ({"UCCName": ["ucc-shop"]}, wrong("UCC with name:'[\"ucc-shop\"]' was not found.")),
    (
        {"UCCName": "ucc-off", "Action": 9},
        wrong("Audio recording is not enabled for UCC:'ucc-off'.", 1),
    ),
    (
        {"UCCName": "UCC-Locked", "Action": 9},
        wrong("Agents are not allowed to edit audio recordings for UCC:'UCC-Locked'.", 1),
    ),
    ({"Action": 0, "RequesterSipUri": "x"}, wrong("Action:'0' is not valid.")),
    ({"Action": 8}, wrong("Action:'8' is not valid.")),
    ({"Action": -1}, wrong("Action:'-1' is not valid.")),
    ({"Action": 1.5}, wrong("Action:'1.5' is not valid.")),
    ({"Action": True}, wrong("Action:'true' is not valid.")),
    ({"Action": "Resume"}, wrong("Action:'Resume' is not valid.")),
    ({"Action": {"a": 1}}, wrong("Action:'{\"a\":1}' is not valid.")),
    (
        {"RequesterSipUri": "sip:bob@bank.example", "CorrelationId": GUID},
        wrong("Requester:'sip:bob@bank.example' is not a valid agent."),
    ),
    (
        {"RequesterSipUri": "sip:off@shop.example"},
        wrong("Requester:'sip:off@shop.example' is not a valid agent."),
    ),
    (
        {"RequesterSipUri": "sip:pay@shop.example"},
        wrong("Requester:'sip:pay@shop.example' is not a valid agent."),
    ),
    ({"CorrelationId": GUID, "Action": "Stop"}, NOT_FOUND),
    ({"CorrelationId": 7}, wrong("No Audio session with correlation Id:'7' was found.")),
]


async def test_orders_that_are_refused(desk: Desk) -> None:
    live = await desk.call()
    usual = {
        "Action": "Pause",
        "RequesterSipUri": AGENT,
        "CorrelationId": id_of(live),
        "UCCName": "ucc-shop",
    }
    for changes, error in ORDERS:
        order: dict[str, Any] = {**usual, **changes}
        said = await desk.post(json.dumps(order).encode(), "isr@system.example")
        assert said.error == error, changes
        assert said.states == (0, 0, 0)
        for name in ("CorrelationId", "UCCName"):
            if isinstance(order[name], str) and order[name].strip():
                assert said.json[name] == order[name]
    assert live.state == "recording" and live.recording and len(live.recording.history) == 1


async def test_what_is_missing_is_null_in_the_answer(idle_desk: Desk) -> None:
    said = await idle_desk.post(b"{}")
    assert said.body.decode() == (
        '{"CorrelationId":null,"RecordingState":0,"MarkingState":0,"SavingState":0,'
        '"ErrorMessage":{"ErrorType":2,"Message":"Action is required."},"UCCName":null}'
    )


async def test_members_have_names_in_any_case(desk: Desk) -> None:
    live = await desk.call()
    order = {
        "action": "pause",
        "REQUESTERSIPURI": "Ann".lower() + "@SHOP.example",
        "correlationid": id_of(live),
        "uccName": "ucc-shop",
        "More": [1],
    }
    assert (await desk.post(json.dumps(order).encode())).states == (3, 0, 0)


async def test_calls_that_agents_or_nobody_may_record(desk: Desk) -> None:
    kept, never = await desk.call("555"), await desk.call("666")
    said = await desk.set("Pause", id_of(kept))
    text = "Agents are not allowed to edit audio recordings for UCC:'ucc-shop'."
    assert (said.error, said.states) == ((1, text), (1, 0, 0))
    said = await desk.set("Start", id_of(never))
    text = "Audio recording is not enabled for UCC:'ucc-shop'."
    assert (said.error, said.states) == ((1, text), (0, 0, 0))
    said = await desk.state("ucc-off", id_of(never), "isr@system.example")
    assert said.error == (1, "Audio recording is not enabled for UCC:'ucc-off'.")


async def test_what_agents_may_do_holds_at_once(desk: Desk) -> None:
    live = await desk.call("555")
    directory = desk.node.services.directory
    service = directory.entries.routes[13]
    for allowed, name in ((False, "Pause"), (True, "Pause"), (False, "Start"), (None, "Start")):
        await directory.put(structs.replace(service, agents_may_control=allowed))
        said = await desk.set(name, id_of(live))
        assert (said.error is None) is (allowed is not False), (allowed, name)
    await directory.remove("routes", "13")  # what held when the call began
    assert (await desk.set("Pause", id_of(live))).error == (
        1,
        "Agents are not allowed to edit audio recordings for UCC:'ucc-shop'.",
    )


async def test_more_recordings_than_the_account_may_have(desk: Desk) -> None:
    await desk.node.services.directory.put(Account(100, "ucc-shop", channels=1))
    await desk.call()
    waiting = await desk.call("777")
    said = await desk.set("Start", id_of(waiting))
    assert (said.error, said.states) == ((3, "Recorder could not perform the action."), (0, 0, 0))


async def test_a_media_process_that_does_not_answer(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = await desk.call()
    await desk.node.services.recorder.reports([live.id])  # the media process knows it
    monkeypatch.setattr(process, "ACKNOWLEDGE_S", 0.5)
    monkeypatch.setattr(process, "HEARTBEAT_S", 0.1)
    engine = desk.node.engine

    def hang(*_: str) -> None:
        assert engine.worker_pid
        os.kill(engine.worker_pid, signal.SIGSTOP)

    engine.on_trouble = hang  # the next one as well
    hang()
    said = await desk.set("Pause", id_of(live))
    assert said.error == (3, "Recorder could not perform the action.")
    assert said.states == (3, 0, 0)  # what was asked for stays asked for

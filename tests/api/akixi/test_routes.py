"""The door: every code there is, in the order they are looked for, and what is no request."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from api.akixi.codes import TEXTS
from api.listener import Limits
from api.scopes import partition_guid
from config.schema import Api
from storage.directory import Directory
from storage.records import StorageUnavailable
from tests.api.akixi.desk import (
    BANK,
    CLERK,
    DEMONSTRATION,
    MACHINE,
    NEW,
    PROLOG,
    READER,
    ROOT,
    SETTINGS,
    SHOP,
    TILL,
    WRITER,
    Desk,
    open_desk,
    request,
)
from tests.api.wires import exchange

ADD, CHANGE, DELETE, LIST, INFO = (
    "CallRecIntAdd",
    "CallRecIntChange",
    "CallRecIntDelete",
    "CallRecIntList",
    "CallRecIntInfo",
)
OF_20 = partition_guid(200, 20)
NOWHERE = "1:1:1:1"
LONG = "x" * 256
WRITES = (ADD, CHANGE, DELETE)
OPERATIONS = (*WRITES, LIST, INFO)


def but(values: dict[str, str], name: str, value: str | None = None) -> dict[str, str]:
    """`values` with another value of that name; None: without it."""
    rest = {each: text for each, text in values.items() if each != name}
    return rest if value is None else {**rest, name: value}


GUIDS: tuple[dict[str, str] | Any, ...] = ({}, {"CallRecIntGUID": ""}, {"CallRecIntGUID": " "})
ROWS: tuple[tuple[str, str, dict[str, str], dict[str, str], str, int], ...] = (
    # who may
    *((operation, MACHINE, {}, {}, "", 10511) for operation in OPERATIONS),
    *((operation, CLERK, {}, {}, "", 10512) for operation in WRITES),
    *((operation, READER, {}, {}, "", 10701) for operation in WRITES),
    *((operation, WRITER, {}, {}, "", 10702) for operation in (LIST, INFO)),
    # mandatory properties, before scope and existence
    (ADD, SHOP, but(NEW, "CallRecIntType"), SETTINGS, "", 11402),
    (ADD, SHOP, but(NEW, "CallRecIntType", "dubber"), SETTINGS, "", 11402),
    (ADD, SHOP, but(NEW, "CallRecIntType", ""), {}, "", 11402),
    (ADD, SHOP, but(NEW, "Description"), SETTINGS, "", 11403),
    (ADD, SHOP, but(NEW, "Description", ""), SETTINGS, "", 11403),
    (ADD, SHOP, but(NEW, "Description", LONG), SETTINGS, "", 11403),
    (ADD, SHOP, NEW, {}, "", 11403),
    (ADD, SHOP, NEW, but(SETTINGS, "IPAddrOrHost1"), "", 11403),
    (ADD, SHOP, NEW, but(SETTINGS, "AuthUserID1", ""), "", 11403),
    *((ADD, SHOP, NEW, but(SETTINGS, name, LONG), "", 11403) for name in SETTINGS),
    *(
        (operation, SHOP, guid, {}, "", 11400)
        for operation in (CHANGE, DELETE, INFO)
        for guid in GUIDS
    ),
    *(
        (operation, SHOP, {"CallRecIntGUID": guid}, {}, "", 10107)
        for operation in (CHANGE, DELETE, INFO)
        for guid in ("x", "1:1:1", "1:1:1:1:1", "1:1:1:12345", "G:1:1:1", "--1:1:1:1", LONG)
    ),
    *(
        (CHANGE, ROOT, {"CallRecIntGUID": DEMONSTRATION, "Description": text}, {}, "", 10107)
        for text in ("", LONG)
    ),
    *(
        (CHANGE, ROOT, {"CallRecIntGUID": DEMONSTRATION}, {name: text}, "", 10107)
        for name, text in [
            *dict.fromkeys(SETTINGS, LONG).items(),
            ("IPAddrOrHost1", ""),
            ("AuthUserID1", ""),
        ]
    ),
    *(
        (LIST, SHOP, {}, {}, more, 10107)
        for more in (
            "<Offset>x</Offset>",
            "<Offset>-1</Offset>",
            "<Offset>1.5</Offset>",
            "<Offset>99999999999999999999</Offset>",
            "<Limit>0</Limit>",
            "<Limit>1001</Limit>",
            "<Limit>-1</Limit>",
            "<Limit>ten</Limit>",
        )
    ),
    # servers and partitions
    (ADD, ROOT, {**NEW, "TelSysID": "", "PartIDInTelSys": "13"}, SETTINGS, "", 11011),
    (ADD, ROOT, {**NEW, "TelSysID": "one"}, SETTINGS, "", 11012),
    (ADD, ROOT, {**NEW, "TelSysID": "0"}, SETTINGS, "", 11012),
    (ADD, ROOT, {**NEW, "TelSysID": "300"}, SETTINGS, "", 11013),
    (ADD, ROOT, {**NEW, "PartIDInTelSys": "x"}, SETTINGS, "", 11110),
    (ADD, ROOT, {**NEW, "PartIDInTelSys": "20"}, SETTINGS, "", 11113),
    (ADD, ROOT, {**NEW, "PartitionGUID": NOWHERE}, SETTINGS, "", 11131),
    (ADD, ROOT, {**NEW, "PartitionGUID": "not even a GUID"}, SETTINGS, "", 11131),
    (ADD, ROOT, {**NEW, "PartitionGUID": OF_20}, SETTINGS, "", 11131),
    (LIST, ROOT, {"PartIDInTelSys": "13"}, {}, "", 11011),
    (LIST, ROOT, {"TelSysID": "x"}, {}, "", 11012),
    (LIST, ROOT, {"TelSysID": "300"}, {}, "", 11013),
    (LIST, ROOT, {"TelSysID": "100", "PartIDInTelSys": "-"}, {}, "", 11110),
    (LIST, ROOT, {"TelSysID": "100", "PartIDInTelSys": "20"}, {}, "", 11113),
    (LIST, ROOT, {"PartitionGUID": NOWHERE}, {}, "", 11131),
    *(
        (CHANGE, ROOT, {"CallRecIntGUID": DEMONSTRATION, **properties}, {}, "", code)
        for properties, code in (
            ({"PartIDInTelSys": "13"}, 11011),
            ({"TelSysID": "", "PartIDInTelSys": "13"}, 11011),
            ({"TelSysID": "x"}, 11012),
            ({"TelSysID": "300"}, 11013),
            ({"TelSysID": "100", "PartIDInTelSys": "x"}, 11110),
            ({"TelSysID": "100", "PartIDInTelSys": "20"}, 11113),
            ({"PartitionGUID": NOWHERE}, 11131),
            ({"TelSysID": "100", "PartitionGUID": OF_20}, 11131),
        )
    ),
    # scope, and then existence
    (ADD, SHOP, but(NEW, "TelSysID"), SETTINGS, "", 10514),
    (ADD, BANK, NEW, SETTINGS, "", 10514),
    (ADD, TILL, NEW, SETTINGS, "", 10514),
    (ADD, TILL, {**NEW, "PartIDInTelSys": "13"}, SETTINGS, "", 10514),
    (ADD, SHOP, {**NEW, "TelSysID": "300"}, SETTINGS, "", 10514),
    (ADD, SHOP, {**NEW, "TelSysID": "", "PartitionGUID": OF_20}, SETTINGS, "", 10514),
    (LIST, SHOP, {"TelSysID": "200"}, {}, "", 10514),
    (LIST, SHOP, {"TelSysID": "300"}, {}, "", 10514),
    (LIST, SHOP, {"PartitionGUID": OF_20}, {}, "", 10514),
    (LIST, TILL, {"TelSysID": "100", "PartIDInTelSys": "13"}, {}, "", 10514),
    *(
        (operation, SHOP, {"CallRecIntGUID": DEMONSTRATION}, {}, "", 10514)
        for operation in (CHANGE, DELETE, INFO)
    ),
    *(
        (operation, SHOP, {"CallRecIntGUID": NOWHERE}, {}, "", 11401)
        for operation in (CHANGE, DELETE, INFO)
    ),
)
"""Operation, user, properties, settings, what else is in the request -> code."""


async def test_every_refusal_has_its_code_and_text_and_changes_nothing(desk: Desk) -> None:
    before = desk.node.services.directory.entries
    for operation, who, properties, settings, more, code in ROWS:
        said = await desk.ask(operation, who, properties, settings, more)
        assert said.status == 200
        row = (operation, who, properties, settings, more)
        assert (said.code, said.message) == (code, TEXTS[code]), row
        if code == 11013:
            text = TEXTS[code]
            assert said.text == (
                f'{PROLOG}<Response Result="Fail"><InvokeID>9</InvokeID><Fail>'
                f"<ErrorCode>11013</ErrorCode><ErrorMessage>{text}</ErrorMessage></Fail></Response>"
            )
    assert desk.node.services.directory.entries == before


async def test_an_entry_of_another_account_is_out_of_scope(desk: Desk) -> None:
    guid = await desk.add(BANK, TelSysID="200")
    for operation in (CHANGE, DELETE, INFO):
        said = await desk.ask(operation, SHOP, {"CallRecIntGUID": guid})
        assert said.code == 10514
    mine = await desk.add(SHOP)
    asked = {"CallRecIntGUID": mine, "TelSysID": "200"}
    assert (await desk.ask(CHANGE, SHOP, asked)).code == 10514
    asked = {"CallRecIntGUID": mine, "TelSysID": ""}
    assert (await desk.ask(CHANGE, SHOP, asked)).code == 10514
    assert (await desk.ask(LIST, SHOP)).entries == [
        {"CallRecIntGUID": mine, "Description": "Demo Call Rec Int"}
    ]


async def test_the_checks_before_all_others_in_their_order(desk: Desk) -> None:
    session = await desk.create()
    rows: tuple[tuple[str, int], ...] = (
        ("<x/>", 10102),
        (request(None, invoke=None), 10102),
        (request("", invoke=None), 10102),
        (request("callrecintlist", invoke=None), 10102),
        (request("CallRecIntPlay"), 10102),
        (request(LIST, invoke=None), 10101),
        (request("CreateSession", invoke=None), 10101),
        (request("Authenticate", invoke=" "), 10101),
        (request(LIST), 10301),
        (request(LIST, ""), 10301),
        (request("Authenticate"), 10301),
        (request("EndSession"), 10301),
        (request(LIST, "A" * 32), 10302),
        (request(LIST, session.lower()), 10302),
        (request("Authenticate", "A" * 32), 10302),
        (request("EndSession", "x"), 10302),
        *((request(operation, session), 10305) for operation in OPERATIONS),
    )
    for text, code in rows:
        said = await desk.send(text)
        assert (said.status, said.code, said.message) == (200, code, TEXTS[code]), text
        is_named = "<InvokeID>9</InvokeID>" in text
        assert said.root.findtext("InvokeID") == ("9" if is_named else ""), text


async def test_with_administration_switched_off_one_may_only_look(
    tmp_path: Path, migrated: Path
) -> None:
    akixi = type(Api().akixi)(administration=False)
    async with open_desk(tmp_path, migrated, api=Api(akixi=akixi)) as desk:
        for operation in WRITES:
            said = await desk.ask(operation, SHOP)
            assert (said.code, said.message) == (10700, TEXTS[10700])
        assert (await desk.ask(ADD, CLERK)).code == 10512
        assert (await desk.ask(ADD, READER)).code == 10700
        assert (await desk.ask(LIST, SHOP)).entries == []


async def test_a_database_that_is_away(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*_: object) -> None:
        raise StorageUnavailable("away")

    await desk.session(SHOP)
    monkeypatch.setattr(Directory, "edit", away)
    said = await desk.ask(ADD, SHOP, NEW, SETTINGS)
    assert (said.status, said.code, said.message) == (200, 10103, TEXTS[10103])
    assert (await desk.ask(LIST, SHOP)).code == 0


async def test_what_nobody_foresaw(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError("a secret of the inside")

    await desk.session(SHOP)
    monkeypatch.setattr(Directory, "edit", broken)
    with capture_logs() as logs:
        said = await desk.ask(ADD, SHOP, NEW, SETTINGS)
    assert (said.status, said.code, said.message) == (200, 10000, TEXTS[10000])
    assert said.root.findtext("InvokeID") == "9"
    assert "secret" not in said.text
    assert any(each["event"] == "request_failed" for each in logs)


async def test_no_operation_writes_into_the_log(desk: Desk) -> None:
    with capture_logs() as logs:
        for name in ("a&#10;forged", "x" * 100, "\u00e4"):
            assert (await desk.send(request(name))).code == 10102
    refused = [each["operation"] for each in logs if each["event"] == "integration_refused"]
    assert refused == ["", "x" * 40, ""]


# envelopes


ENVELOPE = (
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/">'
    "<soapenv:Header/><soapenv:Body>{}</soapenv:Body></soapenv:Envelope>"
)
SOAP = f'{PROLOG}<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body>'


@pytest.mark.parametrize("action", ["", '""', "urn:CallRecIntList"])
async def test_who_asks_in_an_envelope_is_answered_in_one(desk: Desk, action: str) -> None:
    headers = {"SOAPAction": action}
    asked = request(LIST, await desk.session(SHOP))
    said = await desk.send(ENVELOPE.format(asked), **headers)
    assert said.status == 200
    assert said.headers["Content-Type"] == "text/xml; charset=utf-8"
    assert said.text == (
        f'{SOAP}<Response Result="Success"><InvokeID>9</InvokeID><Success/></Response>'
        "</soap:Body></soap:Envelope>"
    )
    said = await desk.send(ENVELOPE.format(request(LIST)), **headers)
    assert (said.status, said.code) == (200, 10301)
    assert said.text.startswith(SOAP)
    said = await desk.send(ENVELOPE.format("<x/>"), **headers)
    assert (said.status, said.code) == (200, 10102)


async def test_a_broken_envelope_is_a_fault(desk: Desk) -> None:
    said = await desk.send(ENVELOPE.format(""))
    assert said.status == 500
    assert said.text == (
        f"{SOAP}<soap:Fault><faultcode>soap:Client</faultcode><faultstring>"
        "The envelope needs one body with one request in it.</faultstring></soap:Fault>"
        "</soap:Body></soap:Envelope>"
    )


# what is no request


HOSTILE = {
    "no XML": b"hello",
    "nothing": b"",
    "UTF-16": "<Request/>".encode("utf-16"),
    "entities": b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><Request>&x;</Request>',
    "depth": b"<Request>" * 7000,
    "NUL": b"<Request>\0</Request>",
}


async def test_what_is_no_xml_is_a_bad_request(desk: Desk) -> None:
    for name, body in HOSTILE.items():
        said = await desk.send(body)
        assert (said.status, said.code) == (400, 10000), name
        assert said.message.startswith("The body is not XML: "), name
        assert said.root.findtext("InvokeID") == ""
        assert "root:" not in said.text


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "application/xml"}, 200),
        ({"Content-Type": "text/xml; charset=utf-8"}, 200),
        ({"Content-Type": 'application/soap+xml; action="x"'}, 200),
        ({"Content-Type": "application/json"}, 400),
        ({"Content-Type": "text/plain"}, 400),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 400),
        ({"Content-Encoding": "gzip"}, 400),
    ],
)
async def test_which_media_types_are_taken(
    desk: Desk, headers: dict[str, str], status: int
) -> None:
    said = await desk.send(request("CreateSession"), **headers)
    assert (said.status, said.code) == (status, 0 if status == 200 else 10000)


async def test_a_body_that_is_too_large_or_too_slow(tmp_path: Path, migrated: Path) -> None:
    async with open_desk(tmp_path, migrated, limits=Limits(body_s=0.2)) as desk:
        said = await desk.send(b"<Request>" + b" " * 70_000 + b"</Request>")
        assert (said.status, said.code, said.message) == (413, 10000, "The body is too large.")
        head = b"POST /CCS/API/ws HTTP/1.1\r\nHost: a\r\nContent-Length: 90\r\n"
        head += b"Content-Type: text/xml\r\nConnection: close\r\n\r\n<Req"
        answer = await asyncio.wait_for(exchange(desk.node.server.address, head), 10)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"<ErrorMessage>The body did not arrive in time.</ErrorMessage>" in answer


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/ws", 405, "POST"),
        ("GET", "/ws?wsdl", 405, "POST"),
        ("DELETE", "/ws", 405, "POST"),
        ("OPTIONS", "/ws", 405, "POST"),
        ("GET", "/v1/session", 405, "POST"),
        ("POST", "/v1/login", 405, "GET"),
        ("POST", "", 404, None),
        ("POST", "/", 404, None),
        ("POST", "/ws/", 404, None),
        ("GET", "/other", 404, None),
        ("GET", "/v1", 404, None),
        ("GET", "/v1/logout", 404, None),
    ],
)
async def test_everything_below_is_answered_in_its_own_words(
    desk: Desk, method: str, path: str, status: int, allow: str | None
) -> None:
    said = await desk.get(method, path)
    assert (said.status, said.headers.get("Allow")) == (status, allow)
    if path.startswith("/v1"):
        assert said.text.startswith('{"ErrorCode":10102,"ErrorMessage":"')
    else:
        assert said.code == 10102

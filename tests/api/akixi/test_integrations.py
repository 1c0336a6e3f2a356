"""Entries are added, changed, listed, shown and deleted; each row is a request and its answer."""

import asyncio
import re

from structlog.testing import capture_logs

from api.scopes import partition_guid
from storage.platforms import Integration
from tests.api.akixi.desk import (
    BANK,
    DEMONSTRATION,
    GUID,
    NEW,
    PROLOG,
    ROOT,
    SETTINGS,
    SHOP,
    TILL,
    Desk,
)

OF_13 = partition_guid(100, 13)


def entry(desk: Desk, guid: str) -> Integration:
    return desk.node.services.directory.entries.integrations[guid]


async def test_what_is_added_is_listed_and_shown(desk: Desk) -> None:
    said = await desk.ask("CallRecIntAdd", SHOP, {**NEW, "PartIDInTelSys": "13"}, SETTINGS)
    assert said.status == 200
    assert said.headers["Content-Type"] == "text/xml; charset=utf-8"
    assert said.text == f'{PROLOG}<Response Result="Success"><InvokeID>9</InvokeID></Response>'
    (listed,) = (await desk.ask("CallRecIntList", SHOP)).entries
    guid = listed["CallRecIntGUID"]
    assert listed == {"CallRecIntGUID": guid, "Description": "Demo Call Rec Int"}
    assert re.fullmatch(GUID, guid)
    said = await desk.ask("CallRecIntInfo", SHOP, {"CallRecIntGUID": guid})
    inner = "".join(f'<Property Name="{name}">{text}</Property>' for name, text in SETTINGS.items())
    assert said.text == (
        f'{PROLOG}<Response Result="Success"><InvokeID>9</InvokeID><Success>'
        f'<Property Name="CallRecIntGUID">{guid}</Property>'
        '<Property Name="CallRecIntType">Dubber</Property>'
        '<Property Name="TelSysID">100</Property><Property Name="PartIDInTelSys">13</Property>'
        f'<Property Name="PartitionGUID">{OF_13}</Property>'
        '<Property Name="Description">Demo Call Rec Int</Property>'
        f'<Container Name="APICommunicationSettings">{inner}</Container></Success></Response>'
    )
    stored = entry(desk, guid)
    assert stored == Integration(
        guid,
        2,
        "Demo Call Rec Int",
        "Dubber",
        100,
        13,
        ["api.dubber.net/uk1", "api.dubber.net/uk2"],
        ["ex25dejpdb85vpqtsxr7napv", "userid2"],
        ["param1", "param2"],
    )


async def test_where_an_entry_can_belong(desk: Desk) -> None:
    rows: tuple[tuple[dict[str, str], tuple[int | None, int | None]], ...] = (
        ({"TelSysID": ""}, (None, None)),
        ({}, (100, None)),
        ({"PartIDInTelSys": "14"}, (100, 14)),
        ({"TelSysID": "", "PartitionGUID": OF_13}, (100, 13)),
        ({"PartIDInTelSys": "13", "PartitionGUID": OF_13}, (100, 13)),
    )
    for properties, expected in rows:
        found = entry(desk, await desk.add(ROOT, **properties))
        assert (found.account, found.route) == expected
    assert entry(desk, await desk.add(TILL, PartIDInTelSys="14")).route == 14


async def test_many_at_once_are_all_different(desk: Desk) -> None:
    await desk.session(ROOT)
    said = await asyncio.gather(*(desk.ask("CallRecIntAdd", ROOT, NEW, SETTINGS) for _ in range(8)))
    assert {each.code for each in said} == {0}
    entries = desk.node.services.directory.entries.integrations.values()
    assert [each.number for each in entries] == [*range(1, 10)]
    assert len({each.guid for each in entries}) == 9


async def test_any_text_comes_back(desk: Desk) -> None:
    text = "Fish & <chips> \"'💳 " + "x" * 100
    guid = await desk.add(ROOT, Description=text)
    said = await desk.ask("CallRecIntInfo", ROOT, {"CallRecIntGUID": guid})
    assert said.properties["Description"] == text


async def test_a_change_changes_what_it_names(desk: Desk) -> None:
    guid = await desk.add(SHOP)
    before = entry(desk, guid)

    async def change(
        settings: dict[str, str] | None = None, properties: dict[str, str] | None = None
    ) -> Integration:
        asked = {"CallRecIntGUID": guid, **(properties or {})}
        said = await desk.ask("CallRecIntChange", SHOP, asked, settings)
        assert said.text == f'{PROLOG}<Response Result="Success"><InvokeID>9</InvokeID></Response>'
        return entry(desk, guid)

    assert await change() == before
    found = await change(None, {"Description": "New", "CallRecIntType": "Other"})
    assert (found.description, found.type) == ("New", "Dubber")
    found = await change({"APIParameter1": "", "AuthUserID2": "u2", "IPAddrOrHost2": ""})
    assert (found.hosts, found.users, found.parameters) == (
        ["api.dubber.net/uk1"],
        ["ex25dejpdb85vpqtsxr7napv", "u2"],
        ["", "param2"],
    )
    assert (await change({"APIParameter2": ""})).parameters == []
    for properties, route in (
        ({"PartIDInTelSys": "13"}, 13),
        ({"Description": "Newer"}, 13),
        ({"PartitionGUID": partition_guid(100, 14)}, 14),
        ({"TelSysID": "100"}, 14),
        ({"PartIDInTelSys": ""}, None),
    ):
        found = await change(None, properties)
        assert (found.account, found.route, found.number) == (100, route, 2)


async def test_the_list_in_pages_and_by_scope(desk: Desk) -> None:
    everywhere = await desk.add(ROOT, TelSysID="")
    shop = await desk.add(SHOP)
    of_13 = await desk.add(SHOP, PartIDInTelSys="13")
    of_14 = await desk.add(SHOP, PartIDInTelSys="14")
    bank = await desk.add(BANK, TelSysID="200")
    every = [DEMONSTRATION, everywhere, shop, of_13, of_14, bank]

    async def listed(who: str, more: str = "", **properties: str) -> list[str]:
        said = await desk.ask("CallRecIntList", who, properties, more=more)
        return [each["CallRecIntGUID"] for each in said.entries]

    assert await listed(ROOT) == every
    assert await listed(SHOP) == [shop, of_13, of_14]
    assert await listed(BANK) == [bank]
    assert await listed(TILL) == await listed(TILL, TelSysID="100") == [of_14]
    assert await listed(ROOT, TelSysID="100") == [shop, of_13, of_14]
    assert await listed(ROOT, TelSysID="100", PartIDInTelSys="13") == [of_13]
    assert await listed(ROOT, PartitionGUID=OF_13) == [of_13]
    assert await listed(ROOT, TelSysID="x", PartIDInTelSys="y", PartitionGUID=OF_13) == [of_13]
    for more, part in (
        ("<Offset>2</Offset>", every[2:]),
        ("<Limit>2</Limit>", every[:2]),
        ("<Offset>1</Offset><Limit>3</Limit>", every[1:4]),
        ("<Offset>0</Offset><Limit>1000</Limit>", every),
        ("<Offset/><Limit/>", every),
    ):
        assert await listed(ROOT, more) == part, more
    said = await desk.ask("CallRecIntList", ROOT, more="<Offset>6</Offset>")
    assert said.text.endswith("</InvokeID><Success/></Response>")


async def test_the_list_tells_what_is_asked_for(desk: Desk) -> None:
    guid = await desk.add(SHOP, PartIDInTelSys="13")
    rows = {
        "TelSysID, PartIDInTelSys": {"TelSysID": "100", "PartIDInTelSys": "13"},
        " PartitionGUID ,CallRecIntType,": {"PartitionGUID": OF_13, "CallRecIntType": "Dubber"},
        "IPAddrOrHost2,Description": {"IPAddrOrHost2": "api.dubber.net/uk2"},
        "APICommunicationSettings": SETTINGS,
        "Nonsense,,;": {},
    }
    for fields, more in rows.items():
        (found,) = (await desk.ask("CallRecIntList", SHOP, {"CallRecIntFields": fields})).entries
        assert found == {"CallRecIntGUID": guid, "Description": "Demo Call Rec Int", **more}, fields
    # What was never set is empty for Info, and left out of a list.
    every = ",".join(("TelSysID", "PartIDInTelSys", "PartitionGUID", *SETTINGS))
    said = await desk.ask(
        "CallRecIntList", ROOT, {"CallRecIntFields": every}, more="<Limit>1</Limit>"
    )
    assert said.entries == [
        {"CallRecIntGUID": DEMONSTRATION, "Description": "[Dubber: Demonstration Simulator]"}
    ]
    said = await desk.ask("CallRecIntInfo", ROOT, {"CallRecIntGUID": DEMONSTRATION})
    assert said.properties == {
        "CallRecIntGUID": DEMONSTRATION,
        "CallRecIntType": "Dubber",
        "TelSysID": "",
        "PartIDInTelSys": "",
        "PartitionGUID": "",
        "Description": "[Dubber: Demonstration Simulator]",
        **dict.fromkeys(SETTINGS, ""),
    }


async def test_what_is_deleted_is_gone_and_the_log_says_so(desk: Desk) -> None:
    guid = await desk.add(SHOP)
    with capture_logs() as logs:
        said = await desk.ask("CallRecIntDelete", SHOP, {"CallRecIntGUID": guid})
        assert said.text == f'{PROLOG}<Response Result="Success"><InvokeID>9</InvokeID></Response>'
        assert (await desk.ask("CallRecIntInfo", SHOP, {"CallRecIntGUID": guid})).code == 11401
        assert (
            await desk.ask("CallRecIntDelete", ROOT, {"CallRecIntGUID": DEMONSTRATION})
        ).code == 0
    assert (await desk.ask("CallRecIntList")).entries == []
    removed = {"event": "integration_removed", "log_level": "info"}
    assert {**removed, "integration": guid, "actor": SHOP} in logs
    demo = {"event": "demonstration_integration_removed", "log_level": "warning", "actor": ROOT}
    assert demo in logs
    await desk.node.services.directory.load()
    assert not desk.node.services.directory.entries.integrations

"""Which UCID a call has, by what its client says, and that commands find it by that."""

from pathlib import Path

import pytest

from config.schema import Sip
from tests.api.oracle_face.desk import APKT, Desk, open_desk

DETAILS = "audioRecording/details"
UCID = "00FA08020000F56E7667A;encoding=hex"


def extension(*elements: str) -> str:
    """Extension data as Oracle session border controllers write it."""
    return f'<extensiondata xmlns:apkt="{APKT}">{"".join(elements)}</extensiondata>'


def label(value: str, name: str = "X-ISR-UCID") -> str:
    return f'<apkt:header label="{name}"><value>{value}</value></apkt:header>'


def element(value: str) -> str:
    return f"<apkt:ucid>{value}</apkt:ucid>"


@pytest.mark.parametrize(
    ("header", "data", "ucid"),
    [
        (UCID, "", UCID),
        ("", extension(label(UCID)), UCID),
        ("", extension(label(UCID, "x-isr-ucid")), UCID),
        ("", extension(element(UCID)), UCID),
        ("", extension(element(UCID)).replace("apkt", "other"), UCID),
        ("1-H", extension(element("3-E"), label("2-L")), "1-H"),
        ("", extension(element("3-E"), label("2-L")), "2-L"),
        ("", extension(element("3-E"), label("2-L", "X-Other")), "3-E"),
        ("", extension("<apkt:realm>access</apkt:realm>"), ""),
    ],
)
async def test_the_first_that_is_said_counts(desk: Desk, header: str, data: str, ucid: str) -> None:
    live = await desk.call(ucid=header, extension=data)
    call_id = live.call_id
    shown = (await desk.get(DETAILS, ingressCallId=call_id)).recording
    assert (shown.get("isrUcid", ""), shown["ingressCallId"]) == (ucid, call_id)
    assert shown["filename"] == f"8675309-{ucid or call_id}.wav".replace(";", "_")
    by_call_id = await desk.get(DETAILS, isrUcid=call_id)
    assert by_call_id.code == 26  # the Call-ID is no UCID
    for other in filter(None, ("1-H", "2-L", "3-E", UCID, ucid.lower())):
        found = await desk.get(DETAILS, isrUcid=other)
        assert found.code == (0 if other == ucid else 26)
    selected = {"isrUcid": ucid} if ucid else {"ingressCallId": call_id}
    paused = await desk.post("audioRecording/pause", **selected)
    assert (paused.code, live.state) == (0, "paused")
    row = await desk.recorded(live)
    stored = (await desk.get(DETAILS, **selected)).recording
    assert (stored["recordingId"], row.ucid) == (str(row.number), ucid)


async def test_another_header_and_the_call_id_if_that_is_configured(
    tmp_path: Path, migrated: Path
) -> None:
    for name, ucid in (("X-Genesys-CallUUID", "2-L"), ("Call-ID", "")):
        folder = tmp_path / name
        folder.mkdir()
        async with open_desk(folder, migrated, sip=Sip(ucid_header=name)) as desk:
            data = extension(label("2-L", "X-Genesys-CallUUID"), element("3-E"))
            live = await desk.call(ucid="1-H", extension=data)
            shown = (await desk.get(DETAILS, isrUcid=ucid or live.call_id)).recording
            assert shown["isrUcid"] == (ucid or live.call_id)
            assert (await desk.get(DETAILS, isrUcid="1-H")).code == 26

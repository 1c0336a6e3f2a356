"""One call from end to end on the wire: three parties, a stream added, a hold, a closing word.

INVITE with complete metadata, re-INVITE with a third stream and partial metadata, UPDATE with
metadata only, BYE with the reason: each message composed here, each answer read as a client would.
"""

import re

import pytest

from tests.e2e.srs import Json, Srs
from tests.e2e.test_signalling import Peer, hang_up, message, peer, tag

pytestmark = pytest.mark.asyncio(loop_scope="module")

NS = "urn:ietf:params:xml:ns:recording:1"
SESSION = "Q1Mtb25lLWNhbGwtMDAwMQ=="
ANN, BEN, CAI = "YW5uLTAwMDAwMDAwMDAwMQ==", "YmVuLTAwMDAwMDAwMDAwMg==", "Y2FpLTAwMDAwMDAwMDAwMw=="
S1, S2, S3 = "c3RyZWFtLW9uZS0wMDAwMQ==", "c3RyZWFtLXR3by0wMDAwMg==", "c3RyZWFtLXRocmVlLTAwMw=="

FIRST = f"""<?xml version="1.0" encoding="UTF-8"?>
<recording xmlns="{NS}"><datamode>complete</datamode>
<session session_id="{SESSION}"><start-time>2026-11-22T09:00:00Z</start-time></session>
<participant participant_id="{ANN}"><nameID aor="sip:ann@corp.example">
<name xml:lang="en">Ann</name></nameID></participant>
<participant participant_id="{BEN}"><nameID aor="tel:+15550100"/>
<nameID aor="sip:ben@cust.example"/></participant>
<stream stream_id="{S1}" session_id="{SESSION}"><label>1</label></stream>
<stream stream_id="{S2}" session_id="{SESSION}"><label>2</label></stream>
<participantstreamassoc participant_id="{ANN}"><send>{S1}</send><recv>{S2}</recv>
</participantstreamassoc>
<participantstreamassoc participant_id="{BEN}"><send>{S2}</send><recv>{S1}</recv>
</participantstreamassoc></recording>"""

JOINED = f"""<recording xmlns="{NS}"><datamode>partial</datamode>
<participant participant_id="{CAI}"><nameID aor="sip:cai@corp.example"/></participant>
<stream stream_id="{S3}" session_id="{SESSION}"><label>3</label></stream>
<participantsessionassoc participant_id="{CAI}" session_id="{SESSION}">
<associate-time>2026-11-22T09:03:10Z</associate-time></participantsessionassoc>
<participantstreamassoc participant_id="{CAI}"><send>{S3}</send><recv>{S1}</recv>
</participantstreamassoc></recording>"""

HELD = f"""<recording xmlns="{NS}"><datamode>partial</datamode>
<participantstreamassoc participant_id="{ANN}"/></recording>"""

OVER = f"""<recording xmlns="{NS}"><datamode>partial</datamode><session session_id="{SESSION}">
<reason cause="16" protocol="Q.850">Normal</reason><stop-time>2026-11-22T09:20:30Z</stop-time>
</session></recording>"""


def offer(streams: int, version: int) -> str:
    """SDP of a client with this many PCMA streams."""
    text = f"v=0\r\no=sbc7 770 {version} IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    for n in range(streams):
        text += (
            f"m=audio {42000 + 2 * n} RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\n"
            f"a=fmtp:101 0-15\r\na=sendonly\r\na=label:{n + 1}\r\n"
        )
    return text


def both(sdp: str, words: str) -> tuple[str, str]:
    """(body, headers) of a multipart request."""
    body = (
        f"--part\r\nContent-Type: application/sdp\r\n\r\n{sdp}\r\n"
        "--part\r\nContent-Type: application/rs-metadata+xml\r\n"
        f"Content-Disposition: recording-session\r\n\r\n{words}\r\n--part--\r\n"
    )
    return body, 'Require: siprec\r\nContent-Type: multipart/mixed;boundary="part"\r\n'


METADATA = (
    "Require: siprec\r\nContent-Type: application/rs-metadata+xml\r\n"
    "Content-Disposition: recording-session\r\n"
)


def m_lines(answer: bytes) -> list[str]:
    """The media sections of an SDP answer."""
    body = answer.partition(b"\r\n\r\n")[2].decode()
    return [f"m={section}" for section in body.split("m=")[1:]]


async def ask(client: Peer, data: bytes) -> bytes:
    """Send, and take the final answer, which must be 200 and name us as recorder."""
    await client.send(data)
    answer = await client.final()
    assert answer.startswith(b"SIP/2.0 200"), answer
    assert re.search(rb"\r\nContact: <[^>]+>;\+sip\.srs\r\n", answer), answer
    return answer


async def people(srs: Srs, call_id: str) -> dict[str, str]:
    """Participant address -> label of the stream they send now."""
    session: Json = await srs.session(call_id)
    labels = {s.get("participant_id"): s["label"] for s in session["streams"]}
    return {p["aor"]: labels.get(p["participant_id"], "") for p in session["participants"]}


async def test_one_call_told_in_four_documents(srs: Srs) -> None:
    with peer(srs) as client:
        body, headers = both(offer(2, 1), FIRST)
        first = await ask(client, message("INVITE", "story", body=body, headers=headers))
        to_tag = tag(first)
        await client.send(message("ACK", "story", to_tag=to_tag))
        lines = m_lines(first)
        assert [re.findall(r"a=label:(\w+)", line) for line in lines] == [["1"], ["2"]]
        assert all("RTP/AVP 8 101" in line and "a=recvonly" in line for line in lines)
        assert all("a=fmtp:101 0-15" in line for line in lines)
        assert b"application/sdp\r\n" in first and b"o=sbc7" not in first
        assert await people(srs, "story") == {"sip:ann@corp.example": "1", "tel:+15550100": "2"}

        body, headers = both(offer(3, 2), JOINED)
        more = await ask(
            client, message("INVITE", "story", cseq=2, to_tag=to_tag, body=body, headers=headers)
        )
        await client.send(message("ACK", "story", cseq=2, to_tag=to_tag))
        assert m_lines(more)[:2] == lines and "a=label:3" in m_lines(more)[2]
        assert (await people(srs, "story"))["sip:cai@corp.example"] == "3"

        held = await ask(
            client,
            message("UPDATE", "story", cseq=3, to_tag=to_tag, body=HELD, headers=METADATA),
        )
        assert held.endswith(b"Content-Length: 0\r\n\r\n")
        assert (await people(srs, "story"))["sip:ann@corp.example"] == "1"
        assert (await srs.session("story"))["state"] == "recording"

        bye = message("BYE", "story", cseq=4, to_tag=to_tag, body=OVER, headers=METADATA)
        await client.send(bye)
        assert (await client.final()).startswith(b"SIP/2.0 200")
    recording = await srs.recording("story")
    assert [stream["label"] for stream in recording["streams"]] == ["1", "2", "3"]
    assert len(recording["participants"]) == 3


async def test_the_old_media_type_and_a_bare_sdp_are_taken(srs: Srs) -> None:
    with peer(srs) as client:
        body, headers = both(offer(2, 1), FIRST)
        old = body.replace("rs-metadata+xml", "rs-metadata")
        answer = await ask(client, message("INVITE", "old-type", body=old, headers=headers))
        await client.send(message("ACK", "old-type", to_tag=tag(answer)))
        assert len(await people(srs, "old-type")) == 2
        await hang_up(client, "old-type", tag(answer))
        bare = await ask(client, message("INVITE", "bare", body=offer(1, 1)))
        await client.send(message("ACK", "bare", to_tag=tag(bare)))
        assert (await srs.session("bare"))["participants"] == []
        await hang_up(client, "bare", tag(bare))

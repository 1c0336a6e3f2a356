"""Records with something in every field."""

from datetime import UTC, datetime, timedelta
from typing import Any

from storage.records import (
    AuditEntry,
    Digit,
    Extension,
    FileRecord,
    Gap,
    Mark,
    Participant,
    Pause,
    Recording,
    SiprecSession,
    StreamRecord,
    SupplementalFile,
)

T0 = datetime(2026, 3, 4, 5, 6, 7, 891011, tzinfo=UTC)


def recording(id: str = "rec-0001", second: float = 0, **fields: Any) -> Recording:
    """A record whose recording began `second` seconds after T0, the first in its catalogue."""
    at = T0 + timedelta(seconds=second)
    return Recording(id, **(_calling(at) | _kept(at) | _written(id, at) | fields))


def _calling(at: datetime) -> dict[str, Any]:
    return {
        "number": 1,
        "session_id": "ses-1",
        "call_id": "a84b4c76e66710@src.example",
        "from_aor": "sip:src@example.com",
        "to_aor": "sip:srs@example.com",
        "ani": "4930123456",
        "dnis": "8675309",
        "ucid": "00FA080018803B69810C6D",
        "egress_call_id": "1-7@egress",
        "realm": "peer1",
        "owner": "ann@example.com",
        "local_party": "4930123456",
        "remote_party": "8675309",
        "direction": "outgoing",
        "discard": True,
        "siprec_sessions": (
            SiprecSession("hVpd7YQgRW2nD22h7q60JQ==", at, (Extension("apkt:realm", ("peer1",)),)),
        ),
        "participants": (
            Participant(
                "p1",
                "sip:ann@example.com",
                'Ann "Ä" O\'Neil',
                (Extension("apkt:request-uri", ("sip:1@a", "sip:2@b")),),
                calling=True,
            ),
            Participant("p2", "im:bob@example.com"),
        ),
        "streams": (
            StreamRecord("s1", "96", 0, "PCMU", "p1", 450, 3, 1, (Gap(100, 60),), "x==", at),
            StreamRecord(
                "s2", "97", 1, "PCMA", "p2", extensions=(Extension("acme:side", ("callee",)),)
            ),
        ),
    }


def _kept(at: datetime) -> dict[str, Any]:
    return {
        "status": "recording",
        "started_at": at,
        "reason": "crash",
        "ended_at": at + timedelta(seconds=9, microseconds=1),
        "duration_ms": 9000,
        "paused_ms": 3000,
        "filename": "8675309-00FA.wav",
        "previous_filename": "before.wav",
        "files": (FileRecord("wav", "2026-03-04/05/06/x.wav", 44, "ab" * 32, 2, 8000),),
        "supplemental_files": (
            SupplementalFile(1, "video", "x.mp4", FileRecord("mp4", "x.mp4", 4, "cd" * 32)),
        ),
        "pauses": (
            Pause(at, at + timedelta(seconds=3), "silence"),
            Pause(at + timedelta(seconds=5), None, "cut"),
        ),
        "digits": (Digit("#", 1337, "caller"),),
    }


def _written(id: str, at: datetime) -> dict[str, Any]:
    return {
        "segment": 2,
        "node": 3,
        "account": 7,
        "route": 13,
        "profile": "small",
        "third_party_id": "screen-1",
        "agent_id": "007",
        "agent_terminal": "t1",
        "note": "a note",
        "sensitive": True,
        "custom": {"customer": "4711", "with space": "a 'b' \"c\" %_"},
        "marks": (Mark(at, "card number\n💳"),),
        "warnings": ("metadata_malformed",),
        "history": (
            AuditEntry(id, 1, at, "ann", "pause", "card number"),
            AuditEntry(id, 2, at, "ann", "resume"),
        ),
    }

"""What the body of a FACE command changes: its form as an `Update`.

Counterparts: `api.oracle_face.criteria` for what the URL selects; `siprec.logbook.Changes`.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from api.oracle_face.codes import FAILURE, Refusal, invalid
from api.oracle_face.criteria import RESERVED
from siprec.logbook import TEXT_CHARACTERS, Changes, InvalidChange, wav_name
from storage.text import bared, safe_file_name

FORM_FIELDS = 1000
"""Most fields of a form."""

_SYSTEM_DATA = """
isrUcid ingressCallId egressCallId thirdpartyId ani from dnis to start startTime end endTime
duration pauseLength pausedWithSilence recordingId tmpRecordingId previousFilename fileStatus
account accountId route routeId rss rssId channelNumber directory location locationId archived
archivalRemarks archivalFailCount archiverMode archiverAction conversionStatus deleteFlag
neverExpire hasVideo aor siprecSessionId siprecParticipantId siprecStreamId participantId session
participants participant streams stream mode label name siprecDataSets siprecData extensionDataSets
extensionData customDataSets customData value values dtmfDigits dtmfDigit key offsetMs origin
supplementalFiles supplementalFile supplementalFileId fileType segments segment segmentId sequence
checksumMismatch securedMedia
"""
"""Names under which FACE shows or selects by what calls and recorder say: not for people to say."""
_SYSTEM = frozenset(_SYSTEM_DATA.split())
_UPDATABLE = frozenset({"filename", "agentId", "agentTerminal", "sensitive", "setNeverExpire"})
_FLAG = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class Update:
    """What is to be changed of a recording; None leaves it as it is."""

    filename: str | None = None
    """A name that can be stored, with `.wav`; other than `asked_filename` if that cannot be."""
    asked_filename: str = ""
    """The name as it was asked for."""
    agent_id: str | None = None
    agent_terminal: str | None = None
    sensitive: bool | None = None
    never_expire: bool | None = None
    custom: Mapping[str, str] = field(default_factory=dict)
    """Custom field -> value, an empty one to take it away."""

    @property
    def is_empty(self) -> bool:
        """Nothing is to be changed."""
        return self == Update()

    def changes(self, known: Container[str]) -> Changes:
        """All but the file name; of custom data the fields that are `known` for the recording."""
        return Changes(
            agent_id=self.agent_id,
            agent_terminal=self.agent_terminal,
            sensitive=self.sensitive,
            never_expire=self.never_expire,
            custom={name: value for name, value in self.custom.items() if name in known},
        )


def parse_form(body: bytes) -> dict[str, str]:
    """The fields of an application/x-www-form-urlencoded body in UTF-8; of equal names the last.

    Raises Refusal for other octets and for more than `FORM_FIELDS` fields.
    """
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, errors="strict", max_num_fields=FORM_FIELDS
        )
    except ValueError:
        raise invalid("body") from None
    return dict(pairs)


def parse(
    body: Mapping[str, str],
    custom_names: frozenset[str],
    extension_names: frozenset[str] = frozenset(),
) -> Update:
    """The update that a form asks for. Names that mean nothing are passed over.

    `custom_names`: custom fields of the directory, whosoever recordings may bear them;
    `extension_names`: its names of extension data. Raises Refusal for what only the system says,
    and for values that cannot be.
    """
    own = custom_names - RESERVED - _UPDATABLE
    known = own | _UPDATABLE
    system = (_SYSTEM | (extension_names - RESERVED)) - known
    for name, text in body.items():
        if name in known and len(text) > TEXT_CHARACTERS:
            raise invalid(name)
        if name in system:
            raise Refusal(FAILURE, f"Parameter {name} cannot be updated")
    return Update(
        _filename(body["filename"]) if "filename" in body else None,
        body.get("filename", ""),
        body.get("agentId"),
        body.get("agentTerminal"),
        _flag(body, "sensitive"),
        _flag(body, "setNeverExpire"),
        {name: text for name, text in body.items() if name in own},
    )


def _flag(body: Mapping[str, str], name: str) -> bool | None:
    if name not in body:
        return None
    try:
        return _FLAG[body[name]]
    except KeyError:
        raise invalid(name) from None


def _filename(text: str) -> str:
    """The file name that comes nearest to what was asked for. Raises Refusal for a path."""
    bare = bared(text)
    if not bare.strip() or any(part in bare for part in ("/", "\\", "..")):
        raise invalid("filename")
    try:
        return wav_name(text)
    except InvalidChange:
        return wav_name(safe_file_name(text))

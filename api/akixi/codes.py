"""Error codes of the XML interface, and what is said with each."""

from collections.abc import Mapping
from http import HTTPStatus

UNKNOWN = 10000
NO_INVOKE_ID = 10101
NO_OPERATION = 10102
NO_RESOURCE = 10103
INVALID = 10107
NO_SESSION_ID = 10301
NO_SESSION = 10302
NOT_AUTHENTICATED = 10305
BAD_LOGIN = 10307
EXPIRED = 10313
NOT_ADMINISTRATIVE = 10511
READ_ONLY = 10512
OUT_OF_SCOPE = 10514
SWITCHED_OFF = 10700
NO_WRITE = 10701
NO_VIEW = 10702
NO_SERVER_ID = 11011
BAD_SERVER_ID = 11012
NO_SERVER = 11013
BAD_PARTITION_ID = 11110
NO_PARTITION = 11113
NO_PARTITION_GUID = 11131
NO_ENTRY_GUID = 11400
NO_ENTRY = 11401
BAD_TYPE = 11402
PROPERTY_MISSING = 11403

TEXTS: Mapping[int, str] = {
    UNKNOWN: "An unknown error was encountered when performing the request.",
    NO_INVOKE_ID: "Invoke ID is not specified within the request.",
    NO_OPERATION: (
        "Operation is either not specified within the request or the specified operation is not "
        "supported."
    ),
    NO_RESOURCE: (
        "The requested operation failed because an internal application resource cannot be "
        "resolved. To resolve the problem, please report this issue to your application "
        "administrator or provider."
    ),
    INVALID: "A required property is missing or a property value is invalid.",
    NO_SESSION_ID: "Session ID is not specified within the request.",
    NO_SESSION: "The specified session does not exist or has expired.",
    NOT_AUTHENTICATED: "The session has not been authenticated.",
    BAD_LOGIN: "The user name or password is invalid, or the account is disabled.",
    EXPIRED: "The user's password has expired and must be changed.",
    NOT_ADMINISTRATIVE: "The user is not permitted to use administrative operations.",
    READ_ONLY: "The user is not permitted to modify configuration entries.",
    OUT_OF_SCOPE: "The target component is outside the user's scope.",
    SWITCHED_OFF: "Call recording administration is not enabled.",
    NO_WRITE: "The user is not permitted to administer call recording entries.",
    NO_VIEW: "The user is not permitted to view call recording entries.",
    NO_SERVER_ID: "Telephony Server ID is not specified.",
    BAD_SERVER_ID: "Telephony Server ID is invalid.",
    NO_SERVER: "The specified Telephony Server does not exist.",
    BAD_PARTITION_ID: "Partition ID is invalid.",
    NO_PARTITION: "The specified Partition does not exist.",
    NO_PARTITION_GUID: "The specified Partition GUID does not match an existing Partition.",
    NO_ENTRY_GUID: "Call Recording Integration GUID is not specified.",
    NO_ENTRY: "The specified Call Recording Integration entry does not exist.",
    BAD_TYPE: "Call Recording Integration type is not specified or not supported.",
    PROPERTY_MISSING: "A required Call Recording Integration property is missing.",
}
"""Code -> its text."""

INSECURE = "A user name and password are accepted over TLS only."
"""Said with `BAD_LOGIN` of a login that anybody could have read."""
TOO_MANY = "Too many failed logins; try again later."
"""Said with `BAD_LOGIN`."""


class Refusal(Exception):
    """A request that is not carried out: code, text, and HTTP status where it is not 200."""

    def __init__(
        self,
        code: int,
        message: str = "",
        status: HTTPStatus = HTTPStatus.OK,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message or TEXTS[code])
        self.code = code
        self.status = status
        self.headers = headers or {}

"""Return codes of FACE and their texts, letter by letter as its guide has them.

What a text says `%so%` is put in by who raises it.
"""

from http import HTTPStatus

ACK = "ACK"
NACK = "NACK"
SUCCESS = "success"
"""What eventNotify says instead of ACK."""
ALL_MATCHES = "Selection criteria insufficient to determine recording. Returning all matches."
MORE_MATCHES = (
    "Selection criteria insufficient to determine recording. There were more matches than "
    "maxListLength, please refine your search if the entry you require is not in this list."
)
RENAMED = (
    "This file has been renamed by the recorder, please use the following new filename for future "
    "commands: {}"
)
DONE = "{} command returned successfully"

FAILURE = -1
NOT_LICENSED = 1
NOT_AUTHORIZED = 2
PARAMETER_MISSING = 3
MISSING_COMMAND = 4
INVALID_COMMAND = 5
ANI_MISSING = 6
DNIS_MISSING = 7
NO_DATABASE = 10
NO_FILE = 11
WRONG_STATE = 12
NOT_STARTED = 13
NOT_IN_INDEX = 14
NOT_INDEXED = 15
NO_TOKEN = 16
NO_ROUTE = 17
NO_RECORDING = 19
RSS_FAILED = 20
STILL_RECORDING = 21
BEING_DELETED = 22
NOT_CONVERTED = 23
CONVERSION_TIMEOUT = 24
CONVERSION_BUSY = 25
NO_UCID = 26
MISSING_PARAMETER = 27

TEXTS = {
    FAILURE: NACK,
    NOT_LICENSED: "Feature Not Licensed",
    NOT_AUTHORIZED: "Host Not Authorized",
    PARAMETER_MISSING: "Parameter Missing",
    MISSING_COMMAND: "Missing Command - command parameter is required",
    INVALID_COMMAND: "Invalid Command",
    ANI_MISSING: "Missing Parameter - ANI parameter is required",
    DNIS_MISSING: "Missing Parameter - DNIS parameter is required",
    NO_DATABASE: "Error establishing database connection",
    NO_FILE: "Error retrieving file with supplied criteria",
    NOT_STARTED: ("Recording is started by another session or not started, cannot end recording."),
    NOT_IN_INDEX: "Invalid Parameter for RecordEnd - fileId not found from recording index.",
    NO_TOKEN: "Error Generating Token",
    NO_ROUTE: "Couldn't find route information",
    NO_RECORDING: "No recording found with supplied criteria",
    RSS_FAILED: "RSS could not successfully perform the operation",
    STILL_RECORDING: "Cannot change name of file while recording is in progress",
    BEING_DELETED: "Cannot rename a file that is set to be deleted",
    NOT_CONVERTED: "Could not convert file to playable format",
    CONVERSION_TIMEOUT: "Timed out waiting for file conversion",
    CONVERSION_BUSY: "Conversion already initiated by another user, please try again later",
    NO_UCID: "No session or file was found matching the provided UCID",
}
"""Code -> its text, where it has one that says nothing of the request."""


class Refusal(Exception):
    """A request that is not carried out: what FACE says about it."""

    def __init__(self, code: int, message: str = "", status: HTTPStatus = HTTPStatus.OK) -> None:
        super().__init__(message or TEXTS[code])
        self.code = code
        self.status = status


def invalid(parameter: str) -> Refusal:
    """A parameter that is not known here or whose value cannot be used."""
    return Refusal(FAILURE, f"Invalid Parameter - {parameter}")


def missing(parameter: str) -> Refusal:
    """A parameter that has to be there."""
    return Refusal(MISSING_PARAMETER, f"Missing Parameter - {parameter} is required")

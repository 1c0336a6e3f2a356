"""What APIO answers when it refuses: HTTP statuses, its sub error codes, and their texts.

Only these two codes are published for recording platforms; all else has a text alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus


@dataclass(frozen=True, slots=True)
class Code:
    """A sub error code: its number and its name."""

    number: int
    name: str


INVALID_OPERATION = Code(18, "INVALID_OPERATION")
NOT_DELETED = Code(21, "NOT_DELETED")

NO_PLATFORM = "Call Recording platform does not exist."
IS_DEFAULT = (
    "The system default Recording Platform cannot be deleted, "
    "unless it is not in use and the unique one defined."
)
IN_USE = "The Recording Platform cannot be deleted while it is in use."
NO_INSTANCE = "instance not found"


class Refusal(Exception):
    """A request that is not carried out. Its text is the `details` of the answer."""

    def __init__(
        self,
        status: HTTPStatus,
        details: str,
        code: Code | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(details)
        self.status = status
        self.code = code
        self.headers = headers or {}


def invalid(details: str) -> Refusal:
    """400: something in the request is not as it must be; `details` names it."""
    return Refusal(HTTPStatus.BAD_REQUEST, details)


def unknown_platform() -> Refusal:
    """400 with code 18: a change to a platform, or a question about its use, that is not there."""
    return Refusal(HTTPStatus.BAD_REQUEST, NO_PLATFORM, INVALID_OPERATION)


def not_deleted(details: str) -> Refusal:
    """400 with code 21."""
    return Refusal(HTTPStatus.BAD_REQUEST, details, NOT_DELETED)

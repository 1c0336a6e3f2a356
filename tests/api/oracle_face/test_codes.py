"""Return codes: a text for each, letter by letter."""

import pytest

from api.oracle_face import codes
from api.oracle_face.codes import Refusal, invalid, missing


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (-1, "NACK"),
        (1, "Feature Not Licensed"),
        (2, "Host Not Authorized"),
        (3, "Parameter Missing"),
        (4, "Missing Command - command parameter is required"),
        (5, "Invalid Command"),
        (6, "Missing Parameter - ANI parameter is required"),
        (7, "Missing Parameter - DNIS parameter is required"),
        (10, "Error establishing database connection"),
        (11, "Error retrieving file with supplied criteria"),
        (13, "Recording is started by another session or not started, cannot end recording."),
        (14, "Invalid Parameter for RecordEnd - fileId not found from recording index."),
        (16, "Error Generating Token"),
        (17, "Couldn't find route information"),
        (19, "No recording found with supplied criteria"),
        (20, "RSS could not successfully perform the operation"),
        (21, "Cannot change name of file while recording is in progress"),
        (22, "Cannot rename a file that is set to be deleted"),
        (23, "Could not convert file to playable format"),
        (24, "Timed out waiting for file conversion"),
        (25, "Conversion already initiated by another user, please try again later"),
        (26, "No session or file was found matching the provided UCID"),
    ],
)
def test_the_text_of_a_code(code: int, text: str) -> None:
    refusal = Refusal(code)
    assert (refusal.code, str(refusal), refusal.status) == (code, text, 200)


def test_every_text_is_of_a_code_above() -> None:
    assert len(codes.TEXTS) == 22


def test_parameters_are_named() -> None:
    wrong, none = invalid("start"), missing("token")
    assert (wrong.code, str(wrong)) == (-1, "Invalid Parameter - start")
    assert (none.code, str(none)) == (27, "Missing Parameter - token is required")

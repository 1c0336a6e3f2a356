from siprec.sip.errors import FramingError, MessageError, SipError
from tests.siprec.sip.compose import parse_request, request


def test_the_family() -> None:
    for error in (MessageError(400, "text"), FramingError("text")):
        assert isinstance(error, SipError)
        assert str(error) == "text"


def test_a_message_error_holds_the_answer_and_what_it_answers() -> None:
    invite = parse_request(request())
    error = MessageError(505, "Version", invite)
    assert (error.status, error.request) == (505, invite)
    assert MessageError(400, "text").request is None

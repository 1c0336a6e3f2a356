"""Each code has its text, and nothing else is said with it unless it is said so."""

from http import HTTPStatus

from api.akixi import codes
from api.akixi.codes import TEXTS, Refusal


def test_every_code_has_a_text_of_its_own() -> None:
    numbers = [
        value for name, value in vars(codes).items() if name.isupper() and type(value) is int
    ]
    assert sorted(numbers) == sorted(TEXTS)
    assert len(set(TEXTS.values())) == len(TEXTS)
    assert all(text.endswith(".") for text in TEXTS.values())


def test_a_refusal_says_the_text_of_its_code() -> None:
    refusal = Refusal(codes.NO_ENTRY)
    assert str(refusal) == "The specified Call Recording Integration entry does not exist."
    assert (refusal.code, refusal.status, refusal.headers) == (11401, HTTPStatus.OK, {})
    assert str(Refusal(codes.BAD_LOGIN, codes.INSECURE)) == codes.INSECURE

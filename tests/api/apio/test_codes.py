"""Refusals: status, code and text."""

from api.apio import codes


def test_the_published_codes_and_their_texts() -> None:
    unknown = codes.unknown_platform()
    assert (unknown.status, unknown.code) == (400, codes.Code(18, "INVALID_OPERATION"))
    assert str(unknown) == "Call Recording platform does not exist."
    kept = codes.not_deleted(codes.IS_DEFAULT)
    assert (kept.status, kept.code) == (400, codes.Code(21, "NOT_DELETED"))
    assert str(kept) == (
        "The system default Recording Platform cannot be deleted, "
        "unless it is not in use and the unique one defined."
    )


def test_what_has_no_code() -> None:
    refusal = codes.invalid("port: must be a number")
    assert (refusal.status, refusal.code, refusal.headers) == (400, None, {})
    assert str(refusal) == "port: must be a number"

"""Logging in: a token for API users, and one answer for everybody who gets none."""

from tests.api.oracle_face.desk import UUID, Desk

REFUSED = (-1, "Invalid credentials or user locked out")


async def test_an_api_user_gets_a_token(desk: Desk) -> None:
    said = await desk.login("isr@shop.example")
    assert said.status == 200
    assert said.headers["Content-Type"] == "application/xml;charset=UTF-8"
    assert said.headers["Cache-Control"] == "no-store"
    assert [*said.tree] == ["code", "message", "token", "expiration"]
    assert (said.code, said.message) == (0, "ACK")
    assert UUID.fullmatch(said.tree["token"]) and said.tree["expiration"] == "86400seconds"

"""Requests taken apart, and how they are refused."""

from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from api.imagicle.asking import Ask, Refusal, answer, nothing, parsed, refusal, refused
from siprec.session import Actor
from storage.entries import Permission, User, UserType


def ask(user: User, query: str = "") -> Ask:
    return Ask(make_mocked_request("GET", f"/x?{query}"), user, Actor(user.email))


@pytest.mark.parametrize(
    ("kind", "stated", "level"),
    [
        ("api", None, 10),
        ("admin", None, 10),
        ("tenant", None, 2),
        ("tenant", 10, 10),
        ("api", 0, 0),
    ],
)
def test_the_level_is_the_one_stated_or_that_of_the_type(
    kind: UserType, stated: int | None, level: int
) -> None:
    assert ask(User("a@x.example", 1, kind, level=stated)).level == level


@pytest.mark.parametrize(
    ("permissions", "wanted", "may"),
    [
        (None, ("control",), True),
        (["control"], ("control",), True),
        (["playback"], ("download", "playback"), True),
        (["playback"], ("control",), False),
        ([], ("control",), False),
    ],
)
def test_a_list_of_permissions_takes_away_what_is_not_in_it(
    permissions: list[Permission] | None, wanted: tuple[Permission, ...], may: bool
) -> None:
    assert ask(User("a@x.example", 1, permissions=permissions)).may(*wanted) is may


def test_parameters_have_no_case_and_empty_ones_do_not_count() -> None:
    user = User("a@x.example", 1)
    query = "DeviceName=a&deviceName=B&username=&x=%C3%BC"
    assert ask(user, query).parameters == {"devicename": "B", "x": "ü"}


def test_names_in_a_body_have_no_case() -> None:
    assert parsed(b'{"DeviceName": "A", "mode": null}') == {"devicename": "A", "mode": None}


BROKEN = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"1",
    b'"x"',
    b"\xff",
    b"{1:2}",
    b"[" * 20_000,
    b'{"a":' * 20_000,
]


@pytest.mark.parametrize("body", BROKEN)
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        parsed(body)
    assert (caught.value.status, caught.value.body) == (400, {"reason": 0})


@given(st.binary(max_size=200))
def test_any_body_is_read_or_refused(body: bytes) -> None:
    try:
        assert isinstance(parsed(body), dict)
    except Refusal as error:
        assert error.status == 400


@pytest.mark.parametrize(
    ("error", "status", "body"),
    [
        (Refusal(403), 403, None),
        (refused(400, 1, deviceName=None), 400, b'{"reason":1,"deviceName":null}'),  # type: ignore[arg-type]
    ],
)
def test_only_a_reason_is_a_body(error: Refusal, status: int, body: bytes | None) -> None:
    response = refusal(error)
    assert (response.status, response.body) == (status, body)


def test_headers_of_a_refusal_are_sent() -> None:
    assert (
        refusal(Refusal(401, headers={"WWW-Authenticate": "x"})).headers["WWW-Authenticate"] == "x"
    )


def test_answers_are_json() -> None:
    tree: Any = {"id": "x"}
    response = answer(tree, 201)
    assert (response.status, response.body) == (201, b'{"id":"x"}')
    assert response.content_type == "application/json"
    assert (nothing().status, nothing().body) == (204, None)

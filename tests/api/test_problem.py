"""Failures and the problems they become."""

from http import HTTPStatus

import msgspec
import pytest
from aiohttp import web

from api import problem
from api.problem import ApiError, Problem
from siprec.logbook import InvalidChange
from siprec.session import (
    Action,
    AlreadyInState,
    ChannelsInUse,
    ControlFailed,
    ConversionBusy,
    ConversionFailed,
    ConversionTimeout,
    InvalidTransition,
    NotFinished,
    NotRecordable,
    RecorderError,
    State,
    UnknownSession,
)
from storage.records import (
    InvalidEntry,
    InvalidQuery,
    NameTaken,
    OnHold,
    StorageError,
    StorageUnavailable,
    UnknownEntry,
    UnknownFile,
    UnknownRecording,
)


def _problem(error: Exception) -> tuple[web.Response, Problem]:
    response = problem.answer(error, "/srs/v1/x")
    assert response.content_type == "application/problem+json"
    assert isinstance(response.body, bytes)
    return response, msgspec.json.decode(response.body, type=Problem, strict=True)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UnknownSession("s"), 404),
        (UnknownRecording("r"), 404),
        (UnknownFile("secret/key.wav"), 404),
        (InvalidQuery("limit: 0 is not in 1..1000"), 400),
        (InvalidTransition(Action.PAUSE, State.IDLE), 409),
        (AlreadyInState(Action.PAUSE, State.PAUSED), 409),
        (InvalidChange("note: 2000 characters"), 400),
        (InvalidEntry("routes 7: account 9 does not exist"), 400),
        (UnknownEntry("routes 7"), 404),
        (NotRecordable(), 409),
        (ChannelsInUse("all 3"), 503),
        (NotFinished("processing"), 409),
        (NameTaken("taken"), 409),
        (OnHold("held"), 409),
        (ConversionBusy("busy"), 409),
        (ConversionTimeout("30 s"), 503),
        (ConversionFailed("/srv/x: lame"), 500),
        (ControlFailed("pipe 7"), 503),
        (StorageUnavailable("/srv/db: disk I/O error"), 503),
        (StorageError("/srv/db: odd"), 500),
        (RecorderError("ffmpeg"), 500),
        (ZeroDivisionError("x"), 500),
        (ApiError(HTTPStatus.GONE, "no more"), 410),
        (web.HTTPRequestEntityTooLarge(1, 2), 413),
        (web.HTTPNotFound(), 404),
    ],
)
def test_status_of_each_failure(error: Exception, status: int) -> None:
    response, found = _problem(error)
    assert response.status == found.status == status
    assert found.title == HTTPStatus(status).phrase
    assert (found.type, found.instance) == ("about:blank", "/srs/v1/x")
    assert found.detail


@pytest.mark.parametrize(
    "error",
    [
        UnknownFile("/srv/x"),
        StorageUnavailable("/srv/db"),
        StorageError("/srv"),
        OSError("/srv/x"),
        ConversionFailed("/srv/x.wav"),
    ],
)
def test_nothing_about_the_inside_leaves(error: Exception) -> None:
    assert "/srv" not in _problem(error)[1].detail


def test_a_wrong_transition_tells_the_state() -> None:
    _, found = _problem(InvalidTransition(Action.SPLIT, State.PAUSED))
    assert found.state == "paused"
    assert found.detail == "cannot split a session that is paused"


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (ControlFailed("x"), "1"),
        (StorageUnavailable("x"), "1"),
        (ConversionBusy("x"), "10"),
        (ConversionTimeout("x"), "10"),
        (OnHold("x"), None),
        (ConversionFailed("x"), None),
    ],
)
def test_what_may_pass_says_when_to_come_again(error: Exception, seconds: str | None) -> None:
    assert _problem(error)[0].headers.get("Retry-After") == seconds


def test_headers_of_a_refusal_are_kept() -> None:
    refused = ApiError(HTTPStatus.UNAUTHORIZED, "x", {"WWW-Authenticate": "Bearer"})
    assert _problem(refused)[0].headers["WWW-Authenticate"] == "Bearer"
    wrong = web.HTTPMethodNotAllowed("PUT", ["GET", "HEAD"])
    assert _problem(wrong)[0].headers["Allow"] == "GET,HEAD"


def test_only_what_is_not_foreseen_is_worth_a_traceback() -> None:
    assert problem.is_expected(UnknownSession("s"))
    assert problem.is_expected(ConversionFailed("r"))
    assert problem.is_expected(web.HTTPNotFound())
    assert not problem.is_expected(web.HTTPInternalServerError())
    assert not problem.is_expected(ValueError())

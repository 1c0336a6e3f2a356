"""Tickets for one recording and a short time."""

from datetime import UTC, datetime, timedelta

import pytest

from api.oracle_face.tickets import LIFETIME, Tickets

NOW = datetime(2026, 11, 22, 14, 5, 6, tzinfo=UTC)
ID = "5b1c0de4"


def test_a_ticket_is_good_for_its_recording_until_it_ends() -> None:
    tickets = Tickets()
    ticket = tickets.make(ID, NOW)
    assert tickets.check(ticket, NOW) == ID
    assert tickets.check(ticket, NOW + LIFETIME - timedelta(seconds=1)) == ID
    assert tickets.check(ticket, NOW + LIFETIME) == ""


@pytest.mark.parametrize("change", ["id", "until", "mark", "none", "odd", "cut"])
def test_no_other_ticket_is_good(change: str) -> None:
    tickets = Tickets()
    recording_id, until, mark = tickets.make(ID, NOW).split(".")
    forged = {
        "id": f"other.{until}.{mark}",
        "until": f"{recording_id}.{int(until) + 1}.{mark}",
        "mark": f"{recording_id}.{until}.{mark[::-1]}",
        "none": "",
        "odd": f"{recording_id}.\u0661\u0662.\udcff",
        "cut": f"{recording_id}.{until}",
    }[change]
    assert tickets.check(forged, NOW) == ""


def test_tickets_of_another_process_are_not_good() -> None:
    assert Tickets().check(Tickets().make(ID, NOW), NOW) == ""

import pytest

from siprec.sip.transaction import (
    CLIENT,
    INVITE_SERVER,
    SERVER,
    Action,
    Input,
    State,
    Table,
    Timer,
    Timers,
    Transaction,
    input_for,
    server_key,
)
from tests.siprec.sip.compose import TCP, UDP, parse_request, request

TABLES = {"invite server": INVITE_SERVER, "server": SERVER, "client": CLIENT}


def start(table: Table, state: State, *, reliable: bool = False) -> Transaction:
    return Transaction("t", table, state, TCP if reliable else UDP, Timers(), b"message")


def drive(transaction: Transaction, until: float = 200.0) -> list[tuple[float, Action]]:
    """Actions of the timers that fire up to `until`, with their times."""
    actions = []
    while (when := transaction.timers.next()) is not None and when <= until:
        due = transaction.timers.pop(when)
        assert due is not None
        actions += [(when, action) for action in transaction.step(due[1], when)]
    return actions


def state(transaction: Transaction) -> State:
    return transaction.state


REPEATS = [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]


def test_a_2xx_is_sent_eleven_times_on_every_transport_then_given_up() -> None:
    for reliable in (False, True):
        invite = start(INVITE_SERVER, State.PROCEEDING, reliable=reliable)
        assert invite.step(Input.SUCCESS, 0.0) == (Action.SEND,)
        expected = [(when, Action.SEND) for when in REPEATS]
        assert drive(invite) == [*expected, (32.0, Action.NO_ACK)]
        assert state(invite) is State.TERMINATED


def test_an_acknowledged_2xx_stays_to_absorb_the_invite() -> None:
    invite = start(INVITE_SERVER, State.PROCEEDING)
    invite.step(Input.SUCCESS, 0.0)
    assert drive(invite, 1.0) == [(0.5, Action.SEND)]
    assert invite.step(Input.REQUEST, 1.0) == ()
    assert invite.step(Input.ACK, 1.0) == (Action.ACKNOWLEDGED,)
    assert invite.step(Input.ACK, 1.1) == ()
    assert invite.step(Input.REQUEST, 1.1) == ()
    assert drive(invite, 31.9) == []
    assert state(invite) is State.ACKNOWLEDGED
    assert drive(invite, 32.0) == []
    assert state(invite) is State.TERMINATED


def test_a_refusal_is_repeated_on_udp_only() -> None:
    for reliable, sent in ((False, REPEATS), (True, [])):
        invite = start(INVITE_SERVER, State.PROCEEDING, reliable=reliable)
        assert invite.step(Input.FAILURE, 0.0) == (Action.SEND,)
        assert drive(invite, 31.9) == [(when, Action.SEND) for when in sent]
        assert state(invite) is State.COMPLETED
        assert drive(invite, 32.0) == []
        assert state(invite) is State.TERMINATED


@pytest.mark.parametrize(("reliable", "kept_s"), [(False, 5.0), (True, 0.0)])
def test_an_acknowledged_refusal_absorbs_acks_for_t4(reliable: bool, kept_s: float) -> None:
    invite = start(INVITE_SERVER, State.PROCEEDING, reliable=reliable)
    invite.step(Input.FAILURE, 0.0)
    assert invite.step(Input.REQUEST, 0.1) == (Action.SEND,)
    assert invite.step(Input.ACK, 0.2) == ()
    assert invite.step(Input.ACK, 0.2) == ()
    assert invite.step(Input.REQUEST, 0.2) == ()
    assert (invite.state, invite.timers.next()) == (State.CONFIRMED, 0.2 + kept_s)
    assert drive(invite) == []
    assert state(invite) is State.TERMINATED


def test_a_pending_invite_repeats_its_provisional_response() -> None:
    invite = start(INVITE_SERVER, State.PROCEEDING)
    assert invite.step(Input.PROVISIONAL, 0.0) == (Action.SEND,)
    assert invite.step(Input.REQUEST, 0.1) == (Action.SEND,)
    assert invite.step(Input.ACK, 0.1) == ()


@pytest.mark.parametrize(("reliable", "kept_s"), [(False, 32.0), (True, 0.0)])
def test_a_non_invite_answer_is_repeated_to_each_retransmission(
    reliable: bool, kept_s: float
) -> None:
    bye = start(SERVER, State.TRYING, reliable=reliable)
    assert bye.step(Input.REQUEST, 0.0) == ()
    assert bye.step(Input.PROVISIONAL, 0.0) == ()
    assert bye.step(Input.SUCCESS, 1.0) == (Action.SEND,)
    assert bye.step(Input.REQUEST, 1.0) == (Action.SEND,)
    assert bye.timers.next() == 1.0 + kept_s
    assert drive(bye) == []
    assert state(bye) is State.TERMINATED


def test_a_request_nobody_answers_is_forgotten_even_on_a_stream() -> None:
    options = start(SERVER, State.TRYING, reliable=True)
    options.start(Timer.J, 0.0)
    assert options.timers.next() == 32.0
    drive(options)
    assert state(options) is State.TERMINATED


def client(*, reliable: bool = False) -> Transaction:
    bye = start(CLIENT, State.TRYING, reliable=reliable)
    bye.start(Timer.E, 0.0)
    bye.start(Timer.F, 0.0)
    return bye


def test_our_request_is_repeated_until_64_t1() -> None:
    expected = [(when, Action.SEND) for when in REPEATS]
    assert drive(client()) == [*expected, (32.0, Action.FINISHED)]
    assert drive(client(reliable=True)) == [(32.0, Action.FINISHED)]


def test_a_provisional_response_slows_our_repeats_down_to_t2() -> None:
    bye = client()
    assert drive(bye, 0.6) == [(0.5, Action.SEND)]
    assert bye.step(Input.PROVISIONAL, 0.6) == ()
    times = [when for when, action in drive(bye) if action is Action.SEND]
    assert times == [1.5, 5.5, 9.5, 13.5, 17.5, 21.5, 25.5, 29.5]


@pytest.mark.parametrize("answer", [Input.SUCCESS, Input.FAILURE])
@pytest.mark.parametrize(("reliable", "kept_s"), [(False, 5.0), (True, 0.0)])
def test_a_final_response_finishes_once(answer: Input, reliable: bool, kept_s: float) -> None:
    bye = client(reliable=reliable)
    assert bye.step(answer, 0.2) == (Action.FINISHED,)
    assert bye.step(answer, 0.2) == ()
    assert bye.timers.next() == 0.2 + kept_s
    assert drive(bye) == []
    assert state(bye) is State.TERMINATED


def test_a_lost_connection_finishes_our_request() -> None:
    bye = client(reliable=True)
    assert bye.step(Input.LOST, 0.2) == (Action.FINISHED,)
    assert state(bye) is State.TERMINATED
    assert bye.timers.next() is None


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_state_can_be_left_and_its_timers_are_expected(table: Table) -> None:
    reached = {state for state, _ in table.values()}
    assert reached - {row[0] for row in table} == {State.TERMINATED}
    for (_, _), (following, effects) in table.items():
        for timer in (effect for effect in effects if isinstance(effect, Timer)):
            assert (following, timer) in table


def test_input_for() -> None:
    inputs = [input_for(status) for status in (100, 199, 200, 299, 300, 699)]
    assert inputs == [
        Input.PROVISIONAL,
        Input.PROVISIONAL,
        Input.SUCCESS,
        Input.SUCCESS,
        Input.FAILURE,
        Input.FAILURE,
    ]


def test_timers_fire_in_order_and_a_restart_replaces() -> None:
    first, second = start(SERVER, State.TRYING), start(SERVER, State.TRYING)
    timers = Timers()
    timers.start(first, Timer.J, 3.0)
    timers.start(second, Timer.J, 2.0)
    timers.start(first, Timer.J, 1.0)
    assert timers.pop(0.9) is None
    assert timers.pop(5.0) == (first, Timer.J)
    assert timers.next() == 2.0
    timers.stop(second, Timer.J)
    assert (timers.next(), timers.pop(9.0)) == (None, None)


def test_stopped_timers_do_not_pile_up() -> None:
    timers, kept = Timers(), start(SERVER, State.TRYING)
    timers.start(kept, Timer.J, 1.0)
    for _ in range(5000):
        passing = start(SERVER, State.TRYING)
        timers.start(passing, Timer.J, 100.0)
        timers.stop(passing, Timer.J)
    assert len(timers._heap) < 1100
    assert timers.pop(200.0) == (kept, Timer.J)


# Matching (RFC 3261 17.2.3)


def key(data: bytes, method: str = "") -> str:
    message = parse_request(data)
    return server_key(message, method or message.method)


def test_branch_sent_by_and_method_make_the_key() -> None:
    keys = {
        key(request("OPTIONS")),
        key(request("OPTIONS", branch="z9hG4bK-other")),
        key(request("OPTIONS", via="SIP/2.0/UDP 192.0.2.10:5063")),
        key(request("OPTIONS", via="SIP/2.0/UDP 192.0.2.11:5062")),
        key(request("UPDATE", branch="z9hG4bK-OPTIONS-1")),
    }
    assert len(keys) == 5
    assert key(request("OPTIONS")) == key(
        request("OPTIONS", cseq=2, call_id="x", branch="z9hG4bK-OPTIONS-1")
    )


def test_ack_and_cancel_lead_to_their_invite() -> None:
    invite = key(request("INVITE"))
    assert key(request("ACK", branch="z9hG4bK-INVITE-1"), "INVITE") == invite
    assert key(request("CANCEL"), "INVITE") == invite


def test_clients_of_rfc_2543_are_told_apart_by_their_fields() -> None:
    invite = key(request("INVITE", branch="1"))
    assert key(request("ACK", branch="1", to_tag="t"), "INVITE") == invite
    others = [
        request("INVITE", 2, branch="1"),
        request("INVITE", branch="2"),
        request("INVITE", branch="1", call_id="other"),
        request("INVITE", branch="1", from_tag="other"),
        request("INVITE", branch="1", uri="sip:other@h"),
    ]
    assert invite not in {key(other) for other in others}

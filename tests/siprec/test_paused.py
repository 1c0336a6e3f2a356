"""Which calls start paused."""

from datetime import UTC, datetime, timedelta

from siprec.paused import MEMORY, PausedCalls, keys_of
from storage.records import Recording, SiprecSession

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def test_a_call_is_known_by_any_of_its_keys() -> None:
    calls = PausedCalls()
    calls.add(keys_of("call", ("s1", "s2")), NOW)
    assert calls.holds(keys_of("other", ("s2",)), NOW)
    assert calls.holds(keys_of("call", ()), NOW)
    assert not calls.holds(keys_of("other", ("s3",)), NOW)


def test_empty_ids_identify_nothing() -> None:
    assert keys_of("", ("",)) == frozenset()
    assert not PausedCalls().holds(frozenset(), NOW)


def test_resuming_forgets_the_call() -> None:
    calls = PausedCalls()
    calls.add(keys_of("call", ("s1",)), NOW)
    calls.discard(keys_of("call", ("s1",)))
    assert not calls.holds(keys_of("call", ("s1",)), NOW)


def test_memory_ends_after_a_day_and_does_not_grow() -> None:
    calls = PausedCalls()
    for number in range(100):
        calls.add(frozenset({str(number)}), NOW + number * SECOND)
    assert calls.holds(frozenset({"0"}), NOW + MEMORY)
    assert not calls.holds(frozenset({"0"}), NOW + MEMORY + SECOND)
    calls.add(frozenset({"new"}), NOW + MEMORY + 200 * SECOND)
    assert len(calls._since) == 1


def test_a_call_paused_again_is_remembered_from_then() -> None:
    calls = PausedCalls()
    calls.add(frozenset({"a"}), NOW)
    calls.add(frozenset({"b"}), NOW + SECOND)
    calls.add(frozenset({"a"}), NOW + 2 * SECOND)
    calls.add(frozenset({"c"}), NOW + MEMORY + 2 * SECOND)
    assert calls.holds(frozenset({"a"}), NOW + MEMORY + 2 * SECOND)
    assert not calls.holds(frozenset({"b"}), NOW + MEMORY + 2 * SECOND)


def test_only_recordings_that_ended_paused_are_taken_over() -> None:
    calls = PausedCalls()
    rows = [
        Recording(
            "1",
            "",
            "call-1",
            "partial",
            NOW,
            paused_at_end=True,
            siprec_sessions=(SiprecSession("x"),),
        ),
        Recording("2", "", "call-2", "partial", NOW),
    ]
    calls.load(rows, NOW)
    assert calls.holds(frozenset({"x"}), NOW) and not calls.holds(frozenset({"call-2"}), NOW)

"""The numbers of recordings in progress."""

from api.oracle_face.numbers import FIRST_LOOK, TemporaryIds


def test_numbers_are_given_in_order_and_kept() -> None:
    ids = TemporaryIds(lambda _: True)
    assert [ids.of(name) for name in ("a", "b", "a", "c")] == [1, 2, 1, 3]
    assert [ids.recording(number) for number in (1, 2, 3, 4, 0)] == ["a", "b", "c", "", ""]


def test_numbers_of_what_has_ended_go_and_are_never_given_again() -> None:
    live = {"0", "500"}
    ids = TemporaryIds(live.__contains__)
    for number in range(FIRST_LOOK):
        ids.of(str(number))
    assert ids.recording(2) == "1"
    assert ids.of("new") == FIRST_LOOK + 1
    assert ids.recording(2) == ""
    assert (ids.of("0"), ids.of("500"), ids.recording(501)) == (1, 501, "500")
    assert ids.of("1") == FIRST_LOOK + 2


def test_many_live_ones_are_not_looked_through_each_time() -> None:
    looks = 0

    def is_open(_: str) -> bool:
        nonlocal looks
        looks += 1
        return True

    ids = TemporaryIds(is_open)
    for number in range(8 * FIRST_LOOK):
        ids.of(str(number))
    assert looks <= 8 * FIRST_LOOK

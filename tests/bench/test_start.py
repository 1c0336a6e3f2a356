"""The table of starts."""

from tests.bench.start import OFF, table


def test_figures_are_compared_with_the_libraries_alone() -> None:
    found = {"all": [1.0, 1.2, 9.0], "none": [0.9], "libraries": [0.5, 0.4]}
    rows = {row[0]: row[1:] for row in table(found).rows}
    assert rows["ready, all dialects on"] == ("1.20 s", "9.00 s", "2.7", "1.5 s")
    assert rows["ready, all dialects off"] == ("0.90 s", "0.90 s", "2.0", "")


def test_all_dialects_can_be_switched_off() -> None:
    assert OFF["SRS_API_DIALECTS_AKIXI"] == "false" and len(OFF) == 5

"""The JSON of the native interface."""

import msgspec
import pytest
from msgspec import UNSET

from api.native import wire


@pytest.mark.parametrize(
    "struct",
    [
        wire.FindSessions,
        wire.OneSession,
        wire.Control,
        wire.Watch,
    ],
)
def test_what_is_asked_is_closed(struct: type[msgspec.Struct]) -> None:
    assert struct.__struct_config__.forbid_unknown_fields


@pytest.mark.parametrize("name", ["a", "A-z_09", "x" * 64])
def test_names_that_can_be(name: str) -> None:
    assert msgspec.convert({"session_id": name}, wire.OneSession).session_id == name


@pytest.mark.parametrize("name", ["", "x" * 65, "a/b", "a.b", "é", "a\n", "a b", "a\0"])
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"session_id": name}, wire.OneSession)


def test_the_route_decides_how_a_pause_is_filled_by_default() -> None:
    command = msgspec.convert({"session_id": "s", "action": "pause"}, wire.Control)
    assert (command.fill, command.reason, command.prebuffer) == (UNSET, "", False)


@pytest.mark.parametrize("action", ["start", "pause", "resume", "stop", "split", "mark"])
def test_every_action_has_its_word(action: str) -> None:
    assert msgspec.convert({"session_id": "s", "action": action}, wire.Control).action == action

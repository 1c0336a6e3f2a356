"""Sessions under their ids, each for those who may see it."""

import pytest

from siprec.registry import Registry
from siprec.session import SYSTEM, Actor, UnknownSession
from tests.api.node import Node
from tests.siprec.test_recorder import offer


def test_nothing_is_there_at_first() -> None:
    with pytest.raises(UnknownSession, match="no live session s"):
        Registry().find("s", SYSTEM)


async def test_a_session_is_found_by_those_who_may_see_it(node: Node) -> None:
    node.services.recorder.begin(offer())
    (live,) = node.services.recorder.sessions()
    session = node.services.recorder._registry.dialogs[live.dialog_id]
    registry = Registry()
    registry.add(session)
    assert registry.find(live.id, SYSTEM) is live
    assert live.recording and registry.recorded == {live.recording.id: live}
    with pytest.raises(UnknownSession):
        registry.find(live.id, Actor("bank", account=200))

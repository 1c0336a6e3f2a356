"""Fixtures: those of the interface, and hashes that take no time."""

import pytest

from tests.api.conftest import calling, client, migrated, node
from tests.storage.people import make_hashing_cheap

__all__ = ["calling", "cheap", "client", "migrated", "node"]


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    make_hashing_cheap(monkeypatch)

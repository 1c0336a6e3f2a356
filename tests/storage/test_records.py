from dataclasses import FrozenInstanceError

import msgspec
import pytest

from storage import records
from storage.records import Recording, StorageError
from tests.storage.recordings import recording


def test_a_record_survives_json_to_the_microsecond() -> None:
    record = recording()
    assert msgspec.json.decode(msgspec.json.encode(record), type=Recording) == record


def test_records_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        recording().status = "complete"  # type: ignore[misc]


def test_errors_are_one_family() -> None:
    errors = [item for item in vars(records).values() if isinstance(item, type)]
    raised = [item for item in errors if issubclass(item, Exception)]
    assert len(raised) > 5
    assert all(issubclass(item, StorageError) for item in raised)

"""What a dialect may touch."""

from dataclasses import fields

from api.services import Services


def test_services_are_doors_only() -> None:
    names = {field.name for field in fields(Services)}
    core = {"recorder", "library", "importer", "dispatcher", "screens", "platforms", "feed"}
    assert names == core | {
        *("directory", "users", "keys"),
        *("outbox", "catalog", "writer", "blobs"),
    }

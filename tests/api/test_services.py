"""What a dialect may touch."""

from dataclasses import fields

from api.services import Services


def test_services_are_doors_only() -> None:
    names = {field.name for field in fields(Services)}
    assert names == {"recorder", "catalog", "writer", "blobs", "feed", "keys"}

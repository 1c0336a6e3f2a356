"""What a dialect may touch: the doors of the core and of the storage room, and nothing else."""

from dataclasses import dataclass

from siprec.feed import EventFeed
from siprec.recorder import Recorder
from storage.blobs.base import BlobStore
from storage.catalog import Catalog
from storage.keys import ApiKeys
from storage.writer import CatalogWriter


@dataclass(frozen=True, slots=True)
class Services:
    """The doors behind the HTTP interface, shared by all dialects."""

    recorder: Recorder
    catalog: Catalog
    writer: CatalogWriter
    blobs: BlobStore
    feed: EventFeed
    keys: ApiKeys

"""What a dialect may touch: the doors of the core and of the storage room, and nothing else."""

from dataclasses import dataclass

from siprec.dispatcher import Dispatcher
from siprec.feed import EventFeed
from siprec.importer import Importer
from siprec.library import Library
from siprec.platform_watch import PlatformWatch
from siprec.recorder import Recorder
from siprec.screen import Screens
from storage.blobs.base import BlobStore
from storage.catalog import Catalog
from storage.directory import Directory
from storage.keys import ApiKeys
from storage.outbox import Outbox
from storage.users import Users
from storage.writer import CatalogWriter


@dataclass(frozen=True, slots=True)
class Services:
    """The doors behind the HTTP interface, shared by all dialects."""

    recorder: Recorder
    library: Library
    importer: Importer
    dispatcher: Dispatcher
    screens: Screens
    platforms: PlatformWatch
    feed: EventFeed
    directory: Directory
    users: Users
    keys: ApiKeys
    outbox: Outbox
    catalog: Catalog
    writer: CatalogWriter
    blobs: BlobStore

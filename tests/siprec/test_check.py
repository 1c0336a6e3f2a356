"""`siprecd check`: what it finds wrong, and what it says."""

import asyncio
import socket
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from config.certificate import LIFETIME, RENEW_BEFORE, kept, read, self_signed
from config.dialects import AnywhereNow, Apio, Dialects, Imagicle
from config.schema import SELF_SIGNED, Api, Config, Media, Sip, Storage
from siprec.check import check
from siprec.sip.endpoint import Endpoint
from siprec.sip.events import Event, OptionsReceived
from siprec.transport import SipTransport
from storage.database import Database
from storage.directory import Directory
from storage.entries import User
from storage.platforms import RecordingPlatform
from storage.tables import SCHEMA
from storage.users import Users
from tests.storage.postgres import Server

HOUR = timedelta(hours=1)
"""As much as a certificate made here begins before it is made."""


@pytest.fixture
def free(tmp_path: Path) -> Config:
    """A set-up that works."""
    return Config(
        sip=Sip(listen=["udp://127.0.0.1:0", "tcp://127.0.0.1:0"]),
        api=Api(listen="127.0.0.1:0"),
        storage=Storage(
            database=f"sqlite:///{tmp_path}/siprecd.db",
            recordings=f"file://{tmp_path}/recordings",
            spool=f"{tmp_path}/spool",
        ),
    )


@pytest.fixture
def taken() -> Iterator[int]:
    """A TCP port somebody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock.getsockname()[1]


def run(config: Config, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    return asyncio.run(check(config)), capsys.readouterr().out


def test_a_working_set_up_passes(free: Config, capsys: pytest.CaptureFixture[str]) -> None:
    status, text = run(free, capsys)
    assert status == 0 and "FAILED" not in text
    assert "5000 streams at a time" in text


def test_checking_leaves_nothing_behind(
    free: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(free, capsys)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_taken_port_is_named(
    free: Config, taken: int, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Config(sip=free.sip, api=Api(listen=f"127.0.0.1:{taken}"), storage=free.storage)
    status, text = run(config, capsys)
    assert status == 1
    assert f"FAILED   API 127.0.0.1:{taken}: Address already in use" in text


def test_an_address_of_another_machine_is_named(
    free: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Config(
        sip=free.sip, api=free.api, storage=free.storage, media=Media(address="192.0.2.1")
    )
    status, text = run(config, capsys)
    assert status == 1 and "FAILED   RTP ports" in text


def test_a_folder_that_cannot_be_written_is_named(
    free: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    storage = Storage(free.storage.database, free.storage.recordings, f"{tmp_path}/file/spool")
    status, text = run(Config(sip=free.sip, api=free.api, storage=storage), capsys)
    assert status == 1 and f"FAILED   spool: cannot write {tmp_path}/file/spool" in text


def test_a_damaged_database_is_named(
    free: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "siprecd.db").write_bytes(b"not a database" * 100)
    status, text = run(free, capsys)
    assert status == 1 and "FAILED   database" in text


def test_a_database_of_a_later_version_is_named(
    free: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with sqlite3.connect(tmp_path / "siprecd.db") as database:
        database.execute("CREATE TABLE alembic_version (version_num TEXT)")
        database.execute("INSERT INTO alembic_version VALUES ('9999')")
    database.close()
    status, text = run(free, capsys)
    assert status == 1 and "schema 9999 is newer" in text


def test_a_database_of_an_earlier_version_passes(
    free: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with sqlite3.connect(tmp_path / "siprecd.db") as database:
        database.execute("CREATE TABLE alembic_version (version_num TEXT)")
        database.execute("INSERT INTO alembic_version VALUES ('0001')")
    database.close()
    status, text = run(free, capsys)
    assert status == 0
    assert f"ok       database: schema 0001, the start will bring it to {SCHEMA}" in text


def test_the_outbox_of_a_node_is_not_taken_for_a_catalogue(
    free: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with sqlite3.connect(tmp_path / "siprecd.db") as database:
        database.execute("CREATE TABLE alembic_version (version_num TEXT)")
        database.execute("INSERT INTO alembic_version VALUES ('outbox_0001')")
    database.close()
    status, text = run(free, capsys)
    assert status == 1 and "FAILED   database: schema outbox_0001 is not that of" in text


def on(url: str, free: Config) -> Config:
    storage = Storage(url, free.storage.recordings, free.storage.spool)
    return Config(sip=free.sip, api=free.api, storage=storage)


def test_a_server_that_does_not_answer_is_named_without_its_password(
    free: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        port = deaf.getsockname()[1]
        status, text = run(on(f"postgresql://siprecd:secret@127.0.0.1:{port}/srs", free), capsys)
    assert status == 1 and f"FAILED   database: postgresql://127.0.0.1:{port}/srs: " in text
    assert "Is the server running" in text and "secret" not in text


@pytest.mark.databases
def test_a_server_without_the_database_is_told_apart(
    free: Config, postgres_server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    status, text = run(on(postgres_server.at("nowhere"), free), capsys)
    assert status == 1
    assert '"nowhere" does not exist. Make it: createuser, then createdb' in text


@pytest.mark.databases
def test_a_database_on_a_server_passes(
    free: Config, postgres_url: str, postgres_bare_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, text = run(on(postgres_url, free), capsys)
    assert status == 0 and f"ok       database: schema {SCHEMA}\n" in text
    status, text = run(on(postgres_bare_url, free), capsys)
    assert status == 0 and "ok       database: schema none, the start will bring it to" in text


def test_a_narrow_port_range_is_a_caution(free: Config, capsys: pytest.CaptureFixture[str]) -> None:
    media = Media(port_min=20_000, port_max=20_009)
    config = Config(sip=free.sip, api=free.api, storage=free.storage, media=media)
    status, text = run(config, capsys)
    assert status == 0 and "caution  RTP ports: 5 streams at a time" in text


def encrypted(free: Config, **api: str) -> Config:
    """The set-up with another `[api]`."""
    return msgspec.structs.replace(free, api=msgspec.structs.replace(free.api, **api))


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (timedelta(days=200), "ok       API encryption: {path}, until {day}\n"),
        (RENEW_BEFORE + HOUR, "ok       API encryption: {path}, until {day}\n"),
        (
            RENEW_BEFORE - HOUR,
            "caution  API encryption: {path} ends on {day}, in 29 days: renew it\n",
        ),
        (
            -HOUR,
            "caution  API encryption: {path} ended on {day}: clients refuse it, renew it\n",
        ),
    ],
)
def test_the_end_of_a_certificate_is_told(
    free: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str], left: timedelta, said: str
) -> None:
    path = tmp_path / "both.pem"
    path.write_bytes(self_signed("127.0.0.1", datetime.now(UTC) + left + HOUR - LIFETIME))
    day = f"{read(path).not_after:%Y-%m-%d}"
    status, text = run(encrypted(free, certificate=str(path)), capsys)
    assert status == 0 and said.format(path=path, day=day) in text


def test_a_certificate_of_tomorrow_is_a_caution(
    free: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "both.pem"
    path.write_bytes(self_signed("127.0.0.1", datetime.now(UTC) + timedelta(days=2)))
    status, text = run(encrypted(free, certificate=str(path)), capsys)
    assert status == 0 and f"caution  API encryption: {path} begins only on " in text


def test_a_certificate_that_cannot_be_used_is_a_failure(
    free: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, key = tmp_path / "leaf.pem", tmp_path / "key.pem"
    path.write_bytes(self_signed("127.0.0.1", datetime.now(UTC)))
    status, text = run(encrypted(free, certificate=str(tmp_path / "none.pem")), capsys)
    said = f"FAILED   API encryption: api.certificate: {tmp_path}/none.pem: no such file"
    assert status == 1 and said in text
    key.write_bytes(self_signed("127.0.0.1", datetime.now(UTC)))
    status, text = run(encrypted(free, certificate=str(path), key=str(key)), capsys)
    assert status == 1 and f"{key}: is not the private key of the certificate" in text


def test_a_self_signed_certificate_is_not_made_by_checking(
    free: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = encrypted(free, certificate=SELF_SIGNED)
    status, text = run(config, capsys)
    assert status == 0
    assert "ok       API encryption: a self-signed certificate, to be made by the start" in text
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    file = kept(tmp_path / "spool")
    file.write_bytes(self_signed("127.0.0.1", datetime.now(UTC)))
    status, text = run(config, capsys)
    assert status == 0 and f"ok       API encryption: {file}, self-signed" in text


@pytest.mark.parametrize(
    ("listen", "said"),
    [
        ("127.0.0.1:0", "ok       API encryption: none, and none is needed on this machine"),
        ("localhost:0", "ok       API encryption: none, and none is needed on this machine"),
        ("[::1]:0", "ok       API encryption: none, and none is needed on this machine"),
        ("0.0.0.0:0", "caution  API encryption: none: passwords and tokens travel in clear"),
        ("[::]:0", "caution  API encryption: none: passwords and tokens travel in clear"),
    ],
)
def test_passwords_in_clear_are_a_caution(
    free: Config, capsys: pytest.CaptureFixture[str], listen: str, said: str
) -> None:
    status, text = run(encrypted(free, listen=listen), capsys)
    assert status == 0 and said in text


def test_who_could_use_face_is_told(
    free: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nobody = "ok       FACE: nobody can log in; add a user with `siprecd user add EMAIL --type api"
    assert nobody in run(free, capsys)[1]

    async def people(*users: tuple[str, str, bool, bool]) -> None:
        database = Database(free.storage.database)
        directory = Directory(database)
        known = Users(database, directory, free.users)
        await directory.load()
        for email, kind, enabled, has_password in users:
            entry = {"email": email, "account": 1, "type": kind, "enabled": enabled}
            await directory.put(msgspec.convert(entry, User))
            if has_password:
                await known.set_password(email, "correct horse battery", datetime.now(UTC))
        await database.close()

    unable = [
        ("admin@a.example", "admin", True, True),
        ("tenant@a.example", "tenant", True, True),
        ("disabled@a.example", "api", False, True),
        ("new@a.example", "api", True, False),
    ]
    asyncio.run(people(*unable))
    status, text = run(free, capsys)
    assert status == 0 and nobody in text
    asyncio.run(people(("api@a.example", "api", True, True)))
    assert "ok       FACE: 1 users of type api can log in" in run(free, capsys)[1]
    without = Api(listen="127.0.0.1:0", dialects=Dialects(face=False))
    assert "FACE" not in run(msgspec.structs.replace(free, api=without), capsys)[1]


@pytest.mark.parametrize(
    ("section", "said"),
    [
        (AnywhereNow(), "ok       AnywhereNow: nobody gets in without a token"),
        (AnywhereNow(auth="none"), "ok       AnywhereNow: programs on this machine need no token"),
        (
            AnywhereNow(auth="none", allow=["127.0.0.1/32", "10.0.0.0/8"]),
            "caution  AnywhereNow: whoever is in 127.0.0.1/32, 10.0.0.0/8 controls all calls",
        ),
    ],
)
def test_who_needs_no_token_is_named(
    free: Config, capsys: pytest.CaptureFixture[str], section: AnywhereNow, said: str
) -> None:
    api = Api(listen="127.0.0.1:0", anywherenow=section)
    status, text = run(msgspec.structs.replace(free, api=api), capsys)
    assert status == 0 and said in text


def test_an_address_of_a_dialect_is_tried(free: Config, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        api = Api(listen="127.0.0.1:0", imagicle=Imagicle(listen=address))
        status, text = run(msgspec.structs.replace(free, api=api), capsys)
        assert status == 1 and f"FAILED   imagicle {address}" in text
        api = msgspec.structs.replace(api, dialects=Dialects(imagicle=False))
        assert run(msgspec.structs.replace(free, api=api), capsys)[0] == 0
    api = Api(listen="127.0.0.1:0", apio=Apio(listen="0.0.0.0:0"))
    text = run(msgspec.structs.replace(free, api=api), capsys)[1]
    assert "caution  API encryption: none: passwords and tokens travel in clear" in text


def test_platforms_that_do_not_answer_are_named(
    free: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        port = deaf.getsockname()[1]
    config = msgspec.structs.replace(free, sip=Sip(listen=["udp://127.0.0.1:0"]))
    away = RecordingPlatform("away", "127.0.0.1", "Dual", "UDP", "3.0", False, port)

    async def set_up() -> None:
        database = Database(free.storage.database)
        await database.migrate()
        await Directory(database).put(away)
        await database.close()

    assert " platform " not in run(config, capsys)[1]
    asyncio.run(set_up())
    status, text = run(config, capsys)
    said = f"caution  platform away: 127.0.0.1:{port} does not answer OPTIONS: Connection refused"
    assert status == 0 and said in text
    ours = msgspec.structs.replace(free, sip=Sip(listen=[f"udp://127.0.0.1:{port}"]))
    assert " platform " not in run(ours, capsys)[1]


async def test_a_platform_that_answers_is_well(
    free: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    endpoint = Endpoint()

    def answer(event: Event) -> None:
        assert isinstance(event, OptionsReceived)
        endpoint.respond(event.transaction, 200, asyncio.get_running_loop().time())

    async with SipTransport(endpoint, ["tcp://127.0.0.1:0"], answer) as server:
        at = int(server.addresses[0].rpartition(":")[2])
        database = Database(free.storage.database)
        await database.migrate()
        entry = RecordingPlatform("there", "127.0.0.1", "Dual", "TCP", "3.0", False, at)
        await Directory(database).put(entry)
        await database.close()
        assert await check(free) == 0
    assert "ok       platform there: answers within " in capsys.readouterr().out

"""`siprecd check`: what it finds wrong, and what it says."""

import asyncio
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.schema import Api, Config, Media, Sip, Storage
from siprec.check import check
from storage.tables import SCHEMA
from tests.storage.postgres import Server


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

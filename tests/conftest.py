"""A PostgreSQL server, started when the first test asks for it."""

from collections.abc import Iterator

import pytest

from storage import postgresql
from tests.storage import postgres

PATIENCE_S = 20.0
"""What a server may take on a machine that is busy with other tests."""


@pytest.fixture(scope="session")
def run_id(testrun_uid: str, worker_id: str) -> tuple[str, str]:
    """Of this run of the tests, of this process in it; both fit into names."""
    return testrun_uid[:12], worker_id


@pytest.fixture(scope="session")
def postgres_server(
    run_id: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[postgres.Server]:
    """A PostgreSQL server that outlives the test: only databases on it may be broken."""
    run, worker = run_id
    folder = tmp_path_factory.getbasetemp()
    lock = (folder if worker == "master" else folder.parent) / "postgres.lock"
    with postgres.shared(run, lock) as server:
        yield server


@pytest.fixture(scope="session")
def patience() -> Iterator[None]:
    """Only a server that is really away is found to be so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postgresql, "CONNECT_TIMEOUT_S", PATIENCE_S)
        patch.setattr(postgresql, "COMMAND_TIMEOUT_S", PATIENCE_S)
        yield


@pytest.fixture(scope="session")
def postgres_template(
    postgres_server: postgres.Server, patience: None, run_id: tuple[str, str]
) -> Iterator[str]:
    """Name of a migrated PostgreSQL database."""
    with postgres.template(postgres_server, "siprecd_{}_{}".format(*run_id)) as name:
        yield name


@pytest.fixture
def postgres_url(postgres_server: postgres.Server, postgres_template: str) -> Iterator[str]:
    """URL of a PostgreSQL database with all its tables, empty."""
    with postgres.copy(postgres_server, postgres_template, postgres_template) as url:
        yield url


@pytest.fixture
def postgres_bare_url(
    postgres_server: postgres.Server, patience: None, run_id: tuple[str, str]
) -> Iterator[str]:
    """URL of a PostgreSQL database without any table."""
    prefix = "siprecd_bare_{}_{}".format(*run_id)
    with postgres.copy(postgres_server, "template1", prefix) as url:
        yield url

"""A PostgreSQL server, started when the first test asks for it, and how the tests are run."""

import gc
import os
from collections.abc import Iterator

import pytest

from storage import postgresql
from tests.storage import postgres

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Tests start some thousand processes: none of them compiles what another has compiled already, or
# starts threads for linear algebra that nobody uses.

PATIENCE_S = 20.0
"""What a server may take on a machine that is busy with other tests."""


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: tests of live calls mostly wait for the clock."""
    return len(os.sched_getaffinity(0)) + 1


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that wait most, so that none of them is left over at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith("tests/e2e/"))


def pytest_collection_finish() -> None:
    """What is loaded now stays: it is not looked through again and again for garbage."""
    gc.collect()
    gc.freeze()


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

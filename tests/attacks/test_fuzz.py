"""A shorter `make fuzz`: few requests made up for each operation, the same ones each time."""

import re
from pathlib import Path

import pytest

from tests.attacks.fuzz import fuzz


@pytest.mark.slow
async def test_the_interface_is_what_its_document_says(tmp_path: Path) -> None:
    status, log = await fuzz(tmp_path, "--max-examples=3", "--seed=7866", "--no-shrink")
    assert status == 0, "see what schemathesis printed"
    assert "request_failed" not in log and "Traceback" not in log
    assert len(re.findall(r'"event": "request"', log)) > 3000

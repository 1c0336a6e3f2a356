import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.blobs import SCHEMES, from_url
from storage.blobs.base import check_key
from storage.records import StorageError

GOOD_KEYS = [
    "a",
    "2026-11-22/14/05/Zm9v_-bar.wav",
    "2026-11-22/14/05/Zm9v_-bar.peaks.json",
    "a..b",
    "/".join("a" * 16),
]
BAD_KEYS = [
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "../a",
    "a/../b",
    "a/..",
    "a/./b",
    ".hidden",
    "a/.hidden",
    "a\\b",
    "a\x00",
    "a\n",
    "a b",
    "ü",
    "%2e%2e/a",
    "C:a",
    "~root",
    "a" * 201,
    "/".join("a" * 17),
]


@pytest.mark.parametrize("key", GOOD_KEYS)
def test_good_keys(key: str) -> None:
    assert check_key(key) == key


@pytest.mark.parametrize("key", BAD_KEYS)
def test_bad_keys(key: str) -> None:
    with pytest.raises(StorageError, match="is not a key"):
        check_key(key)


@given(st.text() | st.text("./\\a\x00-%", max_size=12))
def test_a_key_is_plain_relative_segments(key: str) -> None:
    try:
        check_key(key)
    except StorageError:
        return
    for segment in key.split("/"):
        assert re.fullmatch(r"[A-Za-z0-9._-]+", segment)
        assert not segment.startswith(".")


def test_every_scheme_opens() -> None:
    for scheme in SCHEMES:
        assert from_url(f"{scheme}://data/recordings").path("a/b.wav") is not None


@pytest.mark.parametrize("url", ["", "file", "file://", "s3://bucket", "/data", "FILE://data"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(StorageError, match="file://FOLDER"):
        from_url(url)

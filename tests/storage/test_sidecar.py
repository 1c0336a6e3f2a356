import stat
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import sidecar
from storage.records import (
    Participant,
    Recording,
    SiprecSession,
    StorageError,
    StorageUnavailable,
    StreamRecord,
)
from tests.storage.recordings import T0, recording

BAD_IDS = ["", ".", "..", "../x", "a/b", "/etc/passwd", "a\x00b", "a.b", "a" * 129, "ü", "a\n"]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    sidecar.write(tmp_path, recording())
    path = tmp_path / "rec-0001.json"
    assert sidecar.read(path) == recording()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_the_last_one_written_counts(tmp_path: Path) -> None:
    sidecar.write(tmp_path, recording(reason="x" * 1000))
    sidecar.write(tmp_path, recording(status="processing"))
    assert sidecar.read(tmp_path / "rec-0001.json") == recording(status="processing")


def test_a_reader_never_sees_half_of_one(tmp_path: Path) -> None:
    sidecar.write(tmp_path, recording())
    with (tmp_path / "rec-0001.json").open("rb") as before:
        sidecar.write(tmp_path, recording(reason="newer"))
        assert msgspec.json.decode(before.read(), type=Recording) == recording()


def test_text_utf8_cannot_carry_is_written_readably(tmp_path: Path) -> None:
    sidecar.write(tmp_path, recording(from_aor="sip:\udcff@example.com"))
    assert sidecar.read(tmp_path / "rec-0001.json").from_aor == "sip:?@example.com"


def test_sidecars_of_version_0_1_are_read(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(
        '{"id":"r","session_id":"s","call_id":"c","status":"recording",'
        '"started_at":"2026-03-04T05:06:07.891011Z","reason":"","ended_at":null,"duration_ms":0,'
        '"paused_ms":3,"paused_at_end":false,"from_aor":"sip:a@b","to_aor":"",'
        '"siprec_session_ids":["one==","two=="],'
        '"participants":[{"participant_id":"p","aor":"sip:ann@b","name":"Ann"}],'
        '"streams":[{"stream_id":"s1","label":"1","channel":0,"encoding":"PCMU",'
        '"participant_id":"p","packets":0,"lost":0,"duplicates":0,"gaps":[]}],'
        '"pauses":[],"marks":[],"warnings":[],"files":[],"history":[]}'
    )
    read = sidecar.read(tmp_path / "r.json")
    assert read == Recording(
        "r",
        "s",
        "c",
        "recording",
        T0,
        paused_ms=3,
        from_aor="sip:a@b",
        siprec_sessions=(SiprecSession("one=="), SiprecSession("two==")),
        participants=(Participant("p", "sip:ann@b", "Ann"),),
        streams=(StreamRecord("s1", "1", 0, "PCMU", "p"),),
    )


def test_scan_lists_sidecars_only(tmp_path: Path) -> None:
    for name in ("b", "a"):
        sidecar.write(tmp_path, recording(name))
    for other in ("a.spool", "a.part", "a.peaks.json", ".hidden.json", "a.json.damaged"):
        (tmp_path / other).touch()
    (tmp_path / "folder.json").mkdir()
    assert sidecar.scan(tmp_path) == [("a", tmp_path / "a.json"), ("b", tmp_path / "b.json")]


def test_scan_of_no_folder_is_empty(tmp_path: Path) -> None:
    assert sidecar.scan(tmp_path / "none") == []


def test_remove(tmp_path: Path) -> None:
    for name in ("a", "b"):
        sidecar.write(tmp_path, recording(name))
    for _ in range(2):
        sidecar.remove(tmp_path, "a")
    assert [name for name, _ in sidecar.scan(tmp_path)] == ["b"]


@pytest.mark.parametrize("name", BAD_IDS)
def test_an_id_never_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "spool"
    folder.mkdir()
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(StorageError, match="is no name for a sidecar"):
        sidecar.write(folder, recording(name))
    with pytest.raises(StorageError, match="is no name for a sidecar"):
        sidecar.remove(folder, name)
    assert list(folder.iterdir()) == []
    assert (tmp_path / "x.json").exists()


def test_a_planted_link_is_not_written_through(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("precious")
    (tmp_path / "rec-0001.part").symlink_to(target)
    with pytest.raises(StorageUnavailable):
        sidecar.write(tmp_path, recording())
    (tmp_path / "rec-0001.part").unlink()
    (tmp_path / "rec-0001.json").symlink_to(target)
    sidecar.write(tmp_path, recording())
    assert target.read_text() == "precious"


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"{}",
        b"null",
        b"[" * 100_000,
        b'{"id": 1}',
        b"\xff",
        b'{"id": "rec-0001", "session_id": "\xff"}',
    ],
)
def test_a_damaged_sidecar_is_named(tmp_path: Path, octets: bytes) -> None:
    path = tmp_path / "rec-0001.json"
    path.write_bytes(octets)
    with pytest.raises(StorageError, match=r"rec-0001\.json: damaged: ") as caught:
        sidecar.read(path)
    assert not isinstance(caught.value, StorageUnavailable)


def test_a_sidecar_cut_short_anywhere_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "rec-0001.json"
    sidecar.write(tmp_path, recording())
    whole = path.read_bytes()
    for length in range(0, len(whole), 37):
        path.write_bytes(whole[:length])
        with pytest.raises(StorageError, match="damaged"):
            sidecar.read(path)


def test_the_record_of_another_recording_is_damage(tmp_path: Path) -> None:
    sidecar.write(tmp_path, recording("a"))
    (tmp_path / "a.json").rename(tmp_path / "b.json")
    with pytest.raises(StorageError, match="holds recording a"):
        sidecar.read(tmp_path / "b.json")


def test_a_folder_that_is_gone_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match="No such file"):
        sidecar.write(tmp_path / "none", recording())
    with pytest.raises(StorageUnavailable, match="No such file"):
        sidecar.read(tmp_path / "none.json")


WHOLE = msgspec.json.encode(Recording("r", "s", "c", "recording", T0, warnings=("w",)))


@given(
    st.binary(max_size=300) | st.integers(0, len(WHOLE)).map(lambda n: WHOLE[:n] + WHOLE[n + 1 :])
)
def test_any_octets_are_a_record_or_damage(
    tmp_path_factory: pytest.TempPathFactory, octets: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "r.json"
    path.write_bytes(octets)
    try:
        assert sidecar.read(path).id == "r"
    except StorageError as error:
        assert "damaged" in str(error)

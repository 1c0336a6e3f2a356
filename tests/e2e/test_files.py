"""What is on disk after everything was used: for our eyes only, and nothing left over."""

import stat
from pathlib import Path

from examples.sip import Agent
from examples.src import RecordingClient
from tests.e2e.srs import Srs
from tests.e2e.test_pause import FRAMES

DIRECTORY = """
[[destinations]]
name = "nobody"
event = "RECORDING_STARTED_EVENT"
url = "http://127.0.0.1:9/"
secret = "between us"

[[users]]
email = "ann@shop.example"
account = 1
type = "admin"
"""


async def test_no_file_is_for_others_and_no_temporary_one_stays(folder: Path) -> None:
    (folder / "directory.toml").write_text(DIRECTORY)
    srs = Srs(folder)
    await srs.command("directory", "apply", "directory.toml")
    await srs.command("user", "password", "ann@shop.example", stdin="correct horse battery\n")
    async with srs:
        async with Agent(srs.udp) as agent, RecordingClient(agent, [FRAMES, FRAMES]) as call:
            await call.invite()
            await call.play(0.3)
            session = await srs.session(call.call_id)
            live = modes(folder / "data")
            await srs.control(session["id"], "split")
            await call.play(0.2)
            await srs.control(session["id"], "pause")
            await call.bye()
        for row in await srs.recordings(call.call_id, 2):
            if row["status"] == "complete":
                await srs.media(row["id"], "mp3")
        assert await srs.stop() == 0
    after = modes(folder / "data")
    assert {path.suffix for path in live} >= {".db", ".srsp", ".json"}
    assert {path.suffix for path in after} >= {".db", ".wav", ".mp3"}
    for path, mode in (live | after).items():
        assert mode & 0o007 == 0 and mode & 0o133 == 0, (path, oct(mode))
    assert not [path for path in after if path.suffix in {".part", ".srsp", ".tmp"}]


def modes(folder: Path) -> dict[Path, int]:
    """Permissions of every file below."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path: stat.S_IMODE(path.stat().st_mode) for path in files}

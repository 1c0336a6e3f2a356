"""The published interfaces: all of them on, each with a section, and what sections may say."""

from pathlib import Path

import msgspec
import pytest

from config.dialects import Dialects
from config.load import load
from config.schema import Api, ConfigError


def test_every_dialect_is_on_and_has_a_section_with_an_address() -> None:
    for name, on in msgspec.structs.asdict(Dialects()).items():
        assert on is True
        assert getattr(Api(), name).listen == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[api.apio]\nlisten = "nowhere"', "api.apio.listen"),
        ('[sip]\nlisten = ["tcp://127.0.0.1:99"]\n[api.akixi]\nlisten = "127.0.0.1:99"', "SIP"),
        ('[api.anywherenow]\nallow = ["10.0.0.0/33"]', "api.anywherenow.allow"),
        ('[api.anywherenow]\nhub = "hub"', "is no path"),
        ('[api.anywherenow]\nsignalr = "/a/{b}"', "is no path"),
        ('[api.anywherenow]\nhub = "/a"\nsignalr = "/a"', "paths of their own"),
        ('[api.anywherenow]\nissuer = "https://id.example"', "both or neither"),
        (
            '[api.anywherenow]\nissuer = "https://id.example"\njwks = "ftp://u:secret@id.example"',
            "api.anywherenow.jwks: expected http://HOST/… or https://HOST/… or a file",
        ),
        (
            '[api.anywherenow]\nissuer = "https://id.example"\njwks = "https://"',
            "api.anywherenow.jwks: expected http://HOST/… or https://HOST/… or a file",
        ),
        ('[api.anywherenow]\nuser_claim = ""', "api.anywherenow.user_claim"),
        ('[api.anywherenow]\nauth = "basic"', "expected one of bearer, none"),
        ("[api.imagicle]\nupload_mb = 0", "api.imagicle.upload_mb"),
        ("[api.akixi]\nsession_minutes = 0", "api.akixi.session_minutes"),
        ("[api.dialects]\nother = true", "unknown key"),
    ],
)
def test_what_a_section_cannot_say_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "srs.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load(path, {})


def test_a_dialect_can_have_an_address(tmp_path: Path) -> None:
    found = load(None, {"SRS_API_APIO_LISTEN": "127.0.0.1:9000", "SRS_API_DIALECTS_FACE": "false"})
    assert (found.api.apio.listen, found.api.dialects.face) == ("127.0.0.1:9000", False)

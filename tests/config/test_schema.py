import msgspec
import pytest

from config.dialects import Dialects, Face
from config.schema import Config

STRUCTS = [type(getattr(Config(), name)) for name in Config.__struct_fields__]


def test_defaults_satisfy_their_own_constraints() -> None:
    assert msgspec.convert(msgspec.to_builtins(Config()), Config) == Config()


@pytest.mark.parametrize("struct", [Config, *STRUCTS, Dialects, Face])
def test_unknown_keys_are_refused(struct: type[msgspec.Struct]) -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field `nonsense`"):
        msgspec.convert({"nonsense": 1}, struct)


def test_defaults_stay_on_this_machine() -> None:
    config = Config()
    assert {url.split("://")[1].rsplit(":", 1)[0] for url in config.sip.listen} == {"127.0.0.1"}
    assert config.media.address == "127.0.0.1"
    assert config.api.listen.startswith("127.0.0.1:")
    assert config.api.face.allow_events == ["127.0.0.0/8", "::1/128"]
    assert config.api.proxies == []


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("media", "port_min", 0),
        ("media", "port_max", 65536),
        ("media", "tick_ms", 9),
        ("sip", "answer_delay_ms", 151),
        ("sip", "accept", "maybe"),
        ("render", "workers", 0),
        ("log", "level", "INFO"),
    ],
)
def test_values_out_of_range_are_refused(section: str, key: str, value: object) -> None:
    with pytest.raises(msgspec.ValidationError, match=rf"`\$\.{section}\.{key}`"):
        msgspec.convert({section: {key: value}}, Config)

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.dialects import Dialects, Face
from config.load import DATABASE_FORMS, RECORDINGS_FORMS, load
from config.schema import Config, ConfigError
from storage import blobs, database
from storage.records import StorageError

EXAMPLE = Path(__file__).parents[2] / "examples" / "srs.toml"
Write = Callable[[str], Path]


def leaves(tree: dict[str, Any], *above: str) -> Iterator[tuple[str, str]]:
    """(dotted section, key) of everything that can be set."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, *above, key)
        else:
            yield ".".join(above), key


KEYS = list(leaves(msgspec.to_builtins(Config())))


def variable(section: str, key: str) -> str:
    return f"SRS_{section}_{key}".replace(".", "_").upper()


@pytest.fixture
def toml(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "srs.toml"
        path.write_text(text)
        return path

    return write


def complaint(path: Path | None, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, environ)
    return str(caught.value)


def test_nothing_given_is_the_defaults() -> None:
    assert load(None, {"PATH": "/bin", "HOME": "/"}) == Config()


def test_example_is_the_defaults() -> None:
    assert load(EXAMPLE, {}) == Config()


def test_example_lists_every_key_in_order_with_a_comment() -> None:
    tree = tomllib.loads(EXAMPLE.read_text())
    assert list(leaves(tree)) == KEYS
    settings = [line for line in EXAMPLE.read_text().splitlines() if re.match(r"\w+ =", line)]
    assert len(settings) == len(KEYS)
    assert all("  # " in line or " # " in line for line in settings)


def test_a_file_changes_what_it_names(toml: Write) -> None:
    config = load(toml('[sip]\nlisten = ["tcp://[::1]:5070"]\n[media]\ntick_ms = 20\n'), {})
    assert config.sip.listen == ["tcp://[::1]:5070"]
    assert config.media.tick_ms == 20
    assert config.sip.drain_s == Config().sip.drain_s
    assert config.api == Config().api


def test_environment_goes_over_the_file(toml: Write) -> None:
    path = toml("[media]\nport_min = 10000\nport_max = 10999\n")
    config = load(path, {"SRS_MEDIA_PORT_MIN": "10500", "SRS_LOG_LEVEL": "debug"})
    assert (config.media.port_min, config.media.port_max) == (10500, 10999)
    assert config.log.level == "debug"


def test_environment_lists_are_comma_separated() -> None:
    config = load(None, {"SRS_SIP_LISTEN": "udp://127.0.0.1:5090, tcp://localhost:5091,"})
    assert config.sip.listen == ["udp://127.0.0.1:5090", "tcp://localhost:5091"]


@pytest.mark.parametrize(("section", "key"), KEYS)
def test_every_key_can_be_set_in_the_environment(section: str, key: str) -> None:
    default = attrgetter(f"{section}.{key}")(Config())
    text = ",".join(default) if isinstance(default, list) else str(default)
    assert load(None, {variable(section, key): text}) == Config()


def test_sections_within_sections(toml: Write) -> None:
    path = toml(
        '[api]\ncertificate = "a.pem"\n[api.dialects]\nface = true\n'
        '[api.face]\nrelease = "6.4"\nallow = ["10.0.0.0/8"]\n'
    )
    assert load(path, {}).api.face == Face(release="6.4", allow=["10.0.0.0/8"])
    config = load(
        path,
        {
            "SRS_API_DIALECTS_FACE": "false",
            "SRS_API_FACE_ALWAYS_HTTP_200": "true",
            "SRS_API_FACE_ALLOW_EVENTS": "192.0.2.0/24, 2001:db8::/32",
            "SRS_API_KEY": "a.key",
        },
    )
    assert config.api.dialects == Dialects(face=False)
    assert config.api.face == Face(
        release="6.4",
        allow=["10.0.0.0/8"],
        allow_events=["192.0.2.0/24", "2001:db8::/32"],
        always_http_200=True,
    )
    assert (config.api.certificate, config.api.key) == ("a.pem", "a.key")
    assert config.api.listen == Config().api.listen


@pytest.mark.parametrize(
    "name", ["SRS_TEST_DATABASE_URL", "SRS_", "SRS_MEDIA", "SRS_media_tick_ms"]
)
def test_names_of_no_section_are_ignored(name: str) -> None:
    assert load(None, {name: "nonsense"}) == Config()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[sip]\ncolour = 1", "sip.colour: unknown key"),
        ("colour = 1", "colour: unknown key"),
        ("[colour]\nred = 1", "colour: unknown key"),
        ("sip = 1", "sip: Expected `object`, got `int`"),
        ("[media]\nport_min = 70000", "media.port_min: Expected `int` <= 65535"),
        ("[media]\nport_min = '5000'", "media.port_min: Expected `int`, got `str`"),
        ("[media]\ntick_ms = 1e2", "media.tick_ms: Expected `int`, got `float`"),
        ("[sip]\nlisten = [7]", "sip.listen[0]: Expected `str`, got `int`"),
        (
            "[log]\nlevel = 'loud'",
            "log.level: Invalid enum value 'loud', expected one of debug, info, warning, error",
        ),
        ("[api]\nface = 1", "api.face: Expected `object`, got `int`"),
        ("[api.colour]\nred = 1", "api.colour: unknown key"),
        ("[api.face]\ncolour = 1", "api.face.colour: unknown key"),
        (
            "[api.face]\nrelease = '6.2'",
            "api.face.release: Invalid enum value '6.2', expected one of 6.1, 6.4",
        ),
        ("[media\n", "not TOML: "),
        ("a = 1\na = 2", "not TOML: "),
        (f"a = {'[' * 5000}", "not TOML: "),
        (f"a = {'9' * 5000}", "not TOML: "),
    ],
)
def test_a_wrong_file_names_file_key_and_reason(toml: Write, text: str, expected: str) -> None:
    path = toml(text)
    said = complaint(path)
    assert said.startswith(f"{path}: {expected}")
    assert said.isprintable()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("SRS_MEDIA_PORT_MIN", "many", "media.port_min: Expected `int`, got `str`"),
        ("SRS_LOG_LEVEL", "\udcff", "log.level: control characters or broken UTF-8"),
        ("SRS_STORAGE_SPOOL", "a\nb", "storage.spool: control characters"),
        ("SRS_MEDIA_PORT_MIN", "", "media.port_min: Expected `int`, got `str`"),
        ("SRS_MEDIA_PORT_MAX", "65536", "media.port_max: Expected `int` <= 65535"),
        ("SRS_MEDIA_PORT", "1", "media.port: unknown key"),
        ("SRS_MEDIA_", "1", "media.: unknown key"),
        ("SRS_SIP_listen", "udp://127.0.0.1:1", "sip.listen: unknown key"),
        ("SRS_SIP_LISTEN", "", "sip.listen: needs at least one listener"),
        ("SRS_RENDER_MP3", "never", "render.mp3: Invalid enum value 'never', expected one of "),
        ("SRS_MEDIA_PORT_MIN", "30000", "media.port_min: port_max 29999 is not above"),
        ("SRS_API_FACE", "{}", "api.face: unknown key"),
        ("SRS_API_FACE_", "1", "api.face.: unknown key"),
        ("SRS_API_FACE_COLOUR", "1", "api.face.colour: unknown key"),
        ("SRS_API_FACE_release", "6.4", "api.face.release: unknown key"),
        ("SRS_API_FACE_RELEASE", "6.2", "api.face.release: Invalid enum value '6.2', expected one"),
        ("SRS_API_FACE_RECORDINGS_URL", "a\nb", "api.face.recordings_url: control characters"),
        ("SRS_API_FACE_ALLOW", "10.0.0.0/8,\udcff", "api.face.allow: control characters"),
        ("SRS_API_DIALECTS_FACE", "perhaps", "api.dialects.face: Expected `bool`, got `str`"),
        ("SRS_API_KEY", "a.key", "api.key: is the key of no certificate"),
        ("SRS_API_PROXIES", "proxy.example", "api.proxies: `proxy.example` is not a network"),
        ("SRS_API_LISTEN", "127.0.0.1:5060", "api.listen: `127.0.0.1:5060` is a SIP listener"),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str, expected: str) -> None:
    assert complaint(None, **{name: value}).startswith(f"environment {name}: {expected}")


def test_a_contradiction_is_laid_at_the_door_of_what_was_overridden(toml: Write) -> None:
    path = toml("[media]\nport_max = 25000\n")
    assert "SRS_MEDIA_PORT_MIN: media.port_min" in complaint(path, SRS_MEDIA_PORT_MIN="26000")
    other = complaint(path, SRS_MEDIA_TICK_MS="20", SRS_MEDIA_PORT_MAX="100")
    assert other.startswith("environment SRS_MEDIA_PORT_MAX: media.port_max: ")


@pytest.mark.parametrize(
    "url",
    [
        "udp://127.0.0.1",
        "127.0.0.1:5060",
        "tls://127.0.0.1:5061",
        "udp://127.0.0.1:65536",
        "udp://127.0.0.1:-1",
        "udp://127.0.0.1:",
        "udp://127.0.0.1:5060/",
        "udp://::1:5060",
        "udp://[127.0.0.1]:5060",
        "udp://[::1:5060",
        "udp://recorder.example:5060",
        "udp://:5060",
        "udp://256.0.0.1:5060",
        "UDP://127.0.0.1:5060",
        "udp://127.0.0.1:٥٠٦٠",
    ],
)
def test_malformed_listeners_are_refused(toml: Write, url: str) -> None:
    said = complaint(toml(f"[sip]\nlisten = ['{url}']"))
    assert ": sip.listen: " in said
    assert f"`{url}`" in said


@pytest.mark.parametrize(
    ("first", "second", "clash"),
    [
        ("udp://127.0.0.1:5060", "udp://127.0.0.1:5060", True),
        ("udp://127.0.0.1:5060", "udp://localhost:5060", True),
        ("tcp://[::1]:5060", "tcp://[0:0::1]:5060", True),
        ("udp://127.0.0.1:5060", "tcp://127.0.0.1:5060", False),
        ("udp://127.0.0.1:0", "udp://127.0.0.1:0", False),
    ],
)
def test_duplicate_listeners(toml: Write, first: str, second: str, clash: bool) -> None:
    path = toml(f"[sip]\nlisten = ['{first}', '{second}']")
    if clash:
        assert complaint(path).endswith(f"sip.listen: `{second}` is listed twice")
    else:
        assert load(path, {}).sip.listen == [first, second]


@pytest.mark.parametrize(
    ("first", "last", "good"),
    [
        (20000, 20001, True),
        (20001, 20003, True),
        (20001, 20002, False),
        (20000, 20000, False),
        (20001, 20000, False),
        (65534, 65535, True),
    ],
)
def test_the_port_range_holds_a_pair(toml: Write, first: int, last: int, good: bool) -> None:
    path = toml(f"[media]\nport_min = {first}\nport_max = {last}")
    if good:
        assert load(path, {}).media.port_max == last
    else:
        assert "media.port_max: " in complaint(path)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("storage.database", "mysql://root:secret@db/srs"),
        ("storage.database", "sqlite://"),
        ("storage.database", "sqlite:///"),
        ("storage.database", "data/siprecd.db"),
        ("storage.database", "postgresql://siprecd:secret@db"),
        ("storage.database", "postgresql:///srs"),
        ("storage.database", "postgresql://siprecd:secret@db:port/srs"),
        ("storage.database", "postgresql://siprecd:se/secret@db/srs"),
        ("storage.database", "postgresql://siprecd:se[secret@db/srs"),
        ("storage.database", "postgresql+asyncpg://siprecd:secret@db/srs"),
        ("storage.recordings", "s3://secret@bucket"),
        ("storage.recordings", "file://"),
        ("storage.recordings", "data"),
        ("storage.spool", ""),
        ("media.address", "localhost"),
        ("media.address", ""),
        ("sip.advertise", "a b"),
        ("sip.advertise", "host;tag=1"),
        ("api.listen", "8080"),
        ("api.listen", "http://127.0.0.1:8080"),
        ("api.certificate", "a\\u0000b"),
        ("api.key", "/etc/siprecd/key.pem"),
        ("api.face.release", "6.3"),
        ("api.face.recordings_url", "a\\u0000b"),
        ("sip.ucid_header", "X-UCID: 1"),
        ("sip.ucid_header", ""),
        ("screen.session_id", "sessionId"),
        ("screen.session_id", "$."),
        ("screen.session_id", "$.a b"),
        ("screen.method", "PUT"),
        ("storage.spool", "a\\u0000b"),
        ("sip.advertise", "a\\r\\nVia: b"),
    ],
)
def test_useless_values_are_refused(toml: Write, key: str, value: str) -> None:
    section, _, name = key.rpartition(".")
    said = complaint(toml(f'[{section}]\n{name} = "{value}"'))
    assert f": {key}: " in said
    assert said.isprintable()
    assert "secret" not in said


DATABASE_URLS = [
    "sqlite:///data/srs.db",
    "sqlite:////data/srs.db",
    "sqlite://data/srs.db",
    "sqlite:data/srs.db",
    "sqlite:///",
    "postgresql://db/srs",
    "postgresql://siprecd@db/srs",
    "postgresql://siprecd:a%2Fb@db:5433/srs?ssl=require",
    "postgresql://siprecd:a@b@[2001:db8::1]:5433/srs",
    "postgresql://siprecd@/srs?host=/run/postgresql",
    "postgresql://siprecd@/srs?host=",
    "postgresql:///srs",
    "postgresql://db",
    "postgresql://db/",
    "postgresql://db/a/b",
    "postgresql://db:0x50/srs",
    "postgresql://siprecd:a/b@db/srs",
    "postgresql://[::1/srs",
    "postgres://db/srs",
    "Postgresql://db/srs",
]


@pytest.mark.parametrize("url", DATABASE_URLS)
def test_a_database_url_is_taken_if_it_can_be_opened(toml: Write, url: str) -> None:
    path = toml(f'[storage]\ndatabase = "{url}"')
    try:
        database.Database(url)
    except StorageError:
        assert ": storage.database: expected sqlite:///PATH or postgresql" in complaint(path)
    else:
        assert load(path, {}).storage.database == url


@pytest.mark.parametrize("good", ["10.1.0.0/16", "192.0.2.7", "fd00::/8", "::1", "0.0.0.0/0"])
def test_networks_that_may_be_notified(toml: Write, good: str) -> None:
    assert load(toml(f'[notify]\nallow = ["{good}"]'), {}).notify.allow == [good]


@pytest.mark.parametrize(
    "key", ["notify.allow", "api.proxies", "api.face.allow", "api.face.allow_events"]
)
@pytest.mark.parametrize(
    "bad", ["10.1.2.3/16", "10.1.0.0/33", "10.1.0.0-10.1.255.255", "localhost", "", "10.1", "::1/0"]
)
def test_what_is_no_network_is_refused(toml: Write, key: str, bad: str) -> None:
    section, _, name = key.rpartition(".")
    said = complaint(toml(f'[{section}]\n{name} = ["10.0.0.0/8", "{bad}"]'))
    assert f": {key}: `{bad}` is not a network" in said


def test_a_key_needs_the_file_of_its_certificate(toml: Write) -> None:
    good = load(toml('[api]\ncertificate = "a.pem"\nkey = "b.pem"'), {}).api
    assert (good.certificate, good.key) == ("a.pem", "b.pem")
    said = complaint(toml('[api]\ncertificate = "self-signed"\nkey = "b.pem"'))
    assert ": api.key: is the key of no certificate" in said
    said = complaint(toml('[api]\nkey = "b.pem"'), SRS_API_CERTIFICATE="self-signed")
    assert said.startswith("environment SRS_API_CERTIFICATE: api.certificate: ")


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("", True),
        ("https://recorder.example/", True),
        ("http://192.0.2.1:8080/Face/Recordings/", True),
        ("https://[2001:db8::1]/a/", True),
        ("https://recorder.example", False),
        ("https://secret@recorder.example/Face", False),
        ("https://recorder.example/?a=/", False),
        ("https://recorder.example/#/", False),
        ("https:///Recordings/", False),
        ("ftp://recorder.example/", False),
        ("recorder.example/", False),
        ("/Face/Recordings/", False),
        ("https://recorder.example:port/", False),
        ("https://[::1/", False),
        ("https://recorder.example/a b/", False),
    ],
)
def test_where_urls_of_exports_lead(toml: Write, url: str, good: bool) -> None:
    path = toml(f'[api.face]\nrecordings_url = "{url}"')
    if good:
        assert load(path, {}).api.face.recordings_url == url
    else:
        said = complaint(path)
        assert ": api.face.recordings_url: expected http://HOST/…/ or https://HOST/…/" in said
        assert "secret" not in said


@pytest.mark.parametrize(
    "url",
    [
        "http://screens.example/start",
        "https://screens.example:8443/start?screen={ip}&call={isr_id}",
        "http://{ip}:8080/",
        "http://[2001:db8::1]/{isr_id}",
    ],
)
def test_urls_of_a_screen_recorder(toml: Write, url: str) -> None:
    screen = load(toml(f'[screen]\nstart_url = "{url}"\nstop_url = "{url}"'), {}).screen
    assert (screen.start_url, screen.stop_url) == (url, url)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://secret@screens.example/{call}", "unknown placeholder `{call}`"),
        ("http://screens.example/{}", "unknown placeholder `{}`"),
        ("http://screens.example/{ip", "expected http://"),
        ("http://screens.example/{{ip}}", "expected http://"),
        ("ftp://secret@screens.example/", "expected http://"),
        ("screens.example/start", "expected http://"),
        ("http:///start", "expected http://"),
        ("http://screens.example:port/", "expected http://"),
        ("http://screens.example:99999/", "expected http://"),
        ("http://screens.example/a b", "expected http://"),
        ("http://[::1/", "expected http://"),
        ("HTTP://screens.example/ä", "expected http://"),
    ],
)
def test_useless_urls_of_a_screen_recorder_are_refused(toml: Write, url: str, reason: str) -> None:
    good = "http://screens.example/"
    for key, start, stop in (("start_url", url, good), ("stop_url", good, url)):
        said = complaint(toml(f'[screen]\nstart_url = "{start}"\nstop_url = "{stop}"'))
        assert f": screen.{key}: {reason}" in said
        assert "secret" not in said


@pytest.mark.parametrize("key", ["start_url", "stop_url"])
def test_screens_need_both_urls(toml: Write, key: str) -> None:
    path = toml(f'[screen]\n{key} = "http://screens.example/"')
    assert complaint(path).endswith("screen.stop_url: start_url and stop_url need each other")


def test_known_schemes_are_those_of_the_storage_room() -> None:
    assert set(DATABASE_FORMS) == set(database.SCHEMES)
    assert set(RECORDINGS_FORMS) == set(blobs.SCHEMES)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    assert complaint(tmp_path / "none.toml") == f"{tmp_path / 'none.toml'}: no such file"
    assert complaint(tmp_path) == f"{tmp_path}: Is a directory"
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"a = '\xff'")
    assert complaint(binary) == f"{binary}: not UTF-8 at octet 5"


@given(
    st.binary(max_size=200)
    | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace"))
)
def test_any_file_is_a_configuration_or_one_line(tmp_path_factory: Any, octets: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(octets)
    try:
        load(path, {})
    except ConfigError as error:
        assert str(error).startswith(f"{path}: ")
        assert len(str(error).splitlines()) == 1


@given(
    st.sampled_from(KEYS),
    st.text(st.characters(exclude_categories=()))
    | st.from_regex(r"(udp|tcp)://[0-9.:\[\]a-z]{0,20}"),
)
def test_any_value_is_taken_or_named(where: tuple[str, str], value: str) -> None:
    name = variable(*where)
    try:
        load(None, {name: value})
    except ConfigError as error:
        assert str(error).startswith(f"environment {name}: {'.'.join(where)}: ")
        assert len(str(error).splitlines()) == 1


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
        max_leaves=5,
    ),
    st.sampled_from(KEYS),
)
def test_any_tree_is_a_configuration_or_one_line(
    tmp_path_factory: Any, value: object, where: tuple[str, str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "tree.toml"
    path.write_text("[{}]\n{} = {}\n".format(*where, toml_text(value)), errors="replace")
    try:
        load(path, {})
    except ConfigError as error:
        assert str(error).startswith(f"{path}: ")
        assert len(str(error).splitlines()) == 1


def toml_text(value: object) -> str:
    match value:
        case None:
            return "1979-05-27T07:32:00Z"
        case bool():
            return str(value).lower()
        case str():
            return msgspec.json.encode(value.encode("utf-8", "replace").decode()).decode()
        case list():
            return f"[{', '.join(map(toml_text, value))}]"
        case dict():
            inner = (f"{toml_text(key)} = {toml_text(item)}" for key, item in value.items())
            return f"{{{', '.join(inner)}}}"
    return str(value)


def test_loading_needs_no_other_room() -> None:
    script = (
        "import sys; import config.load;"
        "print(sorted({'media', 'storage', 'siprec', 'api', 'numpy', 'asyncio', 'sqlalchemy'}"
        " & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"

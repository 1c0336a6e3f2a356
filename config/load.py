"""TOML file and `SRS_SECTION_KEY` environment to one `Config`, or one `ConfigError`.

`config.schema` says what each key may be; here is what lies between keys and inside the strings.
The environment is handed in, and nothing is opened but the file named.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_network
from itertools import chain
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin
from urllib.parse import parse_qs, urlsplit

import msgspec

from config.dialects import AnywhereNow
from config.schema import SELF_SIGNED, Config, ConfigError

DATABASE_FORMS = {
    "sqlite": "sqlite:///PATH",
    "postgresql": "postgresql://USER:PASSWORD@HOST/NAME",
}
"""What `storage.database` can open, by URL scheme."""
RECORDINGS_FORMS = {"file": "file://PATH"}
"""What `storage.blobs` can open."""
PLACEHOLDERS = frozenset({"ip", "isr_id"})
"""What URLs of `[screen]` may hold in braces."""

_AT = re.compile(r"(.*) - at `\$\.?(.*)`", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_ADDRESS = re.compile(r"(\[[^\[\]]+\]|[^\[\]:/]+):([0-9]{1,5})")
_ADVERTISE = re.compile(r"[A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]+\]")
_UNPRINTABLE = "control characters or broken UTF-8"
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_HTTP = re.compile(r"https?://[!-~]+")
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_IN_JSON = re.compile(r"(\$(\.[^.\s]+)+)?")
_PORTS = ("media.port_max", "media.port_min")

_Section = TypeVar("_Section", bound=msgspec.Struct)
_Address = tuple[str, int]
_Fault = tuple[tuple[str, ...], str]
"""Dotted keys that do not fit (the first one is named unless another was overridden), reason."""


def load(path: Path | None, environ: Mapping[str, str]) -> Config:
    """The configuration in `path`, overlaid by `environ`; `None` means defaults and environment.

    Raises `ConfigError`, one line: the file or `environment SRS_…`, the dotted key, the reason.
    """
    source = "defaults" if path is None else str(path)
    config = Config() if path is None else _decode(source, _read(path))
    names = dict(_overrides(environ))
    for key, name in names.items():
        config = _override(config, key, name, environ[name])
    for keys, reason in _faults(config):
        key = next((key for key in keys if key in names), keys[0])
        raise _error(f"environment {names[key]}" if key in names else source, key, reason)
    return config


def _error(source: str, key: str, reason: str) -> ConfigError:
    text = ": ".join(part for part in (source, key, reason) if part)
    return ConfigError("".join(char if char.isprintable() else " " for char in text))


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode())
    except FileNotFoundError:
        raise _error(str(path), "", "no such file") from None
    except OSError as error:
        raise _error(str(path), "", error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise _error(str(path), "", f"not UTF-8 at octet {error.start}") from error
    except (ValueError, RecursionError) as error:
        raise _error(str(path), "", f"not TOML: {error}") from error


def _decode(source: str, tree: dict[str, Any]) -> Config:
    try:
        return msgspec.convert(tree, Config)
    except msgspec.ValidationError as error:
        key, reason = _explain(str(error))
        raise _error(source, key, reason) from error


def _explain(text: str) -> tuple[str, str]:
    """msgspec's sentence as dotted key and reason."""
    found = _AT.fullmatch(text)
    reason, key = (found[1], found[2]) if found else (text, "")
    unknown = _UNKNOWN.fullmatch(reason)
    if unknown:
        key, reason = f"{key}.{unknown[1]}".lstrip("."), "unknown key"
    choices = _choices(key)
    return key, f"{reason}, expected one of {', '.join(choices)}" if choices else reason


def _fields(key: str) -> Iterator[msgspec.structs.FieldInfo]:
    """The fields on the way along a dotted key, as far as it leads."""
    kind: type = Config
    for name in key.split("."):
        if not _is_section(kind):
            return
        found = [one for one in msgspec.structs.fields(kind) if one.name == name]
        yield from found
        kind = found[0].type if found else str


def _type(key: str) -> Any:
    """The annotation of a dotted key, None if there is none of this name."""
    fields = list(_fields(key))
    return fields[-1].type if len(fields) == key.count(".") + 1 else None


def _choices(key: str) -> tuple[str, ...]:
    kind = _type(key)
    return get_args(kind) if get_origin(kind) is Literal else ()


def _overrides(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(dotted key, variable name) of every variable of a section of ours, by name."""
    sections = {f"SRS_{key.upper().replace('.', '_')}_": key for key in _sections(Config)}
    for name in sorted(environ):
        prefix = next((prefix for prefix in sections if name.startswith(prefix)), None)
        if prefix is not None:
            yield f"{sections[prefix]}.{name.removeprefix(prefix).lower()}", name


def _sections(kind: type[msgspec.Struct], above: str = "") -> Iterator[str]:
    """Dotted keys of all sections, those within others first."""
    for one in msgspec.structs.fields(kind):
        if _is_section(one.type):
            yield from _sections(one.type, f"{above}{one.name}.")
            yield f"{above}{one.name}"


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _override(config: Config, key: str, name: str, text: str) -> Config:
    kind = _type(key)
    if not text.isprintable():
        raise _error(f"environment {name}", key, _UNPRINTABLE)
    if kind is None or _is_section(kind) or name != name.upper():
        raise _error(f"environment {name}", key, "unknown key")
    value = [item.strip() for item in text.split(",") if item.strip()]
    try:
        converted = msgspec.convert(value if kind == list[str] else text, kind, strict=False)
    except msgspec.ValidationError as error:
        reason = _explain(f"{error} - at `$.{key}`")[1]
        raise _error(f"environment {name}", key, reason) from error
    return _replaced(config, key.split("."), converted)


def _replaced(section: _Section, names: list[str], value: object) -> _Section:
    """The section with another value where the names lead."""
    name, *rest = names
    changed = _replaced(getattr(section, name), rest, value) if rest else value
    return msgspec.structs.replace(section, **{name: changed})


def _faults(config: Config) -> Iterator[_Fault]:
    """What the decoder cannot see: text that means nothing, values that contradict."""
    unprintable = list(_unprintable(msgspec.to_builtins(config)))
    sections = (_sip, _media, _api, _storage, _notify, _screen)
    yield from unprintable or chain(*(faults(config) for faults in sections))


def _unprintable(tree: dict[str, Any], above: str = "") -> Iterator[_Fault]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _unprintable(value, f"{above}{key}.")
            continue
        texts = value if isinstance(value, list) else [value]
        if any(isinstance(text, str) and not text.isprintable() for text in texts):
            yield (f"{above}{key}",), _UNPRINTABLE


def _sip(config: Config) -> Iterator[_Fault]:
    seen: set[tuple[str, _Address]] = set()
    for url in config.sip.listen:
        scheme, separator, rest = url.partition("://")
        address = _address(rest)
        if not separator or scheme not in ("udp", "tcp"):
            yield ("sip.listen",), f"`{url}` does not begin with udp:// or tcp://"
        elif isinstance(address, str):
            yield ("sip.listen",), f"`{url}`: {address}"
        elif address[1] and (scheme, address) in seen:
            yield ("sip.listen",), f"`{url}` is listed twice"
        else:
            seen.add((scheme, address))
    if not config.sip.listen:
        yield ("sip.listen",), "needs at least one listener"
    if not _ADVERTISE.fullmatch(config.sip.advertise):
        yield ("sip.advertise",), "not a host name or address"


def _address(text: str) -> _Address | str:
    """(host, port) of `HOST:PORT`, or what is wrong with it."""
    found = _ADDRESS.fullmatch(text)
    if not found:
        return "expected HOST:PORT, an IPv6 address in brackets"
    host = _host(found[1])
    if not host:
        return f"host `{found[1]}` is neither an IP address nor localhost"
    port = int(found[2])
    return (host, port) if port <= 65535 else f"port {port} is above 65535"


def _host(text: str) -> str:
    """The address in canonical form, empty if it is none."""
    if text == "localhost":
        return "127.0.0.1"
    bracketed = text.startswith("[")
    try:
        address = ip_address(text[1:-1] if bracketed else text)
    except ValueError:
        return ""
    return str(address) if (address.version == 6) == bracketed else ""


def _media(config: Config) -> Iterator[_Fault]:
    first, last = config.media.port_min, config.media.port_max
    if first >= last:
        yield _PORTS, f"port_max {last} is not above port_min {first}"
    elif first + first % 2 >= last:
        yield _PORTS, f"no even port with the odd one above it in {first}..{last}"
    try:
        ip_address(config.media.address)
    except ValueError:
        yield ("media.address",), f"`{config.media.address}` is not an IP address"


def _api(config: Config) -> Iterator[_Fault]:
    yield from _api_listen(config)
    api = config.api
    if api.key and api.certificate in ("", SELF_SIGNED):
        yield ("api.key", "api.certificate"), "is the key of no certificate: name that as well"
    yield from _networks("api.proxies", api.proxies)
    yield from _networks("api.face.allow", api.face.allow)
    yield from _networks("api.face.allow_events", api.face.allow_events)
    yield from _anywherenow(api.anywherenow)
    if api.face.recordings_url and not _is_folder_url(api.face.recordings_url):
        yield ("api.face.recordings_url",), "expected http://HOST/…/ or https://HOST/…/"


def _anywherenow(section: AnywhereNow) -> Iterator[_Fault]:
    yield from _networks("api.anywherenow.allow", section.allow)
    for name in ("hub", "signalr"):
        if not _PATH.fullmatch(path := getattr(section, name)):
            yield (f"api.anywherenow.{name}",), f"`{path}` is no path: /like/this"
    if section.hub == section.signalr:
        yield ("api.anywherenow.hub", "api.anywherenow.signalr"), "they need paths of their own"
    if bool(section.issuer) != bool(section.jwks):
        keys = ("api.anywherenow.jwks", "api.anywherenow.issuer")
        yield keys, "an issuer and where its keys are: both or neither"
    if "://" in section.jwks and not _is_http(section.jwks):
        # A URL may hold a password: its text is never repeated.
        yield ("api.anywherenow.jwks",), "expected http://HOST/… or https://HOST/… or a file"


def _is_folder_url(url: str) -> bool:
    return _is_http(url) and url.endswith("/") and not set(url) & set("?#")


def _api_listen(config: Config) -> Iterator[_Fault]:
    yield from _listener("api.listen", config.api.listen, config)
    for name in msgspec.structs.asdict(config.api.dialects):
        if own := getattr(config.api, name).listen:
            yield from _listener(f"api.{name}.listen", own, config)


def _listener(key: str, text: str, config: Config) -> Iterator[_Fault]:
    address = _address(text)
    if isinstance(address, str):
        yield (key,), f"`{text}`: {address}"
        return
    sip = [url.removeprefix("tcp://") for url in config.sip.listen if url.startswith("tcp://")]
    if address[1] and address in map(_address, sip):
        yield (key, "sip.listen"), f"`{text}` is a SIP listener as well"


def _storage(config: Config) -> Iterator[_Fault]:
    storage = config.storage
    if not _is_file(storage.database, "sqlite:///") and not _is_postgresql(storage.database):
        # A URL may hold a password: its text is never repeated.
        yield ("storage.database",), f"expected {' or '.join(DATABASE_FORMS.values())}"
    if not _is_file(storage.recordings, "file://"):
        yield ("storage.recordings",), f"expected {' or '.join(RECORDINGS_FORMS.values())}"
    if not storage.spool:
        yield ("storage.spool",), "needs a folder"


def _is_file(url: str, prefix: str) -> bool:
    return url.startswith(prefix) and url != prefix


def _is_postgresql(url: str) -> bool:
    """Whether it names a host and a database; odd characters in a password need a percent sign."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    host = parts.netloc.rpartition("@")[2] or parse_qs(parts.query).get("host", [""])[0]
    name = parts.path[1:]
    return url.startswith("postgresql://") and bool(host and name) and not set(name) & set("/@")


def _notify(config: Config) -> Iterator[_Fault]:
    return _networks("notify.allow", config.notify.allow)


def _networks(key: str, texts: list[str]) -> Iterator[_Fault]:
    for text in texts:
        try:
            ip_network(text)
        except ValueError as error:
            yield (key,), f"`{text}` is not a network such as 10.1.0.0/16: {error}"


def _screen(config: Config) -> Iterator[_Fault]:
    screen = config.screen
    for key, url in (("start_url", screen.start_url), ("stop_url", screen.stop_url)):
        wrong = _wrong_template(url) if url else ""
        if wrong:
            yield (f"screen.{key}",), wrong
    if bool(screen.start_url) != bool(screen.stop_url):
        yield ("screen.stop_url", "screen.start_url"), "start_url and stop_url need each other"
    if not _IN_JSON.fullmatch(screen.session_id):
        yield ("screen.session_id",), "expected names after $, as in $.session.id, or nothing"


def _wrong_template(url: str) -> str:
    """What is wrong with a URL that has placeholders; it may hold a password, too."""
    unknown = sorted({*_PLACEHOLDER.findall(url)} - PLACEHOLDERS)
    if unknown:
        return f"unknown placeholder `{{{unknown[0]}}}`, there are {{ip}} and {{isr_id}}"
    filled = _PLACEHOLDER.sub("0", url)
    good = _is_http(filled) and not set("{}") & set(filled)
    return "" if good else "expected http://HOST/… or https://HOST/…"


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    return bool(_HTTP.fullmatch(url) and parts.hostname)

"""`siprecd check`: tries everything a start needs and says what to do where it would fail."""

import asyncio
import os
import resource
import shutil
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from ipaddress import ip_address, ip_network
from pathlib import Path
from urllib.parse import urlsplit

import click
from msgspec import structs

from config.certificate import RENEW_BEFORE, Loaded, kept, read
from config.dialects import AnywhereNow
from config.schema import SELF_SIGNED, Config, ConfigError
from siprec.platform_watch import Look, PlatformWatch
from siprec.sip.routing import DEFAULT_PORT, host_port
from storage.database import Database
from storage.directory import Directory
from storage.platforms import RecordingPlatform
from storage.records import StorageError
from storage.tables import SCHEMA
from storage.users import Users

FILES_PER_STREAM = 4
"""RTP and RTCP socket, each open in the control and in the media process."""
LOW_DISK_BYTES = 1 << 30
LOOK_S = 3.0
"""How long a recording platform may take to answer."""
POSTGRESQL_ADVICE = {
    "password": "Are user and password in [storage] database right?",
    "does not exist": "Make it: createuser, then createdb --owner USER --encoding UTF8 NAME",
    "pg_hba.conf": "Admit this machine there.",
    "too many": "Raise max_connections: siprecd uses up to 5.",
}
"""Words in what PostgreSQL says -> what to do about it."""


class Problem(Exception):
    """Something that would keep the server from working; the text says what to do."""


class Caution(Exception):
    """Something that works but will hurt under load."""


async def check(config: Config) -> int:
    """Print one line per check; returns 0 if the server would work, else 1."""
    checks: list[tuple[str, Callable[[], str]]] = [
        *((f"SIP {url}", partial(_listener, url)) for url in config.sip.listen),
        *(
            (f"{name} {address}", partial(_bind, socket.SOCK_STREAM, address))
            for name, address in _listeners(config).items()
        ),
        ("API encryption", lambda: _encryption(config, datetime.now(UTC))),
        ("RTP ports", lambda: _rtp(config)),
        ("open files", lambda: _open_files(config)),
        ("spool", lambda: _folder(Path(config.storage.spool))),
        ("recordings", lambda: _folder(Path(config.storage.recordings.removeprefix("file://")))),
    ]
    if config.api.dialects.anywherenow:
        checks.append(("AnywhereNow", lambda: _open_to(config.api.anywherenow)))
    results = [_report(name, probe) for name, probe in checks]
    results.append(await _database(config))
    if config.api.dialects.face and results[-1]:
        await _face(config)
    if results[-1]:
        await _platforms(config)
    return 0 if all(results) else 1


def _listeners(config: Config) -> dict[str, str]:
    """Where HTTP is answered, by whose interface it is."""
    own = {name: getattr(config.api, name).listen for name in structs.asdict(config.api.dialects)}
    on = {name: own[name] for name in own if getattr(config.api.dialects, name) and own[name]}
    return {"API": config.api.listen} | on


def _open_to(section: AnywhereNow) -> str:
    """Whose commands AnywhereNow's interface takes without a token."""
    if section.auth == "bearer":
        return "nobody gets in without a token"
    if all(ip_network(text).is_loopback for text in section.allow):
        return "programs on this machine need no token"
    raise Caution(f"whoever is in {', '.join(section.allow)} controls all calls without a token")


def _report(name: str, probe: Callable[[], str]) -> bool:
    try:
        click.echo(f"ok       {name}: {probe()}")
    except Caution as caution:
        click.echo(f"caution  {name}: {caution}")
    except Problem as problem:
        click.echo(f"FAILED   {name}: {problem}")
        return False
    return True


def _listener(url: str) -> str:
    parts = urlsplit(url)
    kind = socket.SOCK_DGRAM if parts.scheme == "udp" else socket.SOCK_STREAM
    return _bind(kind, parts.netloc)


def _bind(kind: socket.SocketKind, address: str) -> str:
    parts = urlsplit(f"//{address}")
    host, port = parts.hostname or "", parts.port or 0
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, kind) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, kind is socket.SOCK_STREAM)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Problem(
                f"{error.strerror}. Is another siprecd running, or is {host} not an address of "
                "this machine?"
            ) from error
    return "free"


def _encryption(config: Config, now: datetime) -> str:
    api = config.api
    if not api.certificate:
        return _in_clear(config)
    made_here = api.certificate == SELF_SIGNED
    path = kept(Path(config.storage.spool)) if made_here else Path(api.certificate)
    if made_here and not path.exists():
        return "a self-signed certificate, to be made by the start"
    try:
        loaded = read(path, Path(api.key) if api.key else None)
    except ConfigError as error:
        raise Problem(str(error)) from None
    if made_here:
        return f"{path}, self-signed, renewed by itself"
    return _validity(path, loaded, now)


def _in_clear(config: Config) -> str:
    hosts = {urlsplit(f"//{each}").hostname or "" for each in _listeners(config).values()}
    if all(host == "localhost" or ip_address(host).is_loopback for host in hosts):
        return "none, and none is needed on this machine"
    raise Caution("none: passwords and tokens travel in clear; name an [api] certificate")


def _validity(path: Path, loaded: Loaded, now: datetime) -> str:
    if now < loaded.not_before:
        raise Caution(f"{path} begins only on {loaded.not_before:%Y-%m-%d}: clients refuse it")
    if now > loaded.not_after:
        raise Caution(f"{path} ended on {loaded.not_after:%Y-%m-%d}: clients refuse it, renew it")
    days = (loaded.not_after - now).days
    if loaded.not_after - now < RENEW_BEFORE:
        raise Caution(f"{path} ends on {loaded.not_after:%Y-%m-%d}, in {days} days: renew it")
    return f"{path}, until {loaded.not_after:%Y-%m-%d}"


def _rtp(config: Config) -> str:
    _bind(socket.SOCK_DGRAM, f"{_bracketed(config.media.address)}:0")
    pairs = (config.media.port_max - config.media.port_min + 1) // 2
    if pairs < 20:
        raise Caution(f"{pairs} streams at a time; widen [media] port_min..port_max")
    return f"{pairs} streams at a time"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _open_files(config: Config) -> str:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    pairs = (config.media.port_max - config.media.port_min + 1) // 2
    streams = min(pairs, hard // FILES_PER_STREAM)
    if streams < pairs:
        raise Caution(f"the limit of {hard} carries about {streams} streams; raise LimitNOFILE")
    return f"limit {hard}"


def _folder(folder: Path) -> str:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        probe = folder / f".check-{os.getpid()}"
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        raise Problem(f"cannot write {folder}: {error.strerror}") from error
    free = shutil.disk_usage(folder).free
    if free < LOW_DISK_BYTES:
        raise Caution(f"{folder} has only {free >> 20} MiB left")
    return f"{folder}, {free >> 30} GiB free"


async def _database(config: Config) -> bool:
    database = Database(config.storage.database)
    try:
        version = await database.version()
    except StorageError as error:
        click.echo(f"FAILED   database: {error}. {_advice(config.storage.database, str(error))}")
        return False
    finally:
        await database.close()
    if version is None:
        folder = Path(config.storage.database.removeprefix("sqlite:///")).parent
        return _report("database", lambda: f"will be created in {_folder(folder)}")
    return _report("database", lambda: _schema(version))


async def _face(config: Config) -> None:
    """Say who could use FACE: it is on by default, and nobody need mind."""
    count = await _api_users(config)
    advice = "nobody can log in; add a user with `siprecd user add EMAIL --type api --account N`"
    _report("FACE", lambda: f"{count} users of type api can log in" if count else advice)


async def _api_users(config: Config) -> int:
    """How many users FACE would let in."""
    database = Database(config.storage.database)
    try:
        if await database.version() != SCHEMA:
            return 0
        directory = Directory(database)
        users = Users(database, directory, config.users)
        await directory.load()
        await users.load()
    finally:
        await database.close()
    now, entries = datetime.now(UTC), directory.entries.users.values()
    able = (user for user in entries if user.type == "api" and user.enabled)
    return sum(users.standing(user.email, now).has_password for user in able)


async def _platforms(config: Config) -> None:
    """Say which recording platforms do not answer; this recorder cannot, while it does not run."""
    database = Database(config.storage.database)
    try:
        if await database.version() != SCHEMA:
            return
        directory = Directory(database)
        await directory.load()
    finally:
        await database.close()
    watch = PlatformWatch(directory, tuple, config.sip.listen, config.sip.advertise)
    entries = sorted(directory.entries.platforms.items())
    others = [platform for _, platform in entries if not watch.is_ours(platform)]
    looks = await asyncio.gather(*(watch.look(platform, LOOK_S) for platform in others))
    watch.close()
    for platform, look in zip(others, looks, strict=True):
        _report(f"platform {platform.name}", partial(_answer, platform, look))


def _answer(platform: RecordingPlatform, look: Look) -> str:
    if look.rtt_ms is None:
        where = host_port((platform.net_address, platform.port or DEFAULT_PORT))
        raise Caution(f"{where} does not answer OPTIONS: {look.cause}")
    return f"answers within {look.rtt_ms:.0f} ms"


def _advice(url: str, reason: str) -> str:
    """What to do about a database that does not answer, as far as can be told."""
    if url.startswith("sqlite:"):
        return "Is it a file of siprecd, and may this user write it?"
    found = (advice for words, advice in POSTGRESQL_ADVICE.items() if words in reason)
    return next(found, "Is the server running, and is its address in [storage] database right?")


def _schema(version: str) -> str:
    if version.isdecimal() and version > SCHEMA:
        raise Problem(f"schema {version} is newer than {SCHEMA}: update siprecd")
    if version and not version.isdecimal():
        raise Problem(f"schema {version} is not that of a catalogue; name another database")
    if version < SCHEMA:
        return f"schema {version or 'none'}, the start will bring it to {SCHEMA}"
    return f"schema {version}"

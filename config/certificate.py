"""The certificate of `[api]`: read from its files, or made here, as a context for TLS servers.

It stands in this room because both the server and `siprecd check` look at it. Nothing here waits
for the network, and nothing is logged: who calls tells what it got.
"""

import os
import re
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from config.schema import SELF_SIGNED, Api, ConfigError

RENEW_BEFORE = timedelta(days=30)
"""A certificate that ends sooner is to be renewed."""
LIFETIME = timedelta(days=825)
"""Of one made here; some clients take none that lasts longer."""

_FILE = ".certificate.pem"
_LOCAL = ("localhost", "127.0.0.1", "::1")
_DNS = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
_KEY = re.compile(rb"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL)
_CLOCKS_DIFFER = timedelta(hours=1)
_COMMON_NAME = 64
"""Characters of a common name (RFC 5280, appendix A)."""

_Stamp = tuple[tuple[int, int, int], ...]
"""Inode, size and time of change in ns of each file."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A certificate with its key, ready to be used."""

    context: ssl.SSLContext
    not_before: datetime
    not_after: datetime
    names: frozenset[str]
    """Host names and addresses it is for."""


def read(certificate: Path, key: Path | None = None) -> Loaded:
    """The certificate and its key from PEM files; `key` None: both are in one.

    Raises ConfigError: one line with the key of `[api]`, the file and the reason.
    """
    text = _text("certificate", certificate)
    leaf = _leaf(certificate, text)
    if key is None:
        _match("certificate", certificate, text, leaf)
    else:
        _match("key", key, _text("key", key), leaf)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    try:
        # Without a password at hand, OpenSSL would ask for one on the terminal.
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise _error("certificate", certificate, f"OpenSSL refuses it: {reason}") from None
    return Loaded(context, leaf.not_valid_before_utc, leaf.not_valid_after_utc, _names(leaf))


def kept(spool: Path) -> Path:
    """The file of the certificate made here."""
    return spool / _FILE


class Certificate:
    """What a listener shows: a certificate that may be renewed while it is in use.

    `spool`: folder of one made here; `now`: aware. Raises ConfigError.
    """

    def __init__(self, config: Api, spool: Path, now: datetime) -> None:
        self._config = config
        self._kept = kept(spool)
        self._seen: _Stamp | None = None
        if config.certificate == SELF_SIGNED:
            self._make_if_due(now)
        self._seen = self._stamp()
        self._loaded = self._read()

    @property
    def context(self) -> ssl.SSLContext:
        """For the next connection."""
        return self._loaded.context

    @property
    def not_after(self) -> datetime:
        """When it ends."""
        return self._loaded.not_after

    def is_valid(self, now: datetime) -> bool:
        """Whether clients can accept it at this time."""
        return self._loaded.not_before <= now <= self._loaded.not_after

    def renew(self, now: datetime) -> bool:
        """Take over files that have changed; whether there was something to take over.

        Raises ConfigError once for files that cannot be used; the certificate before stays.
        """
        if self._config.certificate == SELF_SIGNED and _is_due(self._loaded, now):
            self._make_if_due(now)
        stamp = self._stamp()
        if stamp == self._seen:
            return False
        self._seen = stamp
        self._loaded = self._read()
        return True

    def _paths(self) -> tuple[Path, Path | None]:
        if self._config.certificate == SELF_SIGNED:
            return self._kept, None
        key = self._config.key
        return Path(self._config.certificate), Path(key) if key else None

    def _read(self) -> Loaded:
        return read(*self._paths())

    def _stamp(self) -> _Stamp | None:
        """None if a file is missing."""
        with suppress(OSError):
            states = [path.stat() for path in self._paths() if path]
            return tuple((state.st_ino, state.st_size, state.st_mtime_ns) for state in states)
        return None

    def _make_if_due(self, now: datetime) -> None:
        """Make one, unless that of last time can go on; a damaged one cannot."""
        host = _host(self._config)
        with suppress(ConfigError):
            there = read(self._kept)
            if not _is_due(there, now) and (host in there.names or _is_wildcard(host)):
                return
        try:
            _write(self._kept, self_signed(host, now))
        except OSError as error:
            raise _error("certificate", self._kept, error.strerror or str(error)) from error


def self_signed(host: str, now: datetime) -> bytes:
    """PEM of a new key and its certificate for a server on `host`, an address or localhost."""
    key = ec.generate_private_key(ec.SECP256R1())
    names = _own_names(host)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:_COMMON_NAME])])
    begin = now - _CLOCKS_DIFFER
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + LIFETIME)
        .add_extension(x509.SubjectAlternativeName(list(map(_general, names))), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)


def _error(name: str, path: Path, reason: str) -> ConfigError:
    return ConfigError(f"api.{name}: {path}: {reason}")


def _text(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise _error(name, path, "no such file") from None
    except OSError as error:
        raise _error(name, path, error.strerror or str(error)) from error


def _leaf(path: Path, text: bytes) -> x509.Certificate:
    """The first certificate: those after it are of the authorities above it."""
    try:
        return x509.load_pem_x509_certificates(text)[0]
    except ValueError:
        raise _error("certificate", path, "holds no certificate in PEM") from None


def _match(name: str, path: Path, text: bytes, leaf: x509.Certificate) -> None:
    """See that the private key in `text` is that of the certificate. Raises ConfigError."""
    found = _KEY.search(text)
    if found is None:
        raise _error(name, path, "holds no private key in PEM")
    try:
        public = serialization.load_pem_private_key(found[0], None).public_key()
        matches = public == leaf.public_key()
    except TypeError:
        raise _error(name, path, "the private key is encrypted: store it without") from None
    except (ValueError, UnsupportedAlgorithm):
        raise _error(name, path, "holds no private key that can be read") from None
    if not matches:
        raise _error(name, path, "is not the private key of the certificate")


def _names(leaf: x509.Certificate) -> frozenset[str]:
    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return frozenset()
    addresses = map(str, found.get_values_for_type(x509.IPAddress))
    return frozenset([*found.get_values_for_type(x509.DNSName), *addresses])


def _host(config: Api) -> str:
    """What it listens on, written as in a certificate, which knows no scopes (`%eth0`)."""
    host = config.listen.rpartition(":")[0].strip("[]").partition("%")[0]
    with suppress(ValueError):
        return str(ip_address(host))
    return host


def _own_names(host: str) -> list[str]:
    """What clients may call this server; the first one is its common name."""
    machine = socket.gethostname()
    listening = [] if _is_wildcard(host) else [host]
    named = [machine] if _DNS.fullmatch(machine) and len(machine) < 254 else []
    return list(dict.fromkeys([*listening, *named, *_LOCAL]))


def _is_wildcard(host: str) -> bool:
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _is_due(loaded: Loaded, now: datetime) -> bool:
    """Whether it is old, or made under a clock that was ahead."""
    return not loaded.not_before <= now <= loaded.not_after - RENEW_BEFORE


def _write(path: Path, text: bytes) -> None:
    """Replace the file as a whole; it holds a key, so it is for nobody else."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(fd)
    fresh.replace(path)

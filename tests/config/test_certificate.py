"""Certificates on disk: what is taken, what is refused in which words, what is made here."""

import os
import re
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.certificate import LIFETIME, RENEW_BEFORE, Certificate, kept, read, self_signed
from config.schema import SELF_SIGNED, Api, ConfigError

NOW = datetime.now(UTC).replace(microsecond=0)
KEY = re.compile(rb"-----BEGIN PRIVATE KEY-----.*?-----END PRIVATE KEY-----\n", re.DOTALL)
DAY = timedelta(days=1)
MADE_HERE = Api(listen="127.0.0.1:0", certificate=SELF_SIGNED)


def halves(pem: bytes) -> tuple[bytes, bytes]:
    """Key and certificate."""
    found = KEY.search(pem)
    assert found
    return found[0], pem.replace(found[0], b"")


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> ssl.SSLObject:
    """The client's side, once both agree. Raises ssl.SSLError."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = client.wrap_bio(back, there, server_hostname=name)
    ours = server.wrap_bio(there, back, server_side=True)
    for _ in range(5):
        for side in (theirs, ours):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert theirs.cipher()
    return theirs


def shown(certificate: Certificate) -> bytes:
    """What a client gets to see, in DER."""
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    found = handshake(certificate.context, trusting, "localhost").getpeercert(binary_form=True)
    assert found
    return found


def der(pem: bytes) -> bytes:
    return x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)


def put(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def complaint(certificate: Path, key: Path | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        read(certificate, key)
    said = str(caught.value)
    assert len(said.splitlines()) == 1
    return said


def test_one_file_or_two(tmp_path: Path) -> None:
    pem = self_signed("127.0.0.1", NOW)
    key, leaf = halves(pem)
    above = halves(self_signed("127.0.0.2", NOW))[1]
    for loaded in (
        read(put(tmp_path / "both.pem", pem)),
        read(put(tmp_path / "turned.pem", leaf + key)),
        read(put(tmp_path / "chain.pem", leaf + above), put(tmp_path / "key.pem", key)),
    ):
        assert "127.0.0.1" in loaded.names and "127.0.0.2" not in loaded.names
        assert loaded.not_before == NOW - timedelta(hours=1)
        assert loaded.not_after == loaded.not_before + LIFETIME
        assert loaded.context.minimum_version == ssl.TLSVersion.TLSv1_2
        for option in (ssl.OP_NO_COMPRESSION, ssl.OP_NO_RENEGOTIATION):
            assert loaded.context.options & option


def test_keys_of_older_forms(tmp_path: Path) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "old")])
    leaf = (
        x509.CertificateBuilder(name, name, private.public_key(), 1, NOW, NOW + DAY)
        .sign(private, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    key = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    assert key.startswith(b"-----BEGIN EC PRIVATE KEY-----")
    parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    loaded = read(put(tmp_path / "old.pem", parameters + key + leaf))
    assert loaded.names == frozenset()


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    key, leaf = halves(self_signed("127.0.0.1", NOW))
    good, none = put(tmp_path / "leaf.pem", leaf), tmp_path / "none.pem"
    assert complaint(none) == f"api.certificate: {none}: no such file"
    assert complaint(good, none) == f"api.key: {none}: no such file"
    assert complaint(tmp_path) == f"api.certificate: {tmp_path}: Is a directory"
    assert complaint(good, tmp_path) == f"api.key: {tmp_path}: Is a directory"
    for text in (b"", b"certificate", key, ssl.PEM_cert_to_DER_cert(leaf.decode())):
        bad = put(tmp_path / "bad.pem", text)
        assert complaint(bad) == f"api.certificate: {bad}: holds no certificate in PEM"
    cut = put(tmp_path / "cut.pem", leaf[: len(leaf) // 2])
    assert complaint(cut) == f"api.certificate: {cut}: holds no certificate in PEM"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_is_for_others_is_named(tmp_path: Path) -> None:
    hidden = put(tmp_path / "hidden.pem", self_signed("127.0.0.1", NOW))
    hidden.chmod(0)
    assert complaint(hidden) == f"api.certificate: {hidden}: Permission denied"


def test_a_key_that_does_not_fit_is_named(tmp_path: Path) -> None:
    key, leaf = halves(self_signed("127.0.0.1", NOW))
    other = halves(self_signed("127.0.0.1", NOW))[0]
    alone = put(tmp_path / "leaf.pem", leaf)
    assert complaint(alone) == f"api.certificate: {alone}: holds no private key in PEM"
    assert complaint(alone, alone) == f"api.key: {alone}: holds no private key in PEM"
    wrong = put(tmp_path / "wrong.pem", other)
    assert complaint(alone, wrong) == f"api.key: {wrong}: is not the private key of the certificate"
    lines = key.splitlines()
    broken = put(tmp_path / "broken.pem", b"\n".join([lines[0], lines[1][::-1], *lines[2:]]))
    assert complaint(alone, broken) == f"api.key: {broken}: holds no private key that can be read"


def test_an_encrypted_key_is_named_and_nobody_asked_for_its_password(tmp_path: Path) -> None:
    key, leaf = halves(self_signed("127.0.0.1", NOW))
    private = serialization.load_pem_private_key(key, None)
    locked = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    path = put(tmp_path / "locked.pem", leaf + locked)
    assert complaint(path).startswith(f"api.certificate: {path}: the private key is encrypted")


def test_what_openssl_finds_too_weak_is_named(tmp_path: Path) -> None:
    private = rsa.generate_private_key(65537, 1024)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "weak")])
    leaf = x509.CertificateBuilder(name, name, private.public_key(), 1, NOW, NOW + DAY)
    key = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    pem = leaf.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    path = put(tmp_path / "weak.pem", pem + key)
    assert complaint(path) == f"api.certificate: {path}: OpenSSL refuses it: EE_KEY_TOO_SMALL"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=100), st.integers(0, 1500), st.integers(0, 20))
def test_any_file_is_a_certificate_or_one_line(
    tmp_path: Path, rubbish: bytes, at: int, cut: int
) -> None:
    pem = self_signed("127.0.0.1", NOW)
    path = put(tmp_path / "any.pem", pem[:at] + rubbish + pem[at + cut :])
    try:
        read(path)
    except ConfigError as error:
        assert str(error).startswith(f"api.certificate: {path}: ")
        assert len(str(error).splitlines()) == 1


def test_one_that_has_ended_is_taken_but_not_valid(tmp_path: Path) -> None:
    path = put(tmp_path / "old.pem", self_signed("127.0.0.1", NOW - LIFETIME))
    old = Certificate(Api(certificate=str(path)), tmp_path, NOW)
    assert not old.is_valid(NOW)
    assert old.is_valid(NOW - DAY) and not old.is_valid(NOW - LIFETIME - DAY)
    assert old.not_after == NOW - timedelta(hours=1)
    assert not old.renew(NOW) and not kept(tmp_path).exists()


def test_one_made_here_is_kept_for_the_next_start(tmp_path: Path) -> None:
    first = Certificate(MADE_HERE, tmp_path, NOW)
    file = kept(tmp_path)
    text = file.read_bytes()
    assert file.name == ".certificate.pem" and file.stat().st_mode & 0o777 == 0o600
    assert first.is_valid(NOW) and first.not_after > NOW + timedelta(days=824)
    again = Certificate(MADE_HERE, tmp_path, NOW + timedelta(days=700))
    assert file.read_bytes() == text
    assert shown(again) == shown(first) == der(halves(text)[1])
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:0", "localhost:0", "192.0.2.7:443"])
def test_clients_that_trust_it_accept_it_by_every_name(tmp_path: Path, listen: str) -> None:
    certificate = Certificate(Api(listen=listen, certificate=SELF_SIGNED), tmp_path, NOW)
    trusting = ssl.create_default_context(cafile=kept(tmp_path))
    trusting.verify_flags |= ssl.VERIFY_X509_STRICT
    host = listen.rpartition(":")[0].strip("[]")
    for name in {host, "localhost", "127.0.0.1", "::1", socket.gethostname()}:
        assert handshake(certificate.context, trusting, name).version() == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(certificate.context, trusting, "198.51.100.1")


@pytest.mark.parametrize(
    ("made_for", "made", "listen", "stays"),
    [
        ("127.0.0.1", NOW, "127.0.0.1:0", True),
        ("192.0.2.7", NOW, "127.0.0.1:0", True),
        ("192.0.2.7", NOW, "localhost:0", True),
        ("192.0.2.7", NOW, "0.0.0.0:0", True),
        ("192.0.2.7", NOW, "[::]:0", True),
        ("fe80::1", NOW, "[fe80:0::0:1%lo]:0", True),
        ("192.0.2.7", NOW, "192.0.2.8:0", False),
        ("127.0.0.1", NOW - LIFETIME + RENEW_BEFORE + DAY, "127.0.0.1:0", True),
        ("127.0.0.1", NOW - LIFETIME + RENEW_BEFORE - DAY, "127.0.0.1:0", False),
        ("127.0.0.1", NOW - LIFETIME - DAY, "127.0.0.1:0", False),
        ("127.0.0.1", NOW + DAY, "127.0.0.1:0", False),
    ],
)
def test_when_it_is_made_anew(
    tmp_path: Path, made_for: str, made: datetime, listen: str, stays: bool
) -> None:
    before = self_signed(made_for, made)
    put(kept(tmp_path), before)
    certificate = Certificate(Api(listen=listen, certificate=SELF_SIGNED), tmp_path, NOW)
    assert (kept(tmp_path).read_bytes() == before) is stays
    assert certificate.is_valid(NOW + RENEW_BEFORE)


def test_a_wildcard_is_no_name(tmp_path: Path) -> None:
    Certificate(Api(listen="0.0.0.0:0", certificate=SELF_SIGNED), tmp_path, NOW)
    names = read(kept(tmp_path)).names
    assert "0.0.0.0" not in names and {"localhost", "127.0.0.1", "::1"} <= names


@pytest.mark.parametrize("damaged", [b"", b"rubbish", self_signed("127.0.0.1", NOW)[:300]])
def test_a_damaged_one_is_made_anew(tmp_path: Path, damaged: bytes) -> None:
    put(kept(tmp_path), damaged)
    put(tmp_path / ".certificate.pem.new", b"of a start that was cut off")
    assert Certificate(MADE_HERE, tmp_path, NOW).is_valid(NOW)
    assert kept(tmp_path).stat().st_mode & 0o777 == 0o600


def test_without_its_folder_there_is_none(tmp_path: Path) -> None:
    folder = tmp_path / "none"
    with pytest.raises(ConfigError) as caught:
        Certificate(MADE_HERE, folder, NOW)
    said = f"api.certificate: {folder}/.certificate.pem: No such file or directory"
    assert str(caught.value) == said


def test_a_renewed_file_is_taken_over(tmp_path: Path) -> None:
    pems = [self_signed("127.0.0.1", NOW - timedelta(days=past)) for past in (500, 0)]
    path = put(tmp_path / "both.pem", pems[0])
    certificate = Certificate(Api(certificate=str(path)), tmp_path, NOW)
    before = certificate.context
    assert not certificate.renew(NOW) and certificate.context is before
    put(tmp_path / "fresh.pem", pems[1]).replace(path)
    assert certificate.renew(NOW)
    assert shown(certificate) == der(halves(pems[1])[1])
    assert certificate.not_after == NOW - timedelta(hours=1) + LIFETIME
    assert not certificate.renew(NOW)


def test_a_file_written_in_place_is_taken_over(tmp_path: Path) -> None:
    path = put(tmp_path / "both.pem", self_signed("127.0.0.1", NOW))
    certificate = Certificate(Api(certificate=str(path)), tmp_path, NOW)
    pem = self_signed("127.0.0.1", NOW)
    put(path, pem)
    os.utime(path, ns=(1, 1))
    assert certificate.renew(NOW)
    assert shown(certificate) == der(halves(pem)[1])


def test_a_broken_file_is_refused_once_and_the_one_before_stays(tmp_path: Path) -> None:
    (key, leaf), (next_key, next_leaf) = (halves(self_signed("::1", NOW)) for _ in range(2))
    leaf_path, key_path = put(tmp_path / "leaf.pem", leaf), put(tmp_path / "key.pem", key)
    config = Api(certificate=str(leaf_path), key=str(key_path))
    certificate = Certificate(config, tmp_path, NOW)
    put(key_path, b"")
    for fault in ("holds no private key", "no such file"):
        with pytest.raises(ConfigError, match=fault):
            certificate.renew(NOW)
        assert not certificate.renew(NOW)
        assert shown(certificate) == der(leaf)
        key_path.unlink(missing_ok=True)
    put(key_path, next_key)
    with pytest.raises(ConfigError, match="is not the private key of the certificate"):
        certificate.renew(NOW)
    put(leaf_path, next_leaf + b"\n")
    assert certificate.renew(NOW)
    assert shown(certificate) == der(next_leaf)


def test_one_made_here_is_renewed_while_it_is_in_use(tmp_path: Path) -> None:
    certificate = Certificate(MADE_HERE, tmp_path, NOW)
    first = shown(certificate)
    assert not certificate.renew(certificate.not_after - RENEW_BEFORE)
    later = certificate.not_after - RENEW_BEFORE + timedelta(seconds=1)
    assert certificate.renew(later)
    assert shown(certificate) != first and certificate.not_after > later + timedelta(days=800)
    assert not certificate.renew(later)

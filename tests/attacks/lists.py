"""What attackers send, whatever the dialect: names, texts, tokens, bodies, requests that are none.

Each list is plain data. Where an attack needs to know what is attacked it is a function of that.
"""

import gzip
import zlib
from collections.abc import Iterator
from urllib.parse import quote

NAMES: tuple[str, ...] = (
    "../x",
    "../../../../../../tmp/x",
    "/etc/x",
    "/tmp/x.wav",
    "..",
    ".",
    "./x",
    "a/../../x",
    "..%2fx",
    "..%252fx",
    "%2e%2e%2fx",
    "%252e%252e%252fx",
    "..\\x",
    "..\\..\\x.wav",
    "C:\\x.wav",
    "\\\\host\\share\\x",
    "x\0.wav",
    "x\0",
    "\uff0e\uff0e\uff0fx",  # full-width dots and slash
    "\uff0e\uff0e/x",
    "\u2025/x",
    "..\u2215x",
    "..\u2044x",
    "x\n",
    "x\r\nSet-Cookie: a=b",
    "x\nx",
    "-i",
    "--output=/tmp/x",
    "~",
    "~root/x",
    "$HOME/x",
    "$(touch /tmp/x)",
    "`touch /tmp/x`",
    "| touch x",
    "; touch x",
    "x" * 300,
    "\U0001f600" * 150,
    "x.",
    "x ",
    " x",
    ".x",
    "CON",
    "nul.wav",
    "x:stream",
    "x\u202egpj.wav",
    "x\u200b/../y",
    "file:///etc/passwd",
    "http://127.0.0.1/x",
)
"""Names of files, calls, streams and people that are to lead somewhere else."""

SQL: tuple[str, ...] = (
    "'",
    '"',
    "''",
    "' OR '1'='1",
    "' OR 1=1 --",
    '" OR ""="',
    "1; DROP TABLE recordings; --",
    "'; DELETE FROM recordings; --",
    "' UNION SELECT token FROM api_keys --",
    "x' AND (SELECT count(*) FROM sqlite_master) > 0 --",
    "%",
    "_",
    "%%",
    "[a-z]",
    "*",
    "\\",
    "\\'",
    "x\\",
    "NULL",
    "0x27",
    "\u02bc OR 1=1",
    "\uff07 OR 1=1",
    "CASE WHEN 1 THEN 1 ELSE 1/0 END",
    ":account",
    "?1",
    "$1",
    "{0}",
    "%(x)s",
)
"""Texts that are to be read as part of a query to a database."""

SCRIPTS: tuple[str, ...] = (
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'\"><svg/onload=alert(1)>",
    "javascript:alert(1)",
    "<!--<script>",
    "]]><script>alert(1)</script>",
    "{{7*7}}${7*7}<%= 7*7 %>",
    "&lt;script&gt;",
    "\u2028alert(1)\u2029",
)
"""Texts that are to be run in the browser of who reads them."""

LINES: tuple[str, ...] = (
    'x\r\nX-Injected: yes\r\n\r\n{"a":1}',
    'x\n{"event":"forged","level":"info"}',
    "x\rforged",
    "\x1b[2J\x1b[31mred\x1b[0m",
    "\x9b31m",
    "\x08\x08\x7f",
    'x", "event": "forged',
    "x\u2028forged\u2029",
    "x\u0085forged",
    "\u202edegrof",
    "\\u000aforged",
    "%0d%0aX-Injected:%20yes",
)
"""Texts that are to end a header or a line of the log, or to move the cursor of who reads it."""

FIELDS: tuple[str, ...] = (
    "tenant",
    "role",
    "path",
    "key",
    "checksum",
    "sha256",
    "deleted",
    "deleting",
    "retention",
    "retention_days",
    "account",
    "route",
    "id",
    "number",
    "status",
    "files",
    "history",
    "permissions",
    "rights",
    "actor",
    "created_at",
    "is_admin",
    "__class__",
    "__proto__",
    "constructor",
)
"""Names of what nobody may set who was not asked for it."""


def tokens_near(token: str) -> tuple[str, ...]:
    """What resembles a good token and is none; all of it can stand in a header."""
    return (
        token[:-1],
        token[1:],
        token[: len(token) // 2],
        token + "A",
        token + token,
        "A" + token,
        token.swapcase(),
        token.upper(),
        token[::-1],
        quote(token[:-1]) + f"%{ord(token[-1]):02x}",
        f'"{token}"',
        f"{token},{token}",
        f"{token} {token}",
        f"Bearer {token}",
        token + "\t.",
        "null",
        "undefined",
        "None",
        "true",
        "0",
        "*",
        "%",
        "' OR '1'='1",
        "x" * 4000,
    )


def tokens_alike(token: str) -> tuple[str, ...]:
    """Other characters of the same look or value; a header carries them as UTF-8."""
    wide = str.maketrans({str(digit): chr(0xFF10 + digit) for digit in range(10)})
    arabic = str.maketrans({str(digit): chr(0x0660 + digit) for digit in range(10)})
    letters = str.maketrans({"a": "\u0430", "e": "\u0435", "o": "\u043e", "s": "\uff53"})
    changed = (token.translate(table) for table in (wide, arabic, letters))
    longer = (token + "\u200b", token + "\u0301", "\ufeff" + token)
    return (*(each for each in changed if each != token), *longer)


def passwords_near(password: str) -> tuple[str, ...]:
    """What resembles a password and is not it; at most nine, fewer than lock a user."""
    return (
        password[:-1],
        password + " ",
        " " + password,
        password.upper(),
        password + "\0",
        password.replace("o", "\u043e"),
        password.encode().hex(),
        password * 2,
        "' OR '1'='1",
    )


def bodies() -> Iterator[tuple[str, bytes, dict[str, str]]]:
    """Bodies nobody can mean, below 64 KiB: what it is, its octets, its headers."""
    zeros = bytes(50_000_000)
    kind = {"Content-Type": "application/json"}
    yield "gzip bomb", gzip.compress(zeros, 9), {**kind, "Content-Encoding": "gzip"}
    yield "deflate bomb", zlib.compress(zeros, 9), {**kind, "Content-Encoding": "deflate"}
    yield (
        "br by name",
        b"\xcf\xff\xff\x7f\xf8'\x00\xe2\xb1@\x1e",
        {**kind, "Content-Encoding": "br"},
    )
    yield "gzip of JSON", gzip.compress(b"{}"), {**kind, "Content-Encoding": "gzip"}
    yield "unknown coding", b"\x00{}", {**kind, "Content-Encoding": "x-made-up"}
    yield "deep lists", b'{"a":' + b"[" * 60_000, kind
    yield "deep lists, closed", b'{"a":' + b"[" * 30_000 + b"]" * 30_000 + b"}", kind
    yield "deep objects", b'{"a":' * 12_000 + b"1" + b"}" * 12_000, kind
    yield "long integer", b'{"a":' + b"9" * 60_000 + b"}", kind
    yield "long fraction", b'{"a":0.' + b"9" * 60_000 + b"}", kind
    yield "long exponent", b'{"a":1e' + b"9" * 60_000 + b"}", kind
    yield "NaN", b'{"a":NaN}', kind
    yield "Infinity", b'{"a":-Infinity}', kind
    yield "same key twice", b'{"reason":"a","reason":"b"}', kind
    yield "same key, escaped", b'{"reason":"a","\\u0072eason":"b"}', kind
    yield "many keys", b"{" + b",".join(b'"%d":0' % n for n in range(6_000)) + b"}", kind
    yield "half a surrogate", b'{"reason":"\\ud800"}', kind
    yield "not UTF-8", b'{"reason":"\xff"}', kind
    yield "UTF-16", '{"reason":"a"}'.encode("utf-16"), kind
    yield "with a mark", b"\xef\xbb\xbf{}", kind
    yield "with a comment", b"{}//", kind
    yield "two objects", b"{}{}", kind
    yield "a list", b"[]", kind
    yield "null", b"null", kind
    yield "NUL", b"\0", kind
    yield "XML", b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>', kind
    yield "as XML", b"<a/>", {"Content-Type": "application/xml"}
    yield "as a form", b"reason=a", {"Content-Type": "application/x-www-form-urlencoded"}
    yield "as multipart", b"--x--\r\n", {"Content-Type": "multipart/form-data; boundary=x"}
    yield "as text", b"{}", {"Content-Type": "text/plain"}
    yield "as two types", b"{}", {"Content-Type": "text/plain, application/json"}


def smuggled(path: str, hidden: str) -> Iterator[tuple[str, bytes]]:
    """Requests for `path` with a second reading, in which `hidden` is asked for.

    What it is, and the octets. All of them are to be refused, and `hidden` never served.
    """
    inner = f"GET {hidden} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    chunked = b"0\r\n\r\n" + inner

    def post(headers: str, body: bytes, version: str = "1.1") -> bytes:
        return f"POST {path} HTTP/{version}\r\nHost: x\r\n{headers}\r\n".encode() + body

    coded = "Transfer-Encoding: chunked\r\n"
    length = len(chunked)
    yield "CL and TE", post(f"Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n", chunked)
    yield "TE and CL", post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", chunked)
    for number, coding in enumerate(
        (
            "xchunked",
            "chunked, identity",
            "chunked, chunked",
            "identity",
            "gzip",
            "\x0bchunked",
            "chun\x00ked",
            "chunked;q=1",
            '"chunked"',
        )
    ):
        yield f"TE no {number}", post(f"Transfer-Encoding: {coding}\r\n", chunked)
    yield "TE before a colon", post("Transfer-Encoding : chunked\r\n", chunked)
    yield "TE folded", post("Transfer-Encoding:\r\n chunked\r\n", chunked)
    yield "TE twice", post("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", chunked)
    yield "TE of 1.0", post(coded, chunked, "1.0")
    yield "two CL", post(f"Content-Length: 0\r\nContent-Length: {len(inner)}\r\n", inner)
    yield "two CL in one", post(f"Content-Length: 0, {len(inner)}\r\n", inner)
    for number, text in enumerate(("-1", "+0", "0x0", "0_0", "0.0", "\u0660", "", "1e1", "9" * 40)):
        yield f"CL no {number}", post(f"Content-Length: {text}\r\n", inner)
    yield "bare LF", post("X: y\nContent-Length: 0\r\n", inner)
    yield "bare LF at the end", f"GET {path} HTTP/1.1\nHost: x\n\n".encode() + inner
    yield "bare CR", post("X: y\rContent-Length: 0\r\n", inner)
    yield "NUL in a header", post("X: y\x00\r\n", inner)
    yield "space in a name", post("X Y: z\r\n", inner)
    yield "no name", post(": z\r\n", inner)
    yield "first header folded", f"POST {path} HTTP/1.1\r\n Host: x\r\n\r\n".encode() + inner
    yield "chunk size no number", post(coded, b"0x0\r\n\r\n" + inner)
    yield "chunk size negative", post(coded, b"-0\r\n\r\n" + inner)
    yield (
        "chunk size of 17 digits",
        post(coded, b"1" + b"0" * 16 + b"\r\n\r\n" + inner),
    )
    yield (
        "chunk without its CRLF",
        post(coded, b"1\r\nAB0\r\n\r\n" + inner),
    )
    yield "chunk lines by LF", post(coded, b"0\n\n" + inner)
    yield "chunk extension with LF", post(coded, b"0;\n\r\n\r\n" + inner)
    yield "no version", f"GET {path}\r\nHost: x\r\n\r\n".encode() + inner
    yield "version 2", f"GET {path} HTTP/2.0\r\nHost: x\r\n\r\n".encode() + inner
    yield "space in the target", f"GET {path} x HTTP/1.1\r\nHost: x\r\n\r\n".encode() + inner
    yield "HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + inner
    yield "TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64) + inner


def oversized(path: str) -> Iterator[tuple[str, bytes]]:
    """Requests for `path` that never end, or take long to read: what it is, and the octets."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\n".encode()
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n"
    yield "100,000 headers", head + b"".join(b"X%d: y\r\n" % n for n in range(100_000)) + b"\r\n"
    yield "100,000 of one", head + b"X: y\r\n" * 100_000 + b"\r\n"
    yield "a header of 1 MB", head + b"X: " + b"y" * 1_000_000 + b"\r\n\r\n"
    yield "a name of 1 MB", head + b"X" * 1_000_000 + b": y\r\n\r\n"
    yield "a target of 1 MB", b"GET /" + b"x" * 1_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"
    yield "a method of 1 MB", b"X" * 1_000_000 + b" / HTTP/1.1\r\nHost: x\r\n\r\n"
    yield "100,000 trailers", chunked + b"0\r\n" + b"X: y\r\n" * 100_000 + b"\r\n"
    yield "a trailer of 1 MB", chunked + b"0\r\nX: " + b"y" * 1_000_000 + b"\r\n\r\n"
    yield "100,000 chunks", chunked + b"1\r\n \r\n" * 100_000 + b"0\r\n\r\n"
    yield "a chunk extension of 1 MB", chunked + b"0;" + b"a" * 1_000_000 + b"\r\n\r\n"
    yield "a body said to be 1 TB", head + b"Content-Length: 1099511627776\r\n\r\n{"
    yield "a body of 1 MB", head + b"Content-Length: 1000000\r\n\r\n" + b" " * 1_000_000

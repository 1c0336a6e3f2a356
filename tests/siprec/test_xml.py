import codecs
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from siprec.xml import MAX_BYTES, MAX_ELEMENTS, XmlError, read

NAME = "<name>Zoë</name>"


def test_text_is_decoded_as_declared_or_else_utf_8() -> None:
    for declaration, encoding in (
        ("", "utf-8"),
        ('<?xml version="1.0"?>', "utf-8"),
        ('<?xml version="1.0" encoding="UTF-8"?>', "utf-8"),
        ("<?xml version='1.0' encoding='ISO-8859-1'?>", "latin-1"),
        ('<?xml version="1.0" encoding="windows-1252"?>', "cp1252"),
    ):
        root, repairs = read((declaration + NAME).encode(encoding))
        assert (root.text, repairs) == ("Zoë", ())


def test_the_charset_of_the_part_goes_before_the_declaration() -> None:
    declared = f'<?xml version="1.0" encoding="UTF-8"?>{NAME}'
    assert read(declared.encode("latin-1"), "ISO-8859-1")[0].text == "Zoë"
    euro = '<?xml version="1.0" encoding="ISO-8859-1"?><name>€</name>'
    assert read(euro.encode("cp1252"), "Windows-1252")[0].text == "€"
    assert read(declared.encode(), "klingon")[0].text == "Zoë"


@pytest.mark.parametrize("mark", [codecs.BOM_UTF8, b" \r\n" + codecs.BOM_UTF8, b"\r\n\t \0"])
def test_what_stands_before_the_declaration_is_stripped(mark: bytes) -> None:
    document = mark + f'<?xml version="1.0"?>{NAME}\0\r\n'.encode()
    assert read(document, "latin-1" if codecs.BOM_UTF8 in mark else None)[1] == ()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_known_by_its_mark(encoding: str) -> None:
    text = NAME if encoding == "utf-16" else "\ufeff" + NAME
    assert read(text.encode(encoding))[0].text == "Zoë"


def test_bytes_that_do_not_decode_are_latin_1() -> None:
    root, repairs = read(b"<?xml version='1.0' encoding='utf-8'?><name>Zo\xeb</name>")
    assert (root.text, repairs) == ("Zoë", ("charset_invalid",))
    assert read(NAME.encode(), "us-ascii")[1] == ("charset_invalid",)


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (b"<a>Bob & Co</a>", "Bob & Co"),
        (b"<a>&amp;&#38;&#x26;&nbsp;&;</a>", "&&&&nbsp;&;"),
        (b'<a b="x&y">R&D</a>', "R&D"),
        (b"<a>cut", "cut"),
    ],
)
def test_damage_is_repaired_and_said(document: bytes, text: str) -> None:
    root, repairs = read(document)
    assert (root.text, repairs) == (text, ("metadata_recovered",))


@pytest.mark.parametrize("document", [b"", b"hello", b"<", b"<?xml version='1.0'?>", b"& < >"])
def test_what_is_no_xml_is_refused(document: bytes) -> None:
    with pytest.raises(XmlError, match="not XML"):
        read(document)


def test_document_types_are_refused_in_every_encoding(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("seen")
    attacks = (
        f'<!DOCTYPE a [<!ENTITY x SYSTEM "{secret.as_uri()}">]><a>&x;</a>',
        '<!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd"><a/>',
        '<!DOCTYPE a [<!ENTITY % p SYSTEM "http://127.0.0.1:9/p">%p;]><a/>',
        '<!DOCTYPE a [<!ENTITY l "lol"><!ENTITY m "&l;&l;&l;">]><a>&m;</a>',
    )
    for attack in attacks:
        for encoding in ("utf-8", "utf-16"):
            with pytest.raises(XmlError, match="document type"):
                read(attack.encode(encoding))


def test_inclusions_and_instructions_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("seen")
    root, _ = read(
        f"<?xml-stylesheet href='{secret.as_uri()}'?><a xmlns:xi='http://www.w3.org/2001/XInclude'>"
        f"<xi:include parse='text' href='{secret.as_uri()}'/><!-- x --></a>".encode()
    )
    assert "seen" not in "".join(map(str, root.itertext()))
    assert len(root) == 1


def test_limits() -> None:
    assert len(read(b"<a>" + b"<b/>" * (MAX_ELEMENTS - 1) + b"</a>")[0]) == MAX_ELEMENTS - 1
    for document, reason in (
        (b"<a>" + b"<b/>" * MAX_ELEMENTS + b"</a>", "more than 2048 elements"),
        (b"<a/>".ljust(MAX_BYTES + 1), "at most 262144"),
        (b"<a>" + b"&" * 2000 + b"</a>", "1024 ampersands"),
    ):
        with pytest.raises(XmlError, match=reason):
            read(document)


@pytest.mark.parametrize(
    "document",
    [
        b"<a>" * 80_000,
        b"<a " + b" ".join(b"x%d='1'" % n for n in range(20_000)) + b"/>",
        b"<a " + b" ".join(b"xmlns:x%d='u:%d'" % (n, n) for n in range(10_000)) + b"/>",
        b"<a x='" + b"y" * 260_000 + b"'/>",
        b"<?xml " + b"e" * 260_000,
        b" " * 260_000 + b"<",
    ],
    ids=["depth", "attributes", "namespaces", "value", "declaration", "space"],
)
def test_large_shapes_are_read_or_refused(document: bytes) -> None:
    try:
        root, _ = read(document)
    except XmlError:
        return
    assert sum(1 for _ in root.iter()) <= MAX_ELEMENTS


FRAGMENTS = st.sampled_from(
    b"<a>|</a>|<b x='|'/>|&|&#0;|&x;|<![CDATA[|]]>|<!--|<?xml version='1.0' encoding='|'?>"
    b"|utf-16|\xff\xfe|\0|xmlns:p='".split(b"|")
)


@settings(deadline=None)
@given(
    st.lists(FRAGMENTS | st.binary(max_size=5), max_size=40).map(b"".join),
    st.none() | st.text(max_size=12) | st.just("us-ascii"),
)
def test_any_bytes_are_read_or_refused(data: bytes, charset: str | None) -> None:
    for document in (data, b"<a>" + data + b"</a>"):
        try:
            read(document, charset)
        except XmlError as error:
            assert str(error)

"""Extension data from XML: names, values, bounds."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from siprec.extensions import MAX_NAME, MAX_NAMES, MAX_VALUE, MAX_VALUES, read

NAMESPACES = 'xmlns="urn:example:plain" xmlns:a="urn:example:a" xmlns:b="urn:example:b"'


A_ID = ("A-Id", ("1", "2"))
B_Y = ("b:y", ("2",))


def found(inner: str, excess: bool = False) -> list[tuple[str, tuple[str, ...]]]:
    element = etree.fromstring(f"<extensiondata {NAMESPACES}>{inner}</extensiondata>")
    kept, more = read([element])
    assert more is excess
    return [(extension.name, extension.values) for extension in kept]


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        ("<a:realm>core</a:realm>", [("a:realm", ("core",))]),
        ("<realm>core</realm>", [("realm", ("core",))]),
        ('<realm xmlns="">core</realm>', [("realm", ("core",))]),
        ("<a:in-realm>x</a:in-realm>", [("a:in-realm", ("x",))]),
        ("<a:Realm>CORE</a:Realm>", [("a:Realm", ("CORE",))]),
        ("<a:ucid>00FA;encoding=hex</a:ucid>", [("a:ucid", ("00FA;encoding=hex",))]),
        ("<a:x>\n a  b\t</a:x>", [("a:x", ("a  b",))]),
        ("<a:x>&lt;sip:a@b&gt;;c=&quot;d&quot;</a:x>", [("a:x", ('<sip:a@b>;c="d"',))]),
        ("<a:x><![CDATA[<b>&]]></a:x>", [("a:x", ("<b>&",))]),
        ("<a:x>1</a:x><b:x>2</b:x>", [("a:x", ("1",)), ("b:x", ("2",))]),
        ("<a:x>1</a:x><b:y>2</b:y><a:x>3</a:x>", [("a:x", ("1", "3")), ("b:y", ("2",))]),
        ("<a:x>1</a:x><a:x>1</a:x>", [("a:x", ("1", "1"))]),
        ('<a:x>1</a:x><a:x xmlns:a="urn:example:b">2</a:x>', [("a:x", ("1", "2"))]),
        ("<a:x/><a:y> </a:y><a:z></a:z>", []),
        ('<a:x id="7" type="t"/>', []),
        ('<a:x version="7"><a:y>1</a:y></a:x>', [("a:y", ("1",))]),
        (
            '<b:callData version=" 3.0 "><a:y>1</a:y></b:callData>',
            [("schemaVersion", ("3.0",)), ("a:y", ("1",))],
        ),
        ('<callData a:schemaVersion="1"><a:y/></callData>', [("schemaVersion", ("1",))]),
        ('<callData version=""><a:y/></callData>', []),
        ('<a:x id="7">1</a:x>', [("a:x", ("1",))]),
        ("<a:x>mix<b:y><b:z>1</b:z>ed</b:y><c>2</c></a:x>", [("b:z", ("1",)), ("c", ("2",))]),
        ("<a:data><value>1</value><value>2</value></a:data>", [("value", ("1", "2"))]),
        ("plain text", [("extensiondata", ("plain text",))]),
    ],
)
def test_names_and_values(inner: str, expected: list[tuple[str, tuple[str, ...]]]) -> None:
    assert found(inner) == expected


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        ('<a:header label="A-Id"><value>1</value><value>2</value></a:header>', [A_ID]),
        ('<a:header label=" X "><a:value>1</a:value></a:header>', [("X", ("1",))]),
        ('<header label="X"><value>1</value></header>', [("X", ("1",))]),
        ('<a:Header label="X"><Value>1</Value></a:Header>', [("X", ("1",))]),
        ('<a:header label="X">1</a:header>', [("X", ("1",))]),
        ('<a:header label="X"><value/></a:header>', []),
        ('<a:header label="X"><value>1</value><b:y>2</b:y></a:header>', [("X", ("1",)), B_Y]),
        ('<a:header label=" ">1</a:header>', [("a:header", ("1",))]),
        ("<a:header><a:value>1</a:value></a:header>", [("a:value", ("1",))]),
        ('<a:other label="X">1</a:other>', [("a:other", ("1",))]),
        ('<header label="A-Id">1</header><b:header label="A-Id">2</b:header>', [A_ID]),
    ],
)
def test_sip_headers_go_by_their_label(
    inner: str, expected: list[tuple[str, tuple[str, ...]]]
) -> None:
    assert found(inner) == expected


def test_several_elements_are_read_in_order() -> None:
    root = etree.fromstring(
        f"<r {NAMESPACES}><a:x>1</a:x><extensiondata><b:y>2</b:y></extensiondata><a:x>3</a:x></r>"
    )
    kept, _ = read(root)
    assert [(each.name, each.values) for each in kept] == [("a:x", ("1", "3")), ("b:y", ("2",))]
    assert read([]) == ((), False)


def test_an_undeclared_prefix_is_one_all_the_same() -> None:
    text = '<e><a:ucid>1</a:ucid><a:header label="X"><a:value>2</a:value></a:header></e>'
    element = etree.fromstring(text, etree.XMLParser(recover=True))
    assert [(each.name, each.values) for each in read([element])[0]] == [
        ("a:ucid", ("1",)),
        ("X", ("2",)),
    ]


def test_as_many_names_are_kept_as_are_allowed() -> None:
    names = "".join(f"<a:n{number}>1</a:n{number}>" for number in range(MAX_NAMES))
    assert len(found(names)) == MAX_NAMES
    kept = found(names + "<a:more>1</a:more><a:n0>2</a:n0>", excess=True)
    assert (len(kept), kept[0]) == (MAX_NAMES, ("a:n0", ("1", "2")))


def test_as_many_values_are_kept_as_are_allowed() -> None:
    values = "".join(f"<a:x>{number}</a:x>" for number in range(MAX_VALUES))
    assert len(found(values)[0][1]) == MAX_VALUES
    kept = found(values + "<a:x>more</a:x><a:y>1</a:y>", excess=True)
    assert kept[0][1][-1] == str(MAX_VALUES - 1)
    assert kept[1] == ("a:y", ("1",))


def test_names_and_values_are_cut_at_their_bounds() -> None:
    name, value = "n" * MAX_NAME, "é" * MAX_VALUE
    assert found(f"<{name}>{value}</{name}>") == [(name, (value,))]
    assert found(f"<{name}x>{value}</{name}x>", excess=True) == [(name, (value,))]
    assert found(f"<{name}>{value}x</{name}>", excess=True) == [(name, (value,))]
    assert found(f'<header label="{name}x">1</header>', excess=True) == [(name, ("1",))]


NAMES = st.sampled_from(["a:x", "b:x", "x", "header", "a:header", "value", "a:value"])
TEXTS = st.sampled_from(["", " ", "1", "&lt;", "\n7\n"])


def _element(name: str, label: str | None, inner: list[str]) -> str:
    attribute = "" if label is None else f' label="{label}"'
    return f"<{name}{attribute}>{''.join(inner)}</{name}>"


TREES = st.recursive(
    TEXTS,
    lambda inner: st.builds(_element, NAMES, st.none() | TEXTS, st.lists(inner, max_size=4)),
    max_leaves=20,
)


@settings(deadline=None)
@given(st.lists(TREES, max_size=4).map("".join))
def test_every_leaf_with_text_is_one_value(inner: str) -> None:
    element = etree.fromstring(f"<e {NAMESPACES}>{inner}</e>")
    leaves = [leaf.text.strip() for leaf in element.iter() if not len(leaf) and leaf.text]
    values = [value for each in read([element])[0] for value in each.values]
    assert sorted(values) == sorted(filter(None, leaves))

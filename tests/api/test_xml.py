"""Trees as XML: what goes in is what a reader finds."""

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from api import xml

PROLOG = b'<?xml version="1.0" encoding="UTF-8"?>'
ODD = "\0\x01\x0b\x1f\t\n\r\x7f\x85<>&\"']]>\ud800\udfff\ufffe\uffff\ufffd\ufeff\u2028\U0001ffff💳"
TEXT = st.text(st.characters() | st.sampled_from(ODD), max_size=30)
NAMES = st.text("abcXYZ", min_size=1, max_size=8)
SCALARS = TEXT | st.integers() | st.booleans()


def _trees(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A dict of elements, or a list of dicts of one element each."""
    alone = st.builds(lambda name, value: {name: value}, NAMES, values)
    return st.dictionaries(NAMES, values, max_size=4) | st.lists(alone, max_size=4)


TREES = st.builds(
    lambda name, value: {name: value}, NAMES, st.recursive(SCALARS, _trees, max_leaves=20)
)


def test_a_tree_becomes_elements_in_its_order() -> None:
    tree = {
        "result": {
            "code": -1,
            "message": "ACK",
            "b": True,
            "a": False,
            "sets": [{"set": {"name": "n", "values": [{"value": "1"}, {"value": ""}]}}],
            "none": [],
            "nothing": {},
        }
    }
    assert xml.document(tree) == PROLOG + (
        b"<result><code>-1</code><message>ACK</message><b>true</b><a>false</a>"
        b"<sets><set><name>n</name><values><value>1</value><value/></values></set></sets>"
        b"<none/><nothing/></result>"
    )


def test_a_document_is_utf_8_and_leaves_quotes_alone() -> None:
    tree = {"message": 'Couldn\'t find "Ä" & <💳>'}
    expected = '<message>Couldn\'t find "Ä" &amp; &lt;💳&gt;</message>'
    assert xml.document(tree) == PROLOG + expected.encode()


def test_zero_is_a_value() -> None:
    assert xml.document({"code": 0}) == PROLOG + b"<code>0</code>"


@pytest.mark.parametrize("unfit", ["\0", "\x08", "\x0b", "\x1f", "\ud800", "\udfff", "\ufffe"])
def test_what_xml_cannot_carry_is_replaced(unfit: str) -> None:
    assert xml.escaped(f"a{unfit}b") == "a\ufffdb"


@pytest.mark.parametrize("fit", ["\t", "\n", "\x7f", "\x85", "\ufffd", "\ue000", "\U0010ffff"])
def test_what_xml_can_carry_stays(fit: str) -> None:
    assert xml.escaped(f"a{fit}b") == f"a{fit}b"


def test_quotes_are_escaped_for_attributes() -> None:
    assert xml.escaped("\"'<\r", quotes=True) == "&quot;&#x27;&lt;&#13;"


@given(TREES)
def test_whatever_a_tree_holds_is_read_back(tree: dict[str, Any]) -> None:
    ((name, value),) = tree.items()
    root = etree.fromstring(xml.document(tree))
    assert root.tag == name
    _same(root, value)


def _same(element: etree._Element, value: Any) -> None:
    """`element` holds `value` and nothing else."""
    if not isinstance(value, dict | list):
        text = str(value).lower() if isinstance(value, bool) else str(value)
        assert (element.text or "") == _sanitised(text)
        assert len(element) == 0
        return
    items = value if isinstance(value, list) else [{each: value[each]} for each in value]
    pairs = [pair for item in items for pair in item.items()]
    assert element.text is None
    assert [child.tag for child in element] == [name for name, _ in pairs]
    for child, (_, inner) in zip(element, pairs, strict=True):
        _same(child, inner)


def _sanitised(text: str) -> str:
    return re.sub("[\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]", "\ufffd", text)


@given(TEXT)
def test_any_text_stands_in_an_attribute(text: str) -> None:
    root = etree.fromstring(f'<a b="{xml.escaped(text, quotes=True)}"/>'.encode())
    # A line feed or tab in an attribute is read as a space (XML 1.0, 3.3.3).
    assert root.get("b") == re.sub("[\t\n]", " ", _sanitised(text))


def test_the_same_tree_is_json() -> None:
    tree = {"result": {"code": 0, "sets": [{"set": {"name": "n"}}], "none": [], "is": True}}
    assert msgspec.json.encode(tree) == (
        b'{"result":{"code":0,"sets":[{"set":{"name":"n"}}],"none":[],"is":true}}'
    )

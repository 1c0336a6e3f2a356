"""Placeholders: one pass, no logic, and nothing a caller says can be more than a value."""

from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from siprec.placeholders import (
    BRACES,
    DOLLAR,
    URL_LIMIT,
    VALUE_LIMIT,
    UnusableUrl,
    bounded,
    encoded,
    fill,
    fill_url,
    ip_address,
)

ANYTHING = st.text(
    st.characters() | st.sampled_from("\r\n\0\"'&=#?/\\%:@${}<>;, \ud800\u2028"), max_size=40
)


def test_each_placeholder_is_replaced_by_what_its_whole_name_stands_for() -> None:
    values = {"ucid": "U", "custom.Cost Centre": "7"}
    assert fill("a${ucid}b${custom.Cost Centre}${ucid}$", DOLLAR, values.__getitem__) == "aUb7U$"
    assert fill("{ip}/${ip}", BRACES, {"ip": "I"}.__getitem__) == "I/$I"


@pytest.mark.parametrize(
    "attack",
    [
        "${7*7}",
        "${ucid.__class__.__mro__}",
        "${0.__class__.__init__.__globals__}",
        "${ucid!r:>999999999}",
        "${ucid:>999999999}",
        "${}",
    ],
)
def test_what_is_no_name_is_looked_up_and_nothing_else(attack: str) -> None:
    asked: list[str] = []
    assert fill(attack, DOLLAR, lambda name: asked.append(name) or "") == ""  # type: ignore[func-returns-value]
    assert asked == [attack[2:-1]]


@pytest.mark.parametrize(
    "text", ["{{7*7}}", "%(x)999999999d", "{x:>999999999}", "$ucid", "${a{b}}"]
)
def test_what_is_no_placeholder_stays_as_it_is(text: str) -> None:
    assert "looked up" not in fill(text, DOLLAR, lambda _: "looked up")


def test_what_a_value_says_is_not_looked_into() -> None:
    assert fill("${a}", DOLLAR, {"a": "${a}${b}"}.__getitem__) == "${a}${b}"


def test_a_text_has_a_bound() -> None:
    assert len(fill("${a}" * 10, DOLLAR, lambda _: "x" * 1_000_000)) == 10 * VALUE_LIMIT
    assert bounded("\ud800") == "?"


@given(ANYTHING, ANYTHING)
def test_a_value_in_a_url_is_a_value_and_nothing_else(one: str, two: str) -> None:
    url = "https://x.example/calls/a${one}?q=${two}&r=1"
    assume("/" not in one and "\\" not in one)
    filled = fill_url(url, DOLLAR, {"one": one, "two": two}.__getitem__)
    parts = urlsplit(filled)
    assert (parts.scheme, parts.netloc, parts.fragment) == ("https", "x.example", "")
    assert filled.isascii() and filled.isprintable() and " " not in filled
    assert parts.path.count("/") == 2 and unquote(parts.path) == f"/calls/a{bounded(one)}"
    query = parse_qs(parts.query, keep_blank_values=True, strict_parsing=True)
    assert query == {"q": [bounded(two)], "r": ["1"]}


@pytest.mark.parametrize("value", [".", "..", "../../admin", "..\\x", "a/../b"])
def test_a_value_climbs_no_path(value: str) -> None:
    with pytest.raises(UnusableUrl, match="dot_segment"):
        fill_url("https://x.example/calls/${one}/end", DOLLAR, lambda _: value)
    assert fill_url("https://x.example/?q=${one}", DOLLAR, lambda _: value)


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("10.0.0.5", "http://10.0.0.5:8080/start"),
        ("2001:db8::0:1", "http://[2001:db8::1]:8080/start"),
    ],
)
def test_an_address_can_be_the_host(value: str, url: str) -> None:
    assert fill_url("http://{ip}:8080/start", BRACES, lambda _: value) == url


@pytest.mark.parametrize(
    "value",
    ["evil.example", "10.0.0.5@evil.example", "10.0.0.5/", "", "fe80::1%eth0", "0x7f000001"],
)
def test_a_name_a_caller_chose_cannot_be_the_host(value: str) -> None:
    with pytest.raises(UnusableUrl, match="host_not_an_address"):
        fill_url("http://${calledAors[0].host}:8080/start", DOLLAR, lambda _: value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://x/",
        "${a}",
        "http:///x",
        "//x.example/",
        "https://x.example/\r\nX: y",
        "http://ü/",
    ],
)
def test_only_a_whole_web_address_is_filled(url: str) -> None:
    with pytest.raises(UnusableUrl, match="url_invalid"):
        fill_url(url, DOLLAR, lambda _: "https://x.example/")


def test_a_url_has_a_bound() -> None:
    with pytest.raises(UnusableUrl, match="url_too_long"):
        fill_url("https://x.example/?q=${a}", DOLLAR, lambda _: "€" * VALUE_LIMIT * 2)
    assert fill_url("https://x.example/?q=${a}", DOLLAR, lambda _: "e" * 9000).endswith("e" * 1024)


@given(ANYTHING, st.integers(-1, 200))
def test_an_encoded_value_keeps_to_its_room_and_its_beginning(value: str, room: int) -> None:
    text = encoded(value, room)
    assert len(text) <= max(0, room)
    assert bounded(value).startswith(unquote(text, errors="strict"))
    assert unquote(encoded(value)) == bounded(value)
    assert URL_LIMIT > VALUE_LIMIT


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.5", "10.0.0.5"),
        ("::FFFF", "::ffff"),
        ("10.0.0.5 ", ""),
        ("10.0.0", ""),
        ("1.2.3.4.11", ""),
        ("٣.1.1.1", ""),
        ("fe80::1%eth0", ""),
        ("host", ""),
        ("", ""),
    ],
)
def test_only_an_ip_address_is_one(text: str, address: str) -> None:
    assert ip_address(text) == address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from api.remote import client, is_foreign, is_relayed, is_within, networks

PROXIES = networks(["10.1.0.0/16", "2001:db8:1::/48", "127.0.0.1"])
PEER = "10.1.0.5"


@pytest.mark.parametrize(
    ("site", "foreign"),
    [
        (None, False),
        ("none", False),
        ("same-origin", False),
        ("same-site", True),
        ("cross-site", True),
        ("", True),
    ],
)
def test_browsers_say_for_whose_pages_they_ask(site: str | None, foreign: bool) -> None:
    headers = CIMultiDict({} if site is None else {"sec-fetch-site": site})
    assert is_foreign(headers) is foreign


@pytest.mark.parametrize("peer", ["192.0.2.7", "2001:db8:2::1", "10.2.0.1", "", "somebody"])
def test_who_is_no_proxy_is_not_believed(peer: str) -> None:
    assert client(peer, ["203.0.113.9"], PROXIES) == peer
    assert client(peer, ["203.0.113.9", PEER], PROXIES) == peer


def test_without_proxies_nobody_is_believed() -> None:
    assert client("127.0.0.1", ["203.0.113.9"], ()) == "127.0.0.1"


@pytest.mark.parametrize(
    ("forwarded", "remote"),
    [
        (["203.0.113.9"], "203.0.113.9"),
        (["6.6.6.6, 203.0.113.9"], "203.0.113.9"),
        (["6.6.6.6", "203.0.113.9"], "203.0.113.9"),
        (["6.6.6.6,203.0.113.9 ,\t10.1.7.7, 127.0.0.1"], "203.0.113.9"),
        (["rubbish, 203.0.113.9, 10.1.7.7"], "203.0.113.9"),
        (["203.0.113.9:55"], "203.0.113.9"),
        (["203.0.113.9:55, 10.1.7.7:80"], "203.0.113.9"),
        (["[2001:db8:2::7]"], "2001:db8:2::7"),
        (["[2001:db8:2::7]:5"], "2001:db8:2::7"),
        (["2001:DB8:2:0::7, [2001:db8:1::1]:443"], "2001:db8:2::7"),
        (["::ffff:203.0.113.9"], "203.0.113.9"),
        (["203.0.113.9, ::ffff:10.1.0.6"], "203.0.113.9"),
        (["203.0.113.9, ", ""], "203.0.113.9"),
        ([], PEER),
        ([""], PEER),
        ([",,,"], PEER),
        (["10.1.7.7, 127.0.0.1"], PEER),
        (["203.0.113.9, unknown"], PEER),
        (["203.0.113.9, _hidden, 10.1.7.7"], PEER),
        (["1.2.3"], PEER),
        (["1.2.3.4.5"], PEER),
        (["fe80::1%eth0"], PEER),
        (["[::1"], PEER),
        (["[::1]:5"], "::1"),
        (["[::1]x"], PEER),
        (["203.0.113.9:http"], PEER),
        (["[]:5"], PEER),
        ([":55"], PEER),
        (["2001:db8::7::1"], PEER),
        (["\u0661.1.1.1"], PEER),
        (['for="203.0.113.9"'], PEER),
    ],
)
def test_the_last_stranger_a_proxy_names_is_the_client(forwarded: list[str], remote: str) -> None:
    assert client(PEER, forwarded, PROXIES) == remote


def test_a_peer_whose_ipv4_address_is_written_as_ipv6() -> None:
    assert client("::ffff:10.1.0.5", ["203.0.113.9"], PROXIES) == "203.0.113.9"
    assert client("::ffff:10.2.0.5", ["203.0.113.9"], PROXIES) == "::ffff:10.2.0.5"


def test_many_entries() -> None:
    many = ["10.1.0.9, " * 9_999 + "10.1.0.9"]
    assert client(PEER, many, PROXIES) == PEER
    assert client(PEER, ["203.0.113.9", *many], PROXIES) == "203.0.113.9"


@given(st.lists(st.text() | st.from_regex(r"[0-9a-f.:\[\]%, ]{0,30}"), max_size=4))
def test_any_header_gives_an_address(forwarded: list[str]) -> None:
    found = client(PEER, forwarded, PROXIES)
    assert found == PEER or client(found, ["6.6.6.6"], PROXIES) == found
    assert networks([found])


@pytest.mark.parametrize(
    ("remote", "expected"),
    [
        ("127.0.0.1", True),
        ("::ffff:127.0.0.1", True),
        ("2001:db8::1", True),
        ("128.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("", False),
        ("x", False),
    ],
)
def test_who_is_within(remote: str, expected: bool) -> None:
    assert is_within(remote, networks(["127.0.0.0/8", "2001:db8::/32"])) is expected
    assert not is_within(remote, ())


@pytest.mark.parametrize(
    ("remote", "texts", "within"),
    [
        ("10.1.2.3", ["10.1.0.0/16"], True),
        ("::ffff:10.1.2.3", ["10.1.0.0/16"], True),  # of a socket for both families
        ("::ffff:10.2.2.3", ["10.1.0.0/16"], False),
        ("10.1.2.3", ["::/0"], False),
        ("2001:db8::1", ["10.1.0.0/16", "2001:db8::/32"], True),
        ("2001:db8::1", ["0.0.0.0/0"], False),
        ("", ["0.0.0.0/0", "::/0"], False),
        (None, ["0.0.0.0/0"], False),
        ("somewhere", ["0.0.0.0/0"], False),
    ],
)
def test_networks(remote: str | None, texts: list[str], within: bool) -> None:
    assert is_within(remote or "", networks(texts)) is within


@pytest.mark.parametrize("name", ["X-Forwarded-For", "x-forwarded-for", "Forwarded", "VIA"])
def test_what_a_proxy_has_passed_on(name: str) -> None:
    assert is_relayed(CIMultiDict({"Host": "recorder", name: ""}))
    assert not is_relayed(CIMultiDict({"Host": "recorder", f"{name}-2": "192.0.2.1"}))

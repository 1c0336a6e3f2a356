import pytest
from hypothesis import given
from hypothesis import strategies as st

from siprec.sip.errors import MessageError
from siprec.sip.headers import (
    ITEMS_MAX,
    CSeq,
    NameAddr,
    Uri,
    Via,
    format_params,
    ip_literal,
    parse_params,
    split_list,
    unquote,
)

PUNCTUATED = st.text(alphabet='ab ;,<>"\\:@=[]/.?1\t', max_size=60) | st.text(max_size=30)


@pytest.mark.parametrize(
    ("text", "elements"),
    [
        ("a, b,c", ["a", "b", "c"]),
        ("", []),
        (" , a ,, b,", ["a", "b"]),
        ('"x, y" <sip:a@b>, <sip:c,d@e>', ['"x, y" <sip:a@b>', "<sip:c,d@e>"]),
        (r'"a\", b" <sip:a>, c', [r'"a\", b" <sip:a>', "c"]),
        ("<sip:a, b", ["<sip:a, b"]),
    ],
)
def test_split_list(text: str, elements: list[str]) -> None:
    assert split_list(text) == elements


def test_a_list_has_a_bound() -> None:
    assert len(split_list(",".join("a" * ITEMS_MAX))) == ITEMS_MAX
    for text in (",".join("a" * (ITEMS_MAX + 1)), '""' + ",a" * ITEMS_MAX):
        with pytest.raises(MessageError, match="Too many list elements") as refused:
            split_list(text)
        assert refused.value.status == 513


def test_open_quote_is_an_error() -> None:
    with pytest.raises(MessageError, match="Unterminated quoted string"):
        split_list('a, "b')


def test_params_keep_their_values_verbatim() -> None:
    params = parse_params(';tag = a1;+sip.src;x="y;z";;Q=0.5 ; e=')
    assert params == (
        ("tag", "a1"),
        ("+sip.src", None),
        ("x", '"y;z"'),
        ("Q", "0.5"),
        ("e", ""),
    )
    assert format_params(params) == ';tag=a1;+sip.src;x="y;z";Q=0.5;e='


@pytest.mark.parametrize(
    ("text", "name", "uri", "params"),
    [
        ("<sip:a@b;lr>;tag=1", "", "sip:a@b;lr", (("tag", "1"),)),
        ("sip:a@b;tag=1", "", "sip:a@b", (("tag", "1"),)),
        ('"Bob \\"B\\" <x>" <sip:b@h>;tag=2', 'Bob "B" <x>', "sip:b@h", (("tag", "2"),)),
        ("Bell, Alexander <sip:b@h>", "Bell, Alexander", "sip:b@h", ()),
        ("<sip:a@b>;+sip.src", "", "sip:a@b", (("+sip.src", None),)),
        ('<sip:a@b>;+sip.src="TRUE"', "", "sip:a@b", (("+sip.src", '"TRUE"'),)),
        ("<<sip:a@b:5060>;+sip.src>", "", "sip:a@b:5060", (("+sip.src", None),)),
        ("<sip:a@b:5060;+sip.src", "", "sip:a@b:5060", (("+sip.src", None),)),
        ("<sip:a@b", "", "sip:a@b", ()),
        ("< sip:a@b >  ; tag = 3", "", "sip:a@b", (("tag", "3"),)),
        ("<tel:+15550100>", "", "tel:+15550100", ()),
    ],
)
def test_name_addr(text: str, name: str, uri: str, params: tuple[tuple[str, str | None]]) -> None:
    assert NameAddr.parse(text) == NameAddr(name, uri, params)


@pytest.mark.parametrize(
    "text", ["", "bob", '"Mr. J <sip:j@h>', "<sip:a@b> tag=1", 'Bob "B', '"x" ;tag=1']
)
def test_not_a_name_addr(text: str) -> None:
    with pytest.raises(MessageError) as refused:
        NameAddr.parse(text)
    assert refused.value.status == 400


def test_param_lookup_tells_absent_from_empty() -> None:
    contact = NameAddr.parse("<sip:a@b>;+Sip.Src;x=1")
    assert (contact.param("+sip.src"), contact.param("x"), contact.param("y")) == ("", "1", None)
    assert contact.tag == ""


def test_unquote() -> None:
    assert unquote(r'"a\"b\\c"') == r'a"b\c'
    assert unquote("plain") == "plain"
    assert unquote('"') == '"'


@pytest.mark.parametrize(
    ("text", "transport", "host", "port", "branch"),
    [
        ("SIP/2.0/UDP 192.0.2.1:4540;branch=z9hG4bKa", "UDP", "192.0.2.1", 4540, "z9hG4bKa"),
        ("SIP / 2.0 /  TCP   h_1 : 5 ; branch = z9hG4bKb", "TCP", "h_1", 5, "z9hG4bKb"),
        ("sip/2.0/udp [2001:db8::9]:5060;branch=old", "udp", "[2001:db8::9]", 5060, "old"),
        ("SIP/2.0/UNKNOWN sbc1", "UNKNOWN", "sbc1", None, ""),
        ("SIP/7.0/UDP h;rport", "UDP", "h", None, ""),
    ],
)
def test_via(text: str, transport: str, host: str, port: int | None, branch: str) -> None:
    via = Via.parse(text)
    assert (via.transport, via.host, via.port, via.branch) == (transport, host, port, branch)
    assert Via.parse(str(via)) == via


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SIP/2.0/UDP",
        "SIP/2.0 UDP h",
        "SIP/2.0/UDP h:0",
        "SIP/2.0/UDP h:65536",
        "SIP/2.0/UDP h;branch=z9hG4bK",
        "SIP/2.0/UDP a b",
        "SIP/2.0/UDP h:٣",
        "ſIP/2.0/UDP h",
    ],
)
def test_not_a_via(text: str) -> None:
    with pytest.raises(MessageError) as refused:
        Via.parse(text)
    assert refused.value.status == 400


def test_via_keeps_its_parameters() -> None:
    text = 'SIP/2.0/UDP h:5060;branch=z9hG4bKa;rport;x="a;b";Y=1'
    assert str(Via.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "number", "method"),
    [
        ("1 INVITE", 1, "INVITE"),
        ("0009  INVITE", 9, "INVITE"),
        ("0 BYE", 0, "BYE"),
        ("2147483647\tACK", 2**31 - 1, "ACK"),
    ],
)
def test_cseq(text: str, number: int, method: str) -> None:
    assert CSeq.parse(text) == CSeq(number, method)


@pytest.mark.parametrize(
    "text", ["", "INVITE", "-1 INVITE", "2147483648 ACK", "9" * 40 + " ACK", "1INVITE", "1 A B"]
)
def test_not_a_cseq(text: str) -> None:
    with pytest.raises(MessageError):
        CSeq.parse(text)


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("sip:h", Uri("sip", "", "h", None, (), "")),
        ("SIPS:u:p@h.example:5061", Uri("sips", "u:p", "h.example", 5061, (), "")),
        (
            "sip:u;par=u%40x.net@[::1]:5060;lr;transport=tcp?Subject=a",
            Uri(
                "sip",
                "u;par=u%40x.net",
                "[::1]",
                5060,
                (("lr", None), ("transport", "tcp")),
                "Subject=a",
            ),
        ),
        ("sip:a?b/c@under_score", Uri("sip", "a?b/c", "under_score", None, (), "")),
    ],
)
def test_uri(text: str, uri: Uri) -> None:
    assert Uri.parse(text) == uri


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("tel:+1", 416),
        ("soap.beep://192.0.2.103:3002", 416),
        ("no-scheme", 400),
        ("<sip:a@b>", 400),
        ("sip:", 400),
        ("sip:a@", 400),
        ("sip:a@h:99999", 400),
        ("sip:a@b c", 400),
        ("sip:a b@c", 400),
        ("sip:a@h;x=<y>", 400),
    ],
)
def test_not_a_sip_uri(text: str, status: int) -> None:
    with pytest.raises(MessageError) as refused:
        Uri.parse(text)
    assert refused.value.status == status


def test_ip_literal() -> None:
    assert str(ip_literal("[2001:DB8::1]")) == "2001:db8::1"
    assert str(ip_literal("192.0.2.1")) == "192.0.2.1"
    assert ip_literal("example.com") is None


@given(PUNCTUATED)
def test_hostile_values_raise_message_error_only(text: str) -> None:
    for parse in (split_list, parse_params, NameAddr.parse, Via.parse, CSeq.parse, Uri.parse):
        try:
            parse(text)
        except MessageError as error:
            assert error.status in (400, 416, 513)


@given(PUNCTUATED)
def test_params_round_trip(text: str) -> None:
    try:
        params = parse_params(text)
    except MessageError:
        return
    assert parse_params(format_params(params)) == params


@pytest.mark.parametrize("unit", ['"', "<", '"<', "\\", " ", ";", ",", '"",', "<,>", "=;", " \t"])
def test_long_hostile_values_take_linear_time(unit: str) -> None:
    text = unit * (65_536 // len(unit))
    for parse in (split_list, parse_params, NameAddr.parse, Via.parse, CSeq.parse, Uri.parse):
        for prefix in ("", "SIP/2.0/UDP h", "1 ", "sip:"):
            try:
                parse(prefix + text)
            except MessageError as error:
                assert error.status in (400, 416, 513)

"""Requests out of octets, answers into them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from api.akixi import wire
from api.akixi.wire import BrokenEnvelope, Request
from api.xml import XmlError

SOAP = 'xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"'
BARE = """<?xml version="1.0" encoding="UTF-8"?>
<Request Operation="CallRecIntChange">
  <InvokeID>00008</InvokeID>
  <SessionID> 19397C980B72D043EEE18B58AE687263 </SessionID>
  <Offset>100</Offset><Limit>20</Limit>
  <!-- what is meant -->
  <OperationPayload Name="?">
    <Property Name="CallRecIntGUID">6917876061b72704:62272b78:17c939e2202:-7d6f</Property>
    <Property Name="Description">Fish &amp; <![CDATA[<chips>]]> 💳</Property>
    <Property Name="APIParameter1">not here</Property>
    <Property>nameless</Property>
    <Unknown><Property Name="TelSysID">7</Property></Unknown>
    <Container Name="Other"><Property Name="AuthUserID1">no</Property></Container>
    <Container Name="APICommunicationSettings">
      <Property Name="AuthUserID1">u1</Property>
    </Container>
  </OperationPayload>
</Request>"""
READ = Request(
    False,
    "CallRecIntChange",
    "00008",
    "19397C980B72D043EEE18B58AE687263",
    "100",
    "20",
    {
        "CallRecIntGUID": "6917876061b72704:62272b78:17c939e2202:-7d6f",
        "Description": "Fish & <chips> 💳",
        "APIParameter1": "not here",
        "": "nameless",
    },
    {"AuthUserID1": "u1"},
)


def enveloped(inner: str, head: str = "") -> bytes:
    return f"<s:Envelope {SOAP}>{head}<s:Body>{inner}</s:Body></s:Envelope>".encode()


def test_a_bare_request() -> None:
    assert wire.read(BARE.encode()) == READ


def test_the_same_in_an_envelope() -> None:
    inner = BARE.partition("?>")[2]
    found = wire.read(enveloped(inner, '<s:Header><x s:mustUnderstand="0"/></s:Header>'))
    assert found.is_soap
    assert (found.operation, found.properties) == (READ.operation, READ.properties)


def test_namespaces_are_passed_over() -> None:
    found = wire.read(
        b'<x:Request xmlns:x="urn:x" Operation="a"><x:InvokeID>1</x:InvokeID></x:Request>'
    )
    assert (found.operation, found.invoke_id) == ("a", "1")


def test_of_properties_of_one_name_the_last_counts() -> None:
    text = "<Request><OperationPayload>{}</OperationPayload></Request>"
    two = '<Property Name="a">1</Property><Property Name="a">2</Property>'
    assert wire.read(text.format(two).encode()).properties == {"a": "2"}


@pytest.mark.parametrize(
    "text", ["<Response/>", "<x/>", "<Request/>", '<Request Operation=" "/>', "<request/>"]
)
def test_what_is_no_request_has_no_operation(text: str) -> None:
    assert wire.read(text.encode()) == Request()
    assert wire.read(enveloped(text)) == Request(is_soap=True)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (f"<s:Envelope {SOAP}/>".encode(), "Client"),
        (enveloped(""), "Client"),
        (enveloped("<Request/><Request/>"), "Client"),
        (
            f"<s:Envelope {SOAP}><s:Body><Request/></s:Body><s:Body/></s:Envelope>".encode(),
            "Client",
        ),
        (
            enveloped("<Request/>", '<s:Header><x s:mustUnderstand="1"/></s:Header>'),
            "MustUnderstand",
        ),
        (b"<Envelope><Body><Request/></Body></Envelope>", "VersionMismatch"),
        (
            b'<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"><e:Body/></e:Envelope>',
            "VersionMismatch",
        ),
    ],
)
def test_broken_envelopes(text: bytes, code: str) -> None:
    with pytest.raises(BrokenEnvelope) as caught:
        wire.read(text)
    assert caught.value.code == code


@given(st.text(max_size=300) | st.text('<>/="Request Body', max_size=100))
def test_whatever_is_sent_is_a_request_or_refused(text: str) -> None:
    try:
        found = wire.read(text.encode("utf-8", "surrogatepass"))
    except (XmlError, BrokenEnvelope):
        return
    assert isinstance(found, Request)


def test_answers() -> None:
    assert wire.success("9") == '<Response Result="Success"><InvokeID>9</InvokeID></Response>'
    assert wire.success("9", "").endswith("</InvokeID><Success/></Response>")
    assert wire.failure("", 10101, "a < b") == (
        '<Response Result="Fail"><InvokeID/>'
        "<Fail><ErrorCode>10101</ErrorCode><ErrorMessage>a &lt; b</ErrorMessage></Fail></Response>"
    )
    assert wire.container(wire.one("a", ""), "b") == (
        '<Container Name="b"><Property Name="a"/></Container>'
    )


@given(st.text(max_size=40))
def test_any_invoke_id_comes_back_and_breaks_nothing(text: str) -> None:
    document = wire.document(wire.failure(text, 1, text), is_soap=True)
    response = etree.fromstring(document).find(".//Response")
    assert response is not None
    assert len(response) == 2 and [child.tag for child in response] == ["InvokeID", "Fail"]


def test_a_fault() -> None:
    document = wire.document(wire.fault("Client", "no"), is_soap=True).decode()
    assert document == (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body>'
        "<soap:Fault><faultcode>soap:Client</faultcode><faultstring>no</faultstring></soap:Fault>"
        "</soap:Body></soap:Envelope>"
    )

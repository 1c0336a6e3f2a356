"""The metadata document a client sends."""

from datetime import UTC, datetime

from lxml import etree

from examples.metadata import NAMESPACE, complete, identifier

PREFIX = {"r": NAMESPACE}
NOW = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
PARTIES = (("sip:ann@example.com", 'Ann & <"C">'), ("tel:+15550100", "Ben"))


def parse(document: bytes) -> etree._Element:
    return etree.fromstring(document, etree.XMLParser(resolve_entities=False))


def texts(root: etree._Element, path: str) -> list[str]:
    return [found.text or "" for found in root.findall(path, PREFIX)]


def test_each_party_sends_its_stream_and_receives_the_others() -> None:
    root = parse(complete("c@x", ["1", "2"], PARTIES, NOW))
    streams = [each.get("stream_id") for each in root.findall("r:stream", PREFIX)]
    assert texts(root, "r:stream/r:label") == ["1", "2"]
    assert texts(root, "r:participantstreamassoc/r:send") == streams
    assert texts(root, "r:participantstreamassoc/r:recv") == streams[::-1]
    assert texts(root, "r:participant/r:nameID/r:name") == ['Ann & <"C">', "Ben"]
    assert texts(root, "r:datamode") == ["complete"]
    assert set(texts(root, ".//r:associate-time")) == {"2026-11-22T10:00:00Z"}


def test_the_last_party_sends_what_is_left() -> None:
    root = parse(complete("c@x", ["1", "2", "3"], PARTIES, NOW))
    flows = root.findall("r:participantstreamassoc", PREFIX)
    assert [len(flow.findall("r:send", PREFIX)) for flow in flows] == [1, 2]


def test_every_reference_is_defined() -> None:
    root = parse(complete("c@x", ["1", "2"], PARTIES, NOW))
    names = ("session", "participant", "stream")
    defined = {
        each.get(f"{name}_id") for name in names for each in root.findall(f"r:{name}", PREFIX)
    }
    used = set(texts(root, ".//r:send")) | set(texts(root, ".//r:recv"))
    used |= {value for each in root for value in map(str, each.values())}
    assert used == defined
    assert len(defined) == 5


def test_ids_are_base64_uuids_and_stable() -> None:
    assert identifier("c@x", "session") == identifier("c@x", "session")
    assert identifier("c@x", "session") != identifier("d@x", "session")
    assert len(identifier("c@x", "session")) == 24

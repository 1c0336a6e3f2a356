"""The generator sends RTP as it says; the baseline stores it as it should."""

import socket
import struct
from pathlib import Path

from tests.bench.baseline import Receiver
from tests.bench.generator import Generator


def received(count: int, seconds: float) -> tuple[Generator, list[list[bytes]]]:
    sockets = [socket.socket(type=socket.SOCK_DGRAM) for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
        each.setblocking(False)
    generator = Generator([each.getsockname()[1] for each in sockets])
    generator.run(pps=50, seconds=seconds)
    generator.close()
    packets: list[list[bytes]] = []
    for each in sockets:
        packets.append([])
        try:
            while True:
                packets[-1].append(each.recv(2048))
        except BlockingIOError:
            each.close()
    return generator, packets


def test_every_stream_gets_its_packets_in_order() -> None:
    generator, streams = received(3, 0.1)
    assert [len(packets) for packets in streams] == [5, 5, 5]
    assert generator.sent == 15
    heads = [[struct.unpack_from(">BBHII", data) for data in packets] for packets in streams]
    for packets in heads:
        first = packets[0]
        for step, head in enumerate(packets):
            assert head[:2] == (0x80, 0)
            assert head[2:] == ((first[2] + step) % 65_536, first[3] + 160 * step, first[4])
    assert len({packets[0][4] for packets in heads}) == 3


def test_the_baseline_places_packets_by_their_timestamp(tmp_path: Path) -> None:
    receiver = Receiver(tmp_path / "x")
    for sequence, payload in ((0, b"a" * 160), (2, b"c" * 160), (1, b"b" * 160)):
        head = struct.pack(">BBHII", 0x80, 0, sequence, 1000 + 160 * sequence, 7)
        receiver.datagram_received(head + payload, ("127.0.0.1", 1))
    receiver.datagram_received(bytes(12), ("127.0.0.1", 1))
    receiver.write()
    receiver.connection_lost(None)
    assert (tmp_path / "x").read_bytes() == b"a" * 160 + b"b" * 160 + b"c" * 160
    assert receiver.packets == 3

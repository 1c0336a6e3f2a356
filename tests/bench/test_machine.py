"""Figures of the kernel."""

import asyncio
import os
import socket
import subprocess
import sys

from tests.bench import machine


async def test_children_are_counted() -> None:
    busy = "import time\nwhile time.process_time() < .2: pass\nprint(flush=True)\ninput()"
    before_s, before_bytes = machine.cpu_s(os.getpid()), machine.rss_bytes(os.getpid())
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", busy), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    await process.stdout.readline()
    assert 0.15 < machine.cpu_s(process.pid) < 1
    assert process.pid in set(machine.tree(os.getpid()))
    assert machine.cpu_s(os.getpid()) >= before_s + 0.15
    assert machine.rss_bytes(os.getpid()) > before_bytes
    await process.communicate(b"\n")


def test_a_full_socket_drops() -> None:
    with (
        socket.socket(type=socket.SOCK_DGRAM) as full,
        socket.socket(type=socket.SOCK_DGRAM) as out,
    ):
        full.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        full.bind(("127.0.0.1", 0))
        port = full.getsockname()[1]
        assert machine.drops([port]) == 0
        for _ in range(100):
            out.sendto(bytes(1000), ("127.0.0.1", port))
        received = 0
        full.setblocking(False)
        try:
            while full.recv(2048):
                received += 1
        except BlockingIOError:
            pass
        assert machine.drops([port]) == 100 - received > 0
        assert machine.drops([port + 1]) == 0


def test_the_machine_is_named() -> None:
    assert f"Python {sys.version_info.major}.{sys.version_info.minor}" in machine.describe()

"""The receiver of notifications: what it shows and what it believes."""

import hashlib
import hmac

import aiohttp

from examples.webhook import EVENT_ID, SIGNATURE, TIMESTAMP, Notice, receiving, verified


def signed(secret: str, method: str, target: str, body: bytes = b"") -> dict[str, str]:
    told = f"1700000000.e1.{method} {target}\n".encode() + body
    digest = hmac.new(secret.encode(), told, hashlib.sha256).hexdigest()
    return {TIMESTAMP: "1700000000", EVENT_ID: "e1", SIGNATURE: f"v1={digest}"}


def test_a_signature_covers_everything() -> None:
    headers = signed("s3cret", "POST", "/hook?a=1", b"{}")
    assert verified("s3cret", "POST", "/hook?a=1", headers, b"{}") is True
    assert verified("other", "POST", "/hook?a=1", headers, b"{}") is False
    assert verified("s3cret", "GET", "/hook?a=1", headers, b"{}") is False
    assert verified("s3cret", "POST", "/hook?a=2", headers, b"{}") is False
    assert verified("s3cret", "POST", "/hook?a=1", headers, b"[]") is False
    assert verified("s3cret", "POST", "/hook?a=1", headers | {EVENT_ID: "e2"}, b"{}") is False
    assert verified("s3cret", "POST", "/hook?a=1", headers | {TIMESTAMP: "1"}, b"{}") is False
    assert verified("s3cret", "POST", "/hook?a=1", {}, b"{}") is None


async def test_each_event_is_shown_once() -> None:
    shown: list[Notice] = []
    async with (
        receiving(0, "s3cret", shown.append) as receiver,
        aiohttp.ClientSession() as client,
    ):
        url = receiver.url
        for _ in range(2):
            target = "/hook?event=started&ani=%2B49"
            headers = signed("s3cret", "GET", target)
            async with client.get(url + "hook?event=started&ani=%2B49", headers=headers) as answer:
                assert answer.status == 204
        async with client.post(url, json={"DNIS": "0800"}) as answer:
            assert answer.status == 204
    first, second = shown
    assert first.parameters == {"event": "started", "ani": "+49"} and first.signed is True
    assert second.parameters == {"DNIS": "0800"} and second.signed is None
    assert "signature ok" in str(first) and "DNIS=0800" in str(second)

"""A provisioning run as an APIO client makes it, against a recorder that runs (`make run`).

    siprecd apikey add provisioning --role admin        # prints a key
    APIO_KEY=… python examples/apio.py http://127.0.0.1:8080
    APIO_USER=… APIO_PASSWORD=… python examples/apio.py https://127.0.0.1:8443 --insecure

Adds two recording platforms, makes the second the default, reads who uses it, sets the properties,
and puts everything back. Prints each request with its answer; the exit status is 1 if one is not as
published. Uses nothing of the recorder.
"""

import argparse
import base64
import json
import os
import ssl
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

BASE = "/api/v1/system/services/call_recording"
WORDS = {
    "mediaStream": "Dual",
    "transportProtocol": "UDP",
    "schemaVersion": "1.0",
    "supportVideoRecording": False,
}
FIRST = {"name": "Provisioned 1", "netAddress": "192.0.2.11", "port": 5060, **WORDS}
SECOND = {"name": "Provisioned 2", "netAddress": "192.0.2.12", "description": "standby", **WORDS}

Answer = tuple[int, Any]


@dataclass(slots=True)
class Client:
    """Asks, prints what is answered, and counts what is not as it should be."""

    url: str
    authorization: str
    tls: ssl.SSLContext | None = None
    wrong: int = 0

    def ask(
        self, method: str, path: str, body: Mapping[str, object] | None = None, want: int = 200
    ) -> Any:
        """The JSON of an answer, which should have status `want`."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": self.authorization, "Content-Type": "application/json"}
        request = Request(f"{self.url}{BASE}{path}", data, headers, method=method)
        print(f"\n{method} {path}" + (f"\n  {json.dumps(body)}" if body is not None else ""))
        status, found = self._answer(request)
        print(f"  {status} {json.dumps(found)}")
        self.expect(status == want, f"status {want}")
        return found

    def expect(self, holds: bool, what: str) -> None:
        """Count and say it if something does not hold."""
        if not holds:
            self.wrong += 1
            print(f"  ^^^ WRONG: expected {what}")

    def _answer(self, request: Request) -> Answer:
        try:
            with urlopen(request, context=self.tls) as response:
                return response.status, json.load(response)
        except HTTPError as refusal:
            with refusal:
                return refusal.code, json.loads(refusal.read() or b"null")


def run(client: Client) -> None:
    """The whole of it."""
    before = client.ask("GET", "/platforms/").get("systemDefault", "")
    client.ask("POST", "/platforms/", FIRST)
    listed = client.ask("POST", "/platforms/", SECOND)
    client.expect(listed.get("systemDefault") == (before or FIRST["name"]), "the first as default")
    first, second = path_of(FIRST["name"]), path_of(SECOND["name"])
    changed = client.ask("PUT", second, {"default": True, "port": 5070, "description": ""})
    client.expect(
        changed.get("default") is True and "description" not in changed, "a default platform"
    )
    client.ask("GET", first)
    client.ask("GET", f"{second}usage/")
    client.ask("DELETE", second, want=400)
    restore(client, before)


def restore(client: Client, default: str) -> None:
    """Try the properties, then leave everything as it was; `default`: platform, empty for none."""
    properties = client.ask("GET", "/properties/")
    client.ask("PUT", "/properties/", {"maxConsecutiveFailures": 3})
    client.ask("PUT", "/properties/", properties)
    if default:
        client.ask("PUT", path_of(default), {"default": True})
    for platform in (FIRST, SECOND):
        client.ask("DELETE", path_of(platform["name"]))
    client.ask("GET", path_of(SECOND["name"]), want=404)
    client.ask("PUT", path_of(SECOND["name"]), {}, want=400)


def path_of(name: object) -> str:
    """Of a platform."""
    return f"/platforms/{quote(str(name), safe='')}/"


def authorization(environment: Mapping[str, str]) -> str:
    """The header that says who asks: a key, or a user and a password."""
    if key := environment.get("APIO_KEY"):
        return f"Bearer {key}"
    user, password = environment.get("APIO_USER", ""), environment.get("APIO_PASSWORD", "")
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status."""
    parser = argparse.ArgumentParser(description="Provision recording platforms, and undo it.")
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8080")
    parser.add_argument("--insecure", action="store_true", help="take any certificate")
    asked = parser.parse_args(arguments)
    tls = ssl.create_default_context() if asked.url.startswith("https:") else None
    if tls and asked.insecure:
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    client = Client(asked.url.rstrip("/"), authorization(os.environ), tls)
    run(client)
    print(
        f"\n{client.wrong} answers are not as published" if client.wrong else "\nall as published"
    )
    return min(client.wrong, 1)


if __name__ == "__main__":
    sys.exit(main())

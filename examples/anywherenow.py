"""A payment system that pauses the recording of a call while it takes a card, as AnywhereNow's
clients do it, against a recorder that runs (`make run`).

    siprecd directory apply examples/directory.toml
    siprecd user password payments@centre.example
    python examples/src.py sip:recorder@127.0.0.1:5060 \
        --header 'X-ISR-UCID: 1d6c6a58-6739-4f0c-98ff-0968292c8c30' &
    ANYWHERENOW_USER=payments@centre.example ANYWHERENOW_PASSWORD=… \
        python examples/anywherenow.py http://127.0.0.1:8080 'Contact centre' \
        1d6c6a58-6739-4f0c-98ff-0968292c8c30 sip:ben@example.com

Logs in (or has ANYWHERENOW_TOKEN, or neither where hosts are known), looks whether agents may act
and what is recorded, pauses, takes the card, goes on. Prints each request with its answer; the exit
status is 1 if one was refused. No card is taken unless the recorder has said that nothing is being
recorded. Uses nothing of the recorder.
"""

import argparse
import json
import os
import ssl
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import Request, urlopen

SERVICE = "/attendantservice"
RECORDING = f"{SERVICE}/api/v2/recording"
TOKEN = f"{SERVICE}/auth/realms/centre/protocol/openid-connect/token"
STARTED = 1
STATES = ("uninitialized", "started", "stopped", "paused")
FORM, JSON = "application/x-www-form-urlencoded", "application/json"


class Refused(Exception):
    """What was asked for was not done; the text is the answer's."""


@dataclass(slots=True)
class Client:
    """Asks as one agent for one call, and prints what is answered."""

    url: str
    ucc: str
    correlation_id: str
    requester: str
    tls: ssl.SSLContext | None = None
    token: str = ""

    def log_in(self, user: str, password: str) -> None:
        """Get a token. Raises Refused."""
        form = {"grant_type": "password", "client_id": "coreapi"}
        body = urlencode({**form, "username": user, "password": password}).encode()
        print(f"\nPOST {TOKEN}\n  as {user}")
        answer = self._answer("POST", TOKEN, body, FORM)
        print(f"  a token for {answer['expires_in']} s, to {answer['scope']}")
        self.token = answer["access_token"]

    def may_act(self) -> bool:
        """Whether agents may pause and resume. Raises Refused."""
        answer = self._asked("GET", f"{RECORDING}/capabilities/{quote(self.ucc, safe='')}")
        return bool(answer["AgentCanEditRecordings"])

    def state(self) -> int:
        """Number of the recording state. Raises Refused."""
        names = (quote(name, safe="") for name in (self.ucc, self.correlation_id))
        return int(self._asked("GET", f"{RECORDING}/{'/'.join(names)}")["RecordingState"])

    def set(self, action: str) -> None:
        """Have it done. Raises Refused."""
        order = {
            "Action": action,
            "RequesterSipUri": self.requester,
            "CorrelationId": self.correlation_id,
            "UCCName": self.ucc,
        }
        self._asked("POST", f"{RECORDING}/set", order)

    def _asked(self, method: str, path: str, order: Mapping[str, str] | None = None) -> Any:
        """The JSON of an answer without error."""
        print(f"\n{method} {path}" + (f"\n  {json.dumps(order)}" if order else ""))
        body = json.dumps(order).encode() if order else None
        answer = self._answer(method, path, body, JSON)
        print(f"  {json.dumps(answer)}")
        if error := answer["ErrorMessage"]:
            raise Refused(error["Message"])
        return answer

    def _answer(self, method: str, path: str, body: bytes | None, kind: str) -> Any:
        headers = {"Accept": JSON, "Content-Type": kind}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        request = Request(f"{self.url}{path}", body, headers, method=method)
        try:
            with urlopen(request, context=self.tls) as response:
                return json.load(response)
        except HTTPError as refusal:
            with refusal:
                text = refusal.read().decode(errors="replace")
            raise Refused(f"{refusal.code} {text}") from None


def pay(client: Client, seconds: float) -> None:
    """One payment by card. Raises Refused; then the card was not taken, or nothing goes on."""
    is_recorded = client.state() == STARTED
    if is_recorded:
        if not client.may_act():
            raise Refused(f"agents of {client.ucc} may not pause")
        client.set("Pause")
    if (state := client.state()) == STARTED:
        raise Refused("it is still being recorded")
    print(f"\n(recording {STATES[state]}: the card is taken, {seconds:g} s)")
    time.sleep(seconds)
    if is_recorded:
        client.set("Start")
        client.state()


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status."""
    parser = argparse.ArgumentParser(description="Pause a recording while a card is taken.")
    parser.add_argument("url", help="the recorder, http://host:port")
    parser.add_argument("ucc", help="name of the UCC: of an account, or a route's label")
    parser.add_argument("correlation_id", help="GUID of the call")
    parser.add_argument("requester", help="SIP URI of the agent")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long the card takes")
    parser.add_argument("--insecure", action="store_true", help="take any certificate")
    asked = parser.parse_args(arguments)
    tls = ssl.create_default_context() if asked.url.startswith("https:") else None
    if tls and asked.insecure:
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    client = Client(asked.url.rstrip("/"), asked.ucc, asked.correlation_id, asked.requester, tls)
    client.token = os.environ.get("ANYWHERENOW_TOKEN", "")
    try:
        if user := os.environ.get("ANYWHERENOW_USER"):
            client.log_in(user, os.environ.get("ANYWHERENOW_PASSWORD", ""))
        pay(client, asked.seconds)
    except (Refused, OSError) as error:
        print(f"\nrefused: {error}")
        return 1
    print("\npaid")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Provision a recording integration entry over Akixi's Web Services API, and look what it plays.

    siprecd user add admin@example.com --type admin --account 1
    python -m examples.akixi http://127.0.0.1:8080 admin@example.com

Both read the password from standard input. Prints what is asked and answered: CreateSession,
Authenticate, CallRecIntAdd, List, Info, Change, then whether the entry finds a recording of a call
segment, CallRecIntDelete and EndSession. The entry is the user's own, so that the presence check
looks as that user. Exits with 1 as soon as an answer is not the one it should be.
"""

import argparse
import getpass
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

from lxml import etree

DESCRIPTION = "Example of examples/akixi.py"


class WrongAnswer(Exception):
    """Something else than what was expected."""


class Client:
    """Somebody who asks the recorder at `url`."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        self.session = ""
        self.invoked = 0

    def ask(
        self,
        operation: str,
        properties: Mapping[str, str] | None = None,
        settings: Mapping[str, str] | None = None,
        *,
        code: int = 0,
    ) -> etree._Element:
        """Send a request, print what was answered; its `<Response>`. `code`: the one expected."""
        self.invoked += 1
        root = etree.Element("Request", Operation=operation)
        etree.SubElement(root, "InvokeID").text = f"{self.invoked:05}"
        if self.session:
            etree.SubElement(root, "SessionID").text = self.session
        payload = etree.SubElement(root, "OperationPayload")
        _properties(payload, properties or {})
        if settings:
            container = etree.SubElement(payload, "Container", Name="APICommunicationSettings")
            _properties(container, settings)
        answer = etree.fromstring(self._post(etree.tostring(root)))
        etree.indent(answer)
        shown = etree.tostring(answer, encoding="unicode").replace(self.session or "-", "…")
        print(f"\n{operation}\n{shown if operation != 'CreateSession' else '(a session)'}")
        found = int(answer.findtext("Fail/ErrorCode") or 0)
        if found != code:
            raise WrongAnswer(f"{operation}: {found}, not {code}")
        return answer

    def _post(self, body: bytes) -> bytes:
        request = urllib.request.Request(
            f"{self.url}/CCS/API/ws", body, {"Content-Type": "text/xml; charset=utf-8"}
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            return bytes(response.read())

    def json(self, path: str, token: str = "", body: Mapping[str, str] | None = None) -> dict:  # type: ignore[type-arg]
        """One request of the native interface."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        data = json.dumps(body).encode() if body else None
        if data:
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(f"{self.url}/srs/v1/{path}", data, headers)
        with urllib.request.urlopen(request, timeout=30) as response:
            return dict(json.load(response))


def _properties(parent: etree._Element, values: Mapping[str, str]) -> None:
    for name, value in values.items():
        etree.SubElement(parent, "Property", Name=name).text = value


def _values(parent: etree._Element | None) -> dict[str, str]:
    return (
        {} if parent is None else {e.get("Name", ""): e.text or "" for e in parent.iter("Property")}
    )


def provision(client: Client, user: str, password: str, server: str, ani: str) -> None:
    """The whole run. Raises WrongAnswer, and OSError if nobody answers."""
    client.session = _values(client.ask("CreateSession"))["SessionID"]
    client.ask("Authenticate", {"UserName": user, "Password": password})
    before = _listed(client, server)
    scope = {"TelSysID": server}
    host = client.url.partition("://")[2]
    settings = {"IPAddrOrHost1": host, "AuthUserID1": user}
    wanted = {"CallRecIntType": "Dubber", "Description": DESCRIPTION, **scope}
    client.ask("CallRecIntAdd", wanted, settings)
    (guid,) = _listed(client, server) - before
    named = {"CallRecIntGUID": guid}
    _expect(client.ask("CallRecIntInfo", named), {**wanted, **settings, **named})
    client.ask("CallRecIntChange", {**named, "Description": "Changed"}, {"APIParameter1": "p"})
    changed = {"Description": "Changed", "APIParameter1": "p", **settings}
    _expect(client.ask("CallRecIntInfo", named), changed)
    _look(client, user, password, {"tel_sys_id": server, "ani": ani})
    client.ask("CallRecIntDelete", named)
    client.ask("CallRecIntInfo", named, code=11401)
    client.ask("EndSession")
    client.ask("CallRecIntList", code=10302)


def _listed(client: Client, server: str) -> set[str]:
    answer = client.ask("CallRecIntList", {"TelSysID": server, "CallRecIntFields": "TelSysID"})
    return {_values(each)["CallRecIntGUID"] for each in answer.iterfind("Success/Container")}


def _expect(answer: etree._Element, wanted: Mapping[str, str]) -> None:
    found = _values(answer.find("Success"))
    for name, value in wanted.items():
        if found.get(name) != value:
            raise WrongAnswer(f"{name}: {found.get(name)!r}, not {value!r}")


def _look(client: Client, user: str, password: str, segment: Mapping[str, str]) -> None:
    """Whether there is a recording of the segment: what a report item asks."""
    token = client.json("login", body={"email": user, "password": password})["token"]
    found = client.json(f"playback?{urlencode(segment)}", token)
    print(f"\nplayback of {dict(segment)}\n{json.dumps(found, indent=2)}")
    if found["present"] != bool(found["items"]):
        raise WrongAnswer("present without items, or the other way round")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("url", help="of the recorder, e.g. http://127.0.0.1:8080")
    parser.add_argument("user", help="e-mail address of a user of type admin")
    parser.add_argument("--server", default="1", help="telephony server: number of an account")
    parser.add_argument("--ani", default="ann", help="calling party to look for")
    given = parser.parse_args(arguments)
    is_typed = sys.stdin.isatty()
    password = getpass.getpass() if is_typed else sys.stdin.readline().rstrip("\n")
    try:
        provision(Client(given.url), given.user, password, given.server, given.ani)
    except (WrongAnswer, urllib.error.URLError) as error:
        print(f"\n^^^ WRONG: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A desktop client that records the call of a line, as Imagicle's clients do it, against a recorder
that runs (`make run`).

    siprecd directory apply examples/directory.toml
    siprecd user password desk@office.example
    python examples/src.py sip:recorder@127.0.0.1:5060 \
        --parties sip:980200@example.com sip:7002@example.com &
    IMAGICLE_USER=desk IMAGICLE_PASSWORD=… \
        python examples/imagicle.py http://127.0.0.1:8080 --device SEP0123456789AB

Starts the recording of the device's call, lists what goes on, pauses, goes on, stops, shows the
recording and saves its MP3. Prints each request with its answer; the exit status is 1 if one was
refused. Uses nothing of the recorder.
"""

import argparse
import base64
import json
import os
import ssl
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

BASE = "/fw/Apps/Recorder/WebAPI"


class Refused(Exception):
    """What was asked for was not done; the text is status and body of the answer."""


@dataclass(slots=True)
class Client:
    """Asks as one user, and prints what is answered."""

    url: str
    authorization: str
    tls: ssl.SSLContext | None = None

    def start(self, line: dict[str, str]) -> str:
        """Record a line's call; the id of the recording. Raises Refused."""
        return str(json.loads(self.ask("POST", "LiveRecordings", line))["id"])

    def ask(self, method: str, path: str, body: dict[str, str] | None = None) -> bytes:
        """The body of an answer. Raises Refused."""
        print(f"\n{method} {BASE}/{path}" + (f"\n  {json.dumps(body)}" if body else ""))
        headers = {"Authorization": self.authorization, "Content-Type": "application/json"}
        data = json.dumps(body).encode() if body else None
        request = Request(f"{self.url}{BASE}/{path}", data, headers, method=method)
        try:
            with urlopen(request, context=self.tls) as response:
                content: bytes = response.read()
                shown = response.headers.get_content_type() == "application/json"
                text = content.decode() if shown else f"{len(content)} octets" if content else ""
                print(f"  {response.status} {text}".rstrip())
                return content
        except HTTPError as refusal:
            with refusal:
                text = refusal.read().decode(errors="replace")
            raise Refused(f"{refusal.code} {text}".strip()) from None


def record(client: Client, line: dict[str, str], seconds: float, folder: Path) -> Path:
    """Record a call with a pause in it; the file its audio was saved to. Raises Refused."""
    name = client.start(line)
    try:
        client.ask("GET", f"LiveRecordings?{urlencode(line)}")
        time.sleep(seconds)
        client.ask("PUT", f"LiveRecordings/{name}/Pause")
        time.sleep(seconds)
        client.ask("PUT", f"LiveRecordings/{name}/Resume")
        time.sleep(seconds)
    finally:
        client.ask("DELETE", f"LiveRecordings/{name}")
    shown: dict[str, Any] = json.loads(client.ask("GET", f"Recordings/{name}"))
    file = folder / f"{int(shown['referenceNumber'])}.mp3"
    file.write_bytes(client.ask("GET", f"Recordings/{name}/Media"))
    return file


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 if all was done, 1 if something was refused, 2 if nobody was there."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("url", help="http://HOST:PORT")
    parser.add_argument("--device", default="", help="name of the device whose call it is")
    parser.add_argument("--number", default="", help="or directory number of the line")
    parser.add_argument("--seconds", type=float, default=2.0, help="between two commands")
    parser.add_argument("--folder", type=Path, default=Path(), help="where the MP3 is saved")
    parser.add_argument("--insecure", action="store_true", help="take any certificate")
    given = parser.parse_args(arguments)
    tls = ssl.create_default_context() if given.url.startswith("https:") else None
    if tls and given.insecure:
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    login = f"{os.environ.get('IMAGICLE_USER', '')}:{os.environ.get('IMAGICLE_PASSWORD', '')}"
    authorization = "Basic " + base64.b64encode(login.encode()).decode()
    named = {"deviceName": given.device, "directoryNumber": given.number}
    line = {name: value for name, value in named.items() if value}
    client = Client(given.url.rstrip("/"), authorization, tls)
    try:
        file = record(client, line, given.seconds, given.folder)
    except Refused as refusal:
        print(f"refused: {refusal}")
        return 1
    except OSError as error:
        print(f"{given.url}: {error}", file=sys.stderr)
        return 2
    print(f"\nsaved {file}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Where responses and our own requests go (RFC 3261 12.2.1.1, 18.2; RFC 3581 4).

Nothing is looked up in DNS and no connection is opened: what is not written as an address goes back
along the path the peer came by. A `maddr` parameter is not followed: it would let one datagram make
us send to a third party.
"""

from dataclasses import replace

from siprec.sip.errors import MessageError
from siprec.sip.events import Flow
from siprec.sip.headers import Uri, Via, ip_literal
from siprec.sip.message import Request

DEFAULT_PORT = 5060


def stamp(request: Request, flow: Flow) -> tuple[str, ...]:
    """Via values for the response, the first one saying where the request really came from.

    `received` is added when sent-by differs from the source or `rport` was asked for, whose value
    is then filled in (RFC 3261 18.2.1, RFC 3581 4).
    """
    top = request.via
    host, port = flow.remote
    params = [(name, value) for name, value in top.params if name.lower() != "received"]
    asked = top.param("rport") is not None
    if asked:
        params = [(n, str(port) if n.lower() == "rport" else v) for n, v in params]
    if asked or (top.host != host and ip_literal(top.host) != ip_literal(host)):
        params.append(("received", host))
    stamped = replace(top, params=tuple(params))
    return (str(stamped), *request.vias[1:])


def reply_flow(via: Via, flow: Flow) -> Flow:
    """The path of the response to a request with this top Via that came by `flow`."""
    if flow.transport != "udp" or via.param("rport") is not None:
        return flow
    return replace(flow, remote=(flow.remote[0], via.port or DEFAULT_PORT))


def request_flow(target: str, flow: Flow) -> Flow:
    """The path of our request to a URI, in a dialog whose last request came by `flow`."""
    try:
        uri = Uri.parse(target)
    except MessageError:
        return flow
    address, local = ip_literal(uri.host), ip_literal(flow.local[0])
    by_udp = flow.transport == "udp" and (uri.param("transport") or "udp").lower() == "udp"
    if not by_udp or address is None or local is None or address.version != local.version:
        return flow
    return replace(flow, remote=(str(address), uri.port or DEFAULT_PORT))


def host_port(address: tuple[str, int]) -> str:
    """`HOST:PORT` as it stands in a URI or a Via, IPv6 in brackets."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def sent_by(flow: Flow, host: str) -> str:
    """Our own HOST:PORT on a flow; `host` replaces the local address unless empty."""
    return host_port((host or flow.local[0], flow.local[1]))


def contact_uri(flow: Flow, host: str, *, secure: bool) -> str:
    """The URI we are reached at over a flow; `secure` makes it `sips:` (RFC 3261 12.1.1)."""
    scheme = "sips" if secure else "sip"
    transport = "" if flow.transport == "udp" else f";transport={flow.transport}"
    return f"{scheme}:srs@{sent_by(flow, host)}{transport}"

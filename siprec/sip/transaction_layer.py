"""All transactions of an endpoint, and what they send (RFC 3261 17)."""

from collections.abc import Iterator

from siprec.sip.events import Flow
from siprec.sip.message import Request, Response
from siprec.sip.routing import reply_flow, stamp
from siprec.sip.transaction import (
    CLIENT,
    INVITE_SERVER,
    SERVER,
    Action,
    ClientTransaction,
    Input,
    MergeKey,
    ServerTransaction,
    State,
    Timer,
    Timers,
    Transaction,
    input_for,
    server_key,
)


class TransactionLayer:
    """Finds the transaction a message belongs to, moves it, sends what it says."""

    def __init__(self) -> None:
        self.timers = Timers()
        self.outgoing: list[tuple[Flow, bytes]] = []
        self._servers: dict[str, ServerTransaction] = {}
        self._clients: dict[str, ClientTransaction] = {}
        self._merged: dict[MergeKey, str] = {}

    def __len__(self) -> int:
        """Server transactions that are kept."""
        return len(self._servers)

    @property
    def is_waiting(self) -> bool:
        """Whether a request of ours has no final response yet."""
        waiting = (State.TRYING, State.PROCEEDING)
        return any(client.state in waiting for client in self._clients.values())

    def server(self, key: str) -> ServerTransaction | None:
        """The server transaction of that id, if it is kept."""
        return self._servers.get(key)

    def client(self, response: Response) -> ClientTransaction | None:
        """The client transaction a response belongs to (17.1.3)."""
        client = self._clients.get(response.via.branch)
        return client if client and client.method == response.cseq.method else None

    def clients_on(self, connection: int) -> list[ClientTransaction]:
        """The client transactions that use a stream connection."""
        return [c for c in self._clients.values() if c.flow.connection == connection]

    def open_server(
        self, request: Request, flow: Flow, to_tag: str, now: float
    ) -> ServerTransaction:
        """Start the transaction of a new request; `to_tag` is for a To that has none."""
        invite = request.method == "INVITE"
        server = ServerTransaction(
            table=INVITE_SERVER if invite else SERVER,
            state=State.PROCEEDING if invite else State.TRYING,
            flow=reply_flow(request.via, flow),
            timers=self.timers,
            id=server_key(request, request.method),
            request=request,
            vias=stamp(request, flow),
            to_tag="" if request.to.tag else to_tag,
        )
        self._servers[server.id] = server
        if not invite:
            server.start(Timer.J, now)
        if not request.to.tag and request.method != "CANCEL":
            server.merge_key = _merge_key(request)
            self._merged.setdefault(server.merge_key, server.id)
        return server

    def is_merged(self, server: ServerTransaction) -> bool:
        """Whether its request already came by another path (8.2.2.2)."""
        return server.merge_key is not None and self._merged.get(server.merge_key) != server.id

    def answer(self, server: ServerTransaction, response: Response, now: float) -> None:
        """Send a response of ours."""
        server.message = bytes(response)
        if response.status >= 200:
            server.request = None
        self.step(server, input_for(response.status), now)

    def send(self, request: Request, branch: str, flow: Flow, dialog_id: str, now: float) -> None:
        """Start a non-INVITE client transaction."""
        client = ClientTransaction(
            table=CLIENT,
            state=State.TRYING,
            flow=flow,
            timers=self.timers,
            message=bytes(request),
            id=branch,
            method=request.method,
            dialog_id=dialog_id,
        )
        self._clients[branch] = client
        client.start(Timer.E, now)
        client.start(Timer.F, now)
        self.outgoing.append((flow, client.message))

    def step(
        self, transaction: Transaction, event: Input | Timer, now: float
    ) -> tuple[Action, ...]:
        """Move a transaction; returns what is left to do for the core."""
        actions = transaction.step(event, now)
        if Action.SEND in actions and transaction.message:
            self.outgoing.append((transaction.flow, transaction.message))
        if transaction.state is State.TERMINATED:
            self._forget(transaction)
        return actions

    def due(self, now: float) -> Iterator[tuple[Transaction, tuple[Action, ...]]]:
        """Move every transaction whose timer is due."""
        while expired := self.timers.pop(now):
            transaction, timer = expired
            yield transaction, self.step(transaction, timer, now)

    def _forget(self, transaction: Transaction) -> None:
        if isinstance(transaction, ClientTransaction):
            self._clients.pop(transaction.id, None)
        elif isinstance(transaction, ServerTransaction):
            self._servers.pop(transaction.id, None)
            if transaction.merge_key is not None and not self.is_merged(transaction):
                del self._merged[transaction.merge_key]


def _merge_key(request: Request) -> MergeKey:
    return request.call_id, request.from_.tag, request.cseq.number, request.method

"""Dispatcher: what happened goes to destinations and policies, without anybody waiting for them.

Counterparts: `siprec.notifications` and `siprec.policies` say what there is to do (pure),
`storage.outbox` and `siprec.courier` deliver, `siprec.screen` drives the screen recorder.
"""

from collections.abc import Awaitable

from siprec.occurrence import Occurrence


class Dispatcher:
    """The thin edge between the recorder and everybody who is told."""

    def tell(self, occurrence: Occurrence) -> Awaitable[None] | None:
        """Queue notifications and start the actions of policies; returns at once.

        What is returned is done once the notifications outlive the process; None if there are none.
        """
        raise NotImplementedError

    async def raise_event(
        self, event: str, ucid: str, called_aors: tuple[str, ...] | None, account: int
    ) -> int:
        """An event raised from outside: start the actions of its policies; how many there were.

        `account`: only calls this account may see; 1: any. A call is found by UCID or ingress call
        id; without one, policies whose actions need none still act.
        """
        raise NotImplementedError

"""The event feed: order, bounds, and readers that do not keep up."""

import asyncio
from datetime import UTC, datetime

from siprec.feed import CAPACITY, EventFeed, FeedEvent, Subscription

NOW = datetime.now(UTC)


def event(number: int) -> FeedEvent:
    return FeedEvent("session.updated", NOW, str(number))


async def take(subscription: Subscription, count: int) -> list[int]:
    taken: list[int] = []
    async for each in subscription:
        taken.append(int(each.session_id))
        if len(taken) == count:
            break
    return taken


async def test_every_subscriber_gets_every_event_in_order() -> None:
    feed = EventFeed()
    with feed.subscribe() as one, feed.subscribe() as other:
        for number in range(5):
            feed.publish(event(number))
        assert await take(one, 5) == await take(other, 5) == [0, 1, 2, 3, 4]


async def test_a_waiting_reader_is_woken() -> None:
    feed = EventFeed()
    with feed.subscribe() as subscription:
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(take(subscription, 2))
            await asyncio.sleep(0)
            feed.publish(event(1))
            await asyncio.sleep(0)
            feed.publish(event(2))
        assert reading.result() == [1, 2]


async def test_a_slow_reader_loses_the_oldest_and_is_told_how_many() -> None:
    feed = EventFeed()
    with feed.subscribe() as subscription:
        for number in range(CAPACITY + 3):
            feed.publish(event(number))
        assert subscription.missed == 3
        assert (await take(subscription, CAPACITY))[0] == 3


async def test_nothing_reaches_a_reader_who_left() -> None:
    feed = EventFeed()
    with feed.subscribe() as subscription:
        pass
    feed.publish(event(1))
    assert subscription.missed == 0
    async with asyncio.timeout(1):
        feed.publish(event(2))
        with feed.subscribe() as later:
            feed.publish(event(3))
            assert await take(later, 1) == [3]


def test_listeners_are_told_of_everything_at_once_in_order() -> None:
    feed, heard = EventFeed(), list[FeedEvent]()
    feed.publish(event(0))
    feed.listen(heard.append)
    feed.listen(heard.append)
    for number in (1, 2):
        feed.publish(event(number))
    assert [int(each.session_id) for each in heard] == [1, 1, 2, 2]

"""Following jobs live: the events of a job are read once per change, however many clients follow it.

A followed job has one `Topic` in this process, which holds its events from the first on. A notification marks it, and
one read brings what is new; followers only wait on the topic. No event is missed: a topic is registered before it is
first read, notifications during a read cause another one, and after a lost connection all topics are read again.
"""

import asyncio
import weakref
from bisect import bisect_right
from collections.abc import AsyncGenerator, AsyncIterator, Callable

import structlog

from audiomill.errors import AudiomillError, BadRequest, DatabaseUnavailable
from audiomill.jobs.events.replay import EventView
from audiomill.jobs.states import FINISHED

log = structlog.get_logger(__name__)

ReadEvents = Callable[[str, str, int], list[EventView]]
"""(workspace id, job id, seq) → events after that number. Blocking; raises NotFound."""

CONCURRENT_READS = 2
"""Reads at a time: connections that the feed takes from the pool, whatever the number of followers."""

RETRY_SECONDS = 1.0
"""Pause before a read that failed is tried again."""


def _seq(event: EventView) -> int:
    return event.seq


class Topic:
    """The events of one job. Lives as long as somebody holds it, and is read as long as somebody follows it."""

    def __init__(self, workspace_id: str, job_id: str) -> None:
        self.workspace_id = workspace_id
        self.job_id = job_id
        self.events: list[EventView] = []
        self.stale = True
        self.followers = 0
        self.reading = asyncio.Lock()
        self.renewal: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    @property
    def seq(self) -> int:
        """Number of the newest event known."""
        return self.events[-1].seq if self.events else 0

    @property
    def ended(self) -> bool:
        """Whether the newest event is the last that the job will have, as far as anyone knows."""
        return bool(self.events) and self.events[-1].state in FINISHED

    def extend(self, events: list[EventView]) -> None:
        """Add new events and wake who waits."""
        if events:
            self.events.extend(events)
            self._changed.set()
            self._changed = asyncio.Event()

    async def coming(self, after: int) -> AsyncIterator[EventView]:
        """The events after that number as they come to be known; ends after the one that ends the job."""
        while True:
            changed = self._changed
            # In the order of their numbers; of an old job the first ones are gone (retention/events.py).
            for event in self.events[bisect_right(self.events, after, key=_seq) :]:
                yield event
                after = event.seq
            if self.ended and after >= self.seq:
                return
            if after >= self.seq:
                await changed.wait()


class JobFeed:
    """All topics of this process. Used on one event loop; `read` is run in threads."""

    def __init__(self, read: ReadEvents) -> None:
        self._read = read
        self._slots = asyncio.Semaphore(CONCURRENT_READS)
        self._topics: dict[str, weakref.WeakValueDictionary[str, Topic]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def topic(self, *, workspace_id: str, job_id: str, after: int = 0) -> Topic:
        """The job's topic, read. Raises NotFound, DatabaseUnavailable, and BadRequest for a number yet to come."""
        topics = self._topics.setdefault(job_id, weakref.WeakValueDictionary())
        topic = topics.get(workspace_id)
        if topic is None:
            topic = Topic(workspace_id, job_id)
            # Before the dictionary's own weak reference: callbacks run newest first, so its entry goes first.
            weakref.finalize(topic, self._forget, job_id).atexit = False
            topics[workspace_id] = topic
        await self._refresh(topic)
        if after > topic.seq:
            raise BadRequest(
                f"The job has {topic.seq} events, and the Last-Event-ID is {after}. Begin without one.",
                code="bad_last_event_id",
            )
        return topic

    async def follow(self, topic: Topic, after: int) -> AsyncGenerator[EventView, None]:
        """The events after that number, in order, each once, as they come; ends after the one that ends the job."""
        topic.followers += 1
        try:
            if topic.stale:  # it changed after it was read and before it was followed
                self._renew(topic)
            async for event in topic.coming(after):
                yield event
        finally:
            topic.followers -= 1

    def changed(self, job_id: str) -> None:
        """The job changed: read it again if anybody follows it."""
        for topic in list(self._topics.get(job_id, {}).values()):
            self._renew(topic)

    def gap(self) -> None:
        """Changes may have been missed: read all that is followed again."""
        for job_id in list(self._topics):
            self.changed(job_id)

    async def close(self) -> None:
        """End the reads that are under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _renew(self, topic: Topic) -> None:
        topic.stale = True
        if topic.followers and (topic.renewal is None or topic.renewal.done()):
            topic.renewal = asyncio.get_running_loop().create_task(self._refresh_for_followers(topic))
            self._tasks.add(topic.renewal)
            topic.renewal.add_done_callback(self._tasks.discard)

    async def _refresh_for_followers(self, topic: Topic) -> None:
        while True:
            try:
                await self._refresh(topic)
            except DatabaseUnavailable:
                log.warning("feed_read_failed", job_id=topic.job_id)
                await asyncio.sleep(RETRY_SECONDS)
            except AudiomillError as error:
                log.warning("feed_read_refused", job_id=topic.job_id, code=error.code)  # the job was deleted
                return
            else:
                return

    async def _refresh(self, topic: Topic) -> None:
        """Read until nothing changed meanwhile."""
        async with topic.reading:
            while topic.stale:
                topic.stale = False
                try:
                    async with self._slots:
                        events = await asyncio.to_thread(self._read, topic.workspace_id, topic.job_id, topic.seq)
                except BaseException:
                    topic.stale = True
                    raise
                topic.extend(events)

    def _forget(self, job_id: str) -> None:
        if not self._topics.get(job_id):
            self._topics.pop(job_id, None)

"""Whatever happens to a folder, in any order: every writing that a sweep came by is ordered, and ordered once."""

import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings as example
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from sqlalchemy import select

from audiomill.database.connection import Database
from audiomill.database.tables import Job, Recording
from audiomill.inbox import sweep as inbox
from audiomill.inbox.sweep import take_keys, take_page
from audiomill.settings import Settings
from audiomill.storage.local import LocalStore
from tests.fakes.orders import prepare, wipe

NAMES = st.sampled_from(["a.wav", "b.wav", "deep/c.wav"])
BYTES = st.sampled_from([b"one", b"two", b"three"])


class Crash(Exception):
    """The process dies here."""


class Folder(RuleBasedStateMachine):
    """A folder, its inbox, and what is to have been ordered: so many writings of each key, and one that is pending."""

    database: Database
    config: Settings

    @initialize()
    def begin(self) -> None:
        wipe(self.database)
        prepare(self.database, "acme")
        self.folder = Path(tempfile.mkdtemp())
        self.seconds = 1000
        self.ordered: Counter[str] = Counter()
        self.pending: set[str] = set()
        self.restart()

    def teardown(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    @rule()
    def restart(self) -> None:
        """Another process: what was kept in memory is gone."""
        self.store = LocalStore(self.folder, secret="secret", public_url="http://api.test")

    def key(self, name: str) -> str:
        return f"inbox/acme/transcribe/{name}"

    def path(self, name: str) -> Path:
        return self.folder / self.key(name)

    def date(self, name: str) -> None:
        # Clocks tell times by ticks; two writings between two sweeps are never within one, for a file must settle.
        self.seconds += 1
        os.utime(self.path(name), (self.seconds, self.seconds))
        self.pending.add(self.key(name))

    @rule(name=NAMES, data=BYTES)
    def write(self, name: str, data: bytes) -> None:
        """In place of what was there."""
        self.store.put_bytes(self.key(name), data)
        self.date(name)

    @rule(name=NAMES, data=BYTES)
    def write_into(self, name: str, data: bytes) -> None:
        """Into the same file."""
        if self.path(name).exists():
            self.path(name).write_bytes(data)
            self.date(name)

    @rule(name=NAMES)
    def touch(self, name: str) -> None:
        if self.path(name).exists():
            self.date(name)

    @rule(name=NAMES)
    def restore(self, name: str) -> None:
        """The same bytes and time in another file, as a backup or a moved disk brings it: no writing."""
        path = self.path(name)
        if path.exists():
            shutil.copy2(path, path.with_name("x.tmp"))
            path.with_name("x.tmp").replace(path)
            path.chmod(0o640)

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        self.path(name).unlink(missing_ok=True)
        self.pending.discard(self.key(name))

    @rule()
    def sweep(self) -> None:
        after: str | None = None
        while True:
            tally = take_page(self.database, self.store, after=after, settings=self.config)
            after = tally.next_after
            if after is None:
                break
        self.compare(whole=True)

    @rule()
    def sweep_a_page(self) -> None:
        """The rest is lost with the process that held its place."""
        take_page(self.database, self.store, after=None, settings=self.config)
        self.compare(whole=False)

    @rule(names=st.lists(NAMES))
    def look(self, names: list[str]) -> None:
        take_keys(self.database, self.store, keys=[self.key(name) for name in names], settings=self.config)
        self.compare(whole=False)

    @rule(after_writing=st.booleans())
    def crash(self, *, after_writing: bool) -> None:
        """Between two steps: before or after the entries were written, and before the transaction ended."""
        written = inbox.write_notes

        def dying(*arguments: object) -> None:
            if after_writing:
                written(*arguments)  # type: ignore[arg-type]  # as they come
            raise Crash

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(inbox, "write_notes", dying)
            try:
                take_page(self.database, self.store, after=None, settings=self.config)
            except Crash:
                self.restart()
        self.compare(whole=False)

    def compare(self, *, whole: bool) -> None:
        with self.database.session() as session:
            keys = session.scalars(select(Recording.object_key).join(Job, Job.recording_id == Recording.id)).all()
        found = Counter(keys)
        for key in self.ordered | Counter(self.pending) | found:
            expected = self.ordered[key] + (key in self.pending)
            assert found[key] == expected or (not whole and found[key] == self.ordered[key]), key
            if found[key] == expected:
                self.pending.discard(key)
                self.ordered[key] = expected


@pytest.fixture
def config(settings: Settings) -> Settings:
    return settings.model_copy(
        update={"inbox": settings.inbox.model_copy(update={"settle_seconds": 0, "page_size": 2})}
    )


def test_every_writing_is_ordered_once(database: Database, config: Settings) -> None:
    Folder.database, Folder.config = database, config
    run_state_machine_as_test(Folder, settings=example(max_examples=25, stateful_step_count=25, deadline=None))

"""What a sweep of a local inbox costs when nothing in it is new: `python -m benchmarks.inbox --files N --json PATH`.

Files are empty and all in one folder, the worst case; their entries are written as a first sweep leaves them. CPU is
of this process and of PostgreSQL. A whole sweep is measured at once; a platform spreads it over its ticks.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

from sqlalchemy import insert, text

from audiomill.accounts.workspaces import ensure_workspace
from audiomill.database.connection import Database
from audiomill.database.embedded import ensure_server
from audiomill.database.migrate import upgrade
from audiomill.database.tables import InboxEntry
from audiomill.inbox.sweep import take_page
from audiomill.settings import Settings
from audiomill.storage import ObjectInfo, open_store
from benchmarks.processor_time import adopt_orphans, cpu_seconds

FOLDER = "inbox/acme/transcribe"


def main() -> None:
    """Measure and print, as a table and as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=200_000)
    parser.add_argument("--pages", type=int, default=None, help="only so many pages of the sweep, and multiplied")
    parser.add_argument("--json", type=Path, default=None)
    chosen = parser.parse_args()
    adopt_orphans()
    with tempfile.TemporaryDirectory(prefix="audiomill-inbox-") as folder:
        settings = Settings(data_dir=Path(folder))
        server = ensure_server(settings)
        try:
            figures = measured(settings, chosen.files, chosen.pages)
        finally:
            server.stop()
    for name, value in figures.items():
        print(f"{name:32} {value:12,.3f}")
    if chosen.json is not None:
        chosen.json.write_text(json.dumps(figures, indent=2))


def measured(settings: Settings, files: int, pages: int | None) -> dict[str, float]:
    """Figures of one sweep, after another one that nothing is counted of."""
    database = Database.from_settings(settings)
    upgrade(database.engine)
    with database.session() as session:
        ensure_workspace(session, "acme")
    store = open_store(settings)
    place = settings.data_dir / "store" / FOLDER
    place.mkdir(parents=True)
    for number in range(files):
        (place / f"{number:07}.wav").touch()
    seen(database, [store.stat(f"{FOLDER}/{number:07}.wav") for number in range(files)])
    most = pages or files
    swept(database, settings, min(most, 20))
    before, own, began = sum(cpu_seconds().values()), time.process_time(), time.monotonic()
    looked_at, pages_taken = swept(database, settings, most)
    own = time.process_time() - own
    spent = own + sum(cpu_seconds().values()) - before
    share = files / looked_at
    database.dispose()
    return {
        "files": files,
        "pages": pages_taken,
        "cpu_seconds_a_sweep": spent * share,
        "cpu_seconds_own": own * share,
        "cpu_ms_a_page": 1000 * spent / pages_taken,
        "wall_seconds_a_sweep": (time.monotonic() - began) * share,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def seen(database: Database, infos: list[ObjectInfo]) -> None:
    """Entries as if all of them had been ordered."""
    columns = set(InboxEntry.__table__.columns.keys())
    for start in range(0, len(infos), 5000):
        rows = [
            {
                "object_key": info.key,
                "signature": info.signature,
                "written": getattr(info, "written", None),
                "version": "0" * 64,
                "outcome": "submitted",
            }
            for info in infos[start : start + 5000]
        ]
        with database.session() as session:
            session.execute(
                insert(InboxEntry), [{key: value for key, value in row.items() if key in columns} for row in rows]
            )
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE inbox_entries"))


def swept(database: Database, settings: Settings, most_pages: int) -> tuple[int, int]:
    """Objects looked at and pages taken, of a store of its own."""
    store, after, looked_at, pages = open_store(settings), None, 0, 0
    while pages < most_pages:
        tally = take_page(database, store, after=after, settings=settings)
        assert tally.submitted + tally.rejected + tally.waiting == 0, "nothing here is new"
        looked_at, pages, after = looked_at + tally.looked_at, pages + 1, tally.next_after
        if after is None:
            break
    return looked_at, pages


if __name__ == "__main__":
    main()

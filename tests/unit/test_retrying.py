"""What the database breaks off is sent again; what it refuses is not for long. None of it is a customer's fault."""

import threading

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from audiomill.database.connection import Database
from audiomill.database.retrying import persistently
from audiomill.errors import AudiomillError, BadInput, DatabaseUnavailable, OperatorError

BROKEN_OFF = {
    "deadlock": "40P01",
    "serialisation failure": "40001",
    "lock timeout": "55P03",
    "statement timeout": "57014",
    "disk full": "53100",
    "out of memory": "53200",
    "the server stops": "57P01",
    "too many connections": "53300",
}


def raising(session: Session, code: str) -> None:
    session.execute(text(f"DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '{code}'; END $$"))


@pytest.mark.parametrize("code", BROKEN_OFF.values(), ids=BROKEN_OFF)
def test_what_was_broken_off_is_sent_again(database: Database, code: str) -> None:
    tries: list[int] = []

    def action(session: Session) -> str:
        tries.append(1)
        if len(tries) < 3:
            raising(session, code)
        return "written"

    assert persistently(database, action, seconds=30) == "written"
    assert len(tries) == 3


@pytest.mark.parametrize("code", BROKEN_OFF.values(), ids=BROKEN_OFF)
def test_what_is_always_broken_off_is_the_databases_fault(database: Database, code: str) -> None:
    with pytest.raises(DatabaseUnavailable):
        persistently(database, lambda session: raising(session, code), seconds=0.1)


def test_what_is_refused_is_not_sent_for_ever(database: Database) -> None:
    tries: list[int] = []

    def action(session: Session) -> None:
        tries.append(1)
        session.execute(text("SELECT * FROM no_such_table"))

    with pytest.raises(OperatorError) as caught:
        persistently(database, action, seconds=600)
    assert (caught.value.code, len(tries)) == ("database_refused", 3)


def test_what_is_raised_on_purpose_passes_at_once(database: Database) -> None:
    tries: list[int] = []

    def action(_: Session) -> None:
        tries.append(1)
        raise BadInput("No.")

    with pytest.raises(AudiomillError, match="No"):
        persistently(database, action, seconds=600)
    assert tries == [1]


def test_two_writers_in_a_circle_both_write(database: Database) -> None:
    with database.session() as session:
        session.execute(text("CREATE TABLE pair (id int PRIMARY KEY, n int)"))
        session.execute(text("INSERT INTO pair VALUES (1, 0), (2, 0)"))
    both = threading.Barrier(2)
    met: set[int] = set()

    def write(first: int) -> None:
        def action(session: Session) -> None:
            session.execute(text("SET LOCAL deadlock_timeout = '50ms'"))
            session.execute(text("UPDATE pair SET n = n + 1 WHERE id = :id"), {"id": first})
            if first not in met:
                met.add(first)
                both.wait(10)
            session.execute(text("UPDATE pair SET n = n + 1 WHERE id = :id"), {"id": 3 - first})

        persistently(database, action, seconds=30)

    threads = [threading.Thread(target=write, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.session() as session:
        assert session.scalars(text("SELECT n FROM pair ORDER BY id")).all() == [2, 2]


def test_without_it_a_deadlock_is_an_error(database: Database) -> None:
    with pytest.raises(OperationalError), database.session() as session:
        raising(session, BROKEN_OFF["deadlock"])

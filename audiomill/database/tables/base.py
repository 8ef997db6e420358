"""What all tables share: names of constraints, types of columns, the time of making, the check of a state."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, DateTime, Double, MetaData, Text, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Base of all tables."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own declaration
        datetime: DateTime(timezone=True),
        str: Text(),
        float: Double(),
        dict[str, Any]: JSONB(),
        list[dict[str, str]]: JSONB(),
        list[str]: JSONB(),
    }


def now() -> Mapped[datetime]:
    """A column with the time at which its row was made."""
    return mapped_column(server_default=func.clock_timestamp())


def states(*names: str) -> CheckConstraint:
    """The check that `state` is one of these; the moves between them are in audiomill/jobs/states.py."""
    listed = ", ".join(f"'{name}'" for name in names)
    return CheckConstraint(f"state IN ({listed})", name="state")

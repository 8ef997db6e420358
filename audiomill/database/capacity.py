"""How many connections a platform needs at most, and what keeps one from hanging when its server vanished.

A machine that is switched off or a cable that is cut says nothing: without these, a query waits for a quarter of an
hour, and a connection attempt for two minutes. They stand in the URL, so that every driver obeys them, Dagster's too.
"""

from urllib.parse import parse_qs, urlsplit

from audiomill.settings import Settings

DAGSTER_CONNECTIONS = 8
"""Of one process to Dagster's database (resources/dagster_storage.py), with the pooled storage."""
DAGSTER_PROGRAMS = 3
"""Daemon, code server, webserver. Runs come on top."""
OWN_PROGRAMS = 2
"""API and code server."""
APART = 12
"""Beside the pools: the API's hot reads, its orders and its listener, and the ticks that wait."""
SPARE = 12
"""For commands, an operator's psql, and the three that PostgreSQL keeps for superusers."""


def connections_needed(settings: Settings) -> int:
    """The most that one machine's platform opens: every pool full, every run at work."""
    runs = settings.cpu.cpu_runs + settings.cpu.gpu_runs + settings.cpu.remote_runs + 1  # the daily tables
    own = (OWN_PROGRAMS + runs) * 2 * settings.database.pool_size
    return own + (DAGSTER_PROGRAMS + runs) * DAGSTER_CONNECTIONS + APART + SPARE


def too_few_connections(settings: Settings, max_connections: int) -> str | None:
    """A sentence for operators where one server of their own has both databases and lets in fewer than that."""
    needed = connections_needed(settings)
    if max_connections >= needed or settings.database.direct_url is not None:  # past a pooler, which needs few
        return None
    return (
        f"PostgreSQL lets in {max_connections} connections; this platform may open {needed} when all of its runs are "
        f"at work, and the last would be refused. Set max_connections = {needed} in postgresql.conf and restart "
        "PostgreSQL, or put PgBouncer before it (deploy/README.md)."
    )


def steady(url: str, settings: Settings) -> str:
    """The URL with limits on connecting and on silence, as libpq names them; what the URL says itself is left."""
    silence = settings.database.silence_seconds
    limits = {
        "connect_timeout": settings.database.connect_timeout_seconds,
        "keepalives": 1,
        "keepalives_idle": max(1, silence // 2),
        "keepalives_interval": max(1, silence // 6),
        "keepalives_count": 3,
        "tcp_user_timeout": silence * 1000,
    }
    said = parse_qs(urlsplit(url).query, keep_blank_values=True)
    missing = "&".join(f"{name}={value}" for name, value in limits.items() if name not in said)
    return f"{url}{'&' if '?' in url else '?'}{missing}" if missing else url

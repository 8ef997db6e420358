"""The operator's key, and what is signed with it: sessions of browsers and links that log in once. No HTTP here."""

import hmac
import secrets
from dataclasses import dataclass, field

from itsdangerous import BadData, URLSafeTimedSerializer

from audiomill.settings import Settings
from audiomill.storage.key_files import made_once

SESSION_SECONDS = 12 * 3600
LINK_SECONDS = 3600


def operator_key(settings: Settings) -> str:
    """This installation's: from the settings, or made once under <data_dir>/keys. Raises ConfigurationError."""
    if settings.dagster.operator_key is not None:
        return settings.dagster.operator_key.get_secret_value()
    path = settings.data_dir / "keys" / "operator-key"
    return made_once(path, f"amop_{secrets.token_urlsafe(32)}".encode).decode().strip()


def bearer(settings: Settings) -> dict[str, str]:
    """The header with which programs ask Dagster's webserver."""
    return {"Authorization": f"Bearer {operator_key(settings)}"}


def session_cookie(settings: Settings) -> str:
    """The name of the cookie that holds a session."""
    # Cookies know no ports: two platforms of one machine must not log each other out.
    return f"audiomill_operator_{settings.dagster.port}"


def own_session(settings: Settings, origin: str) -> dict[str, str]:
    """Headers with which programs of ours ask Dagster's webserver at `origin`: a session's, as a page of its own has.

    Not the key: it is refused for a while to all of this machine once anybody here was wrong about it too often.
    """
    session = Sessions(operator_key(settings)).new_session()
    return {"Cookie": f"{session_cookie(settings)}={session}", "Origin": origin}


def login_url(settings: Settings) -> str:
    """An address of Dagster's UI that logs in whoever opens it first within LINK_SECONDS."""
    return f"{settings.dagster_ui_url}/login?token={Sessions(operator_key(settings)).new_link()}"


@dataclass
class Sessions:
    """Tokens signed with the key: a new key ends them all. One object per process: it knows which links were used."""

    key: str
    _used: dict[str, None] = field(default_factory=dict, init=False)

    def is_key(self, given: str) -> bool:
        """Whether it is the key. Takes the same time whatever is given."""
        return hmac.compare_digest(given.encode(), self.key.encode())

    def new_session(self) -> str:
        """What a browser keeps."""
        return self._serializer("session").dumps("operator")

    def is_session(self, token: str) -> bool:
        """Whether it is a session of ours that has not expired."""
        return self._read("session", token, SESSION_SECONDS) is not None

    def new_link(self) -> str:
        """A token that logs in once."""
        return self._serializer("link").dumps(secrets.token_hex(16))

    def use_link(self, token: str) -> bool:
        """Whether it logs in: this time, and never again."""
        name = self._read("link", token, LINK_SECONDS)
        if name is None or name in self._used:
            return False
        self._used[name] = None
        return True

    def _serializer(self, purpose: str) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(self.key, salt=f"audiomill operator {purpose}")

    def _read(self, purpose: str, token: str, seconds: int) -> str | None:
        try:
            return str(self._serializer(purpose).loads(token, max_age=seconds))
        except BadData:
            return None

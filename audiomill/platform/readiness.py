"""Whether a platform's programs run and answer: supervisor's view, the API, Dagster's webserver and code location."""

import socket
import xmlrpc.client
from dataclasses import dataclass
from pathlib import Path

import httpx

from audiomill.operators.key import own_session
from audiomill.platform.sockets import code_server_socket
from audiomill.settings import Settings

_LOCATIONS = "{ workspaceOrError { ... on Workspace { locationEntries { locationOrLoadError { __typename } } } } }"


def supervisor_rpc(socket_file: Path) -> xmlrpc.client.ServerProxy:
    """Supervisor's own interface over its Unix socket, to be used as a context, which closes the connection.

    Calls raise OSError while it does not listen.
    """
    from supervisor.xmlrpc import SupervisorTransport  # noqa: PLC0415 - brings the whole of supervisor

    return xmlrpc.client.ServerProxy(
        "http://127.0.0.1", transport=SupervisorTransport(None, None, f"unix://{socket_file}")
    )


@dataclass(frozen=True)
class ProgramState:
    """A program as supervisor sees it: RUNNING, STARTING, BACKOFF, FATAL, …"""

    name: str
    state: str
    description: str
    pid: int
    """0 while it does not run."""


def program_states(socket_file: Path) -> list[ProgramState]:
    """All programs of the platform. Raises OSError while supervisor does not listen."""
    with supervisor_rpc(socket_file) as rpc:
        answer = rpc.supervisor.getAllProcessInfo()
    if not isinstance(answer, list):
        raise OSError(f"Supervisor's answer is no list: {answer!r}")
    return [ProgramState(info["name"], info["statename"], info["description"], info["pid"]) for info in answer]


class Readiness:
    """Asks in the order of need, and starts what waits for the code server."""

    def __init__(self, settings: Settings, socket_file: Path) -> None:
        self._settings = settings
        self._socket_file = socket_file
        self._missing = ["code server", "webserver", "code location", "API"]
        self._released = False

    def waiting_for(self) -> str:
        """What has not answered yet."""
        return ", ".join(self._missing)

    def all_ready(self) -> bool:
        """Whether everything answered. What did once is not asked again."""
        for name in tuple(self._missing):
            if self._answers(name):
                self._missing.remove(name)
        if "code server" not in self._missing and not self._released:
            self._release()
        return not self._missing

    def _answers(self, name: str) -> bool:
        try:
            match name:
                case "code server":
                    with socket.socket(socket.AF_UNIX) as probe:
                        probe.settimeout(1)
                        probe.connect(str(code_server_socket(self._settings.data_dir)))
                        return True
                case "webserver":
                    origin = self._dagster()
                    headers = own_session(self._settings, origin)
                    return httpx.get(f"{origin}/server_info", headers=headers, timeout=2).is_success
                case "code location":
                    return "webserver" not in self._missing and self._location_loaded()
                case _:
                    return httpx.get(f"{self._api()}/readyz", timeout=5).is_success
        except (OSError, httpx.HTTPError):
            return False

    def _location_loaded(self) -> bool:
        origin = self._dagster()
        headers = own_session(self._settings, origin)
        answer = httpx.post(f"{origin}/graphql", json={"query": _LOCATIONS}, headers=headers, timeout=10)
        if not answer.is_success:
            return False
        entries = answer.json()["data"]["workspaceOrError"].get("locationEntries") or []
        states = [(entry["locationOrLoadError"] or {}).get("__typename") for entry in entries]
        return bool(states) and all(state == "RepositoryLocation" for state in states)

    def _release(self) -> None:
        # They read the workspace when they start; with the code server away they would look again a minute later.
        with supervisor_rpc(self._socket_file) as rpc:
            for program in ("webserver", "daemon"):
                try:
                    rpc.supervisor.startProcess(program, False)
                except xmlrpc.client.Fault as fault:
                    if "ALREADY_STARTED" not in fault.faultString:
                        raise
        self._released = True

    def _dagster(self) -> str:
        # Not the public URL: a proxy may stand before it.
        # As httpx writes it in Host, with which the guard compares the origin: small letters, and no port 80.
        return str(httpx.URL(f"http://{_reachable(self._settings.dagster.host)}:{self._settings.dagster.port}"))

    def _api(self) -> str:
        return f"http://{_reachable(self._settings.api.host)}:{self._settings.api.port}"


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104 - a comparison

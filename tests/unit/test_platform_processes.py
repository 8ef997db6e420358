"""What `up` prepares: Dagster's files, supervisor's configuration, the start lock, ports, leftovers."""

import os
import shlex
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from audiomill.errors import ConfigurationError
from audiomill.platform.instance import DATABASE_VARIABLE, database_variable, workspace_yaml, write_instance
from audiomill.platform.processes import StartLock, end_leftovers, free_ports, platform_processes, require_free_port
from audiomill.platform.sockets import code_server_socket, socket_folder, supervisor_socket
from audiomill.platform.supervision import MARK, configuration, program_environment, programs
from audiomill.settings import Settings
from tests.fakes.another_user import as_nobody


@pytest.fixture
def settings(tmp_path):
    return Settings(data_dir=tmp_path)


def test_dagster_takes_the_instance(settings, database_urls, monkeypatch):
    from dagster import DagsterInstance

    monkeypatch.setenv(DATABASE_VARIABLE, database_variable(database_urls.dagster))
    home = write_instance(settings)
    with DagsterInstance.from_config(str(home)) as instance:
        queue = instance.get_concurrency_config().run_queue_config
        assert queue is not None
        assert queue.max_concurrent_runs == settings.cpu.cpu_runs + settings.cpu.gpu_runs + settings.cpu.remote_runs + 1
        limits = {limit["value"]: limit["limit"] for limit in queue.tag_concurrency_limits}
        assert limits == {"cpu": 2, "gpu": 1, "remote": 2}
        # A code server that restarts is away for half a minute or so.
        assert queue.max_user_code_failure_retries * queue.user_code_failure_retry_delay >= 300
        assert instance.run_monitoring_enabled
        assert not instance.run_retries_enabled
        assert not instance.telemetry_enabled
        assert instance.get_runs_count() == 0


def test_no_password_in_dagster_s_files(settings):
    home = write_instance(settings)
    assert "postgresql" not in (home / "dagster.yaml").read_text()


@pytest.mark.parametrize("url", ["postgresql://u:p@h/d", "postgres://u:p@h/d"])
def test_dagster_is_given_the_driver_it_speaks(url):
    assert database_variable(url) == "postgresql+psycopg2://u:p@h/d"


def test_supervisor_reads_the_configuration_as_it_was_meant(settings, tmp_path):
    # A percent sign, a quote and a blank in the path: all have a meaning to supervisor or to a shell.
    folder = tmp_path / "50% o'clock"
    folder.mkdir()
    settings = Settings(data_dir=folder)
    for name in ("logs", "dagster"):
        (folder / name).mkdir()
    listed = programs(settings, embedded=True)
    file = folder / "supervisord.conf"
    file.write_text(configuration(settings, supervisor_socket(folder), listed))
    program = (
        "import sys, json\n"
        "from supervisor.options import ServerOptions\n"
        "options = ServerOptions(); options.realize(['-n', '-c', sys.argv[1]])\n"
        "print(json.dumps([[g.priority, p.name, p.command, p.stopasgroup, p.killasgroup, p.stdout_logfile]"
        " for g in options.process_group_configs for p in g.process_configs]))"
    )
    result = subprocess.run([sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=True)
    import json

    read = sorted(json.loads(result.stdout))
    assert {entry[5] for entry in read} == {str(folder / "logs" / f"{each.name}.log") for each in listed}
    assert read[0][1] == "database", "it starts first and stops last"
    commands = {name: shlex.split(command) for _, name, command, *_ in read}
    for each in listed:
        assert tuple(commands[each.name][-len(each.command) :]) == each.command
    assert all(entry[3] and entry[4] for entry in read)


def test_programs_never_start_a_database_of_their_own(settings):
    environment = program_environment(settings, database_url="a", dagster_url="b", dagster_variable="c")
    assert environment["AUDIOMILL_DATABASE__URL"] == "a"
    text = configuration(settings, supervisor_socket(settings.data_dir), programs(settings, embedded=True))
    unset = [line for line in text.splitlines() if "-u' 'AUDIOMILL_DATABASE__URL'" in line]
    assert len(unset) == 1, "only `database serve` sees the embedded server as its own"


def test_start_lock_names_its_holder_and_is_freed(tmp_path):
    first, second = StartLock(tmp_path), StartLock(tmp_path)
    first.acquire("up")
    with pytest.raises(ConfigurationError, match=rf"audiomill up.*process {os.getpid()}"):
        second.acquire("up")
    first.release()
    second.acquire("demo")
    second.release()


def test_start_lock_of_a_killed_process_is_free(tmp_path):
    program = (
        "import sys, time; from pathlib import Path; from audiomill.platform.processes import StartLock\n"
        "StartLock(Path(sys.argv[1])).acquire('up'); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(ConfigurationError):
            StartLock(tmp_path).acquire("up")
        holder.kill()
        holder.wait()
    lock = StartLock(tmp_path)
    lock.acquire("up")
    lock.release()


def test_taken_port_is_refused_with_its_setting():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match="AUDIOMILL_API__PORT"):
            require_free_port("127.0.0.1", port, "The API", "AUDIOMILL_API__PORT")
    require_free_port("127.0.0.1", port, "The API", "AUDIOMILL_API__PORT")


def test_free_ports_are_different():
    assert len(set(free_ports(5))) == 5


def test_leftovers_of_this_data_directory_only_are_ended(tmp_path):
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    # One that ignores SIGTERM must go too, but then the test would last: SIGTERM is enough here.
    sleepers = [
        subprocess.Popen(["sleep", "60"], env={**os.environ, MARK: str(folder.resolve())}) for folder in (ours, theirs)
    ]
    try:
        assert [each.pid for each in platform_processes(ours)] == [sleepers[0].pid]
        assert end_leftovers(ours) == 1
        assert platform_processes(ours) == []
        assert psutil.Process(sleepers[1].pid).is_running()
    finally:
        for sleeper in sleepers:
            sleeper.kill()
            sleeper.wait()


@pytest.mark.parametrize("name", ["a-long-folder-name-of-somebody/" * 6, "50% o'clock"])
def test_sockets_of_an_unfit_path_lie_elsewhere_and_private(tmp_path, name):
    data_dir = tmp_path / name
    path = code_server_socket(data_dir)
    assert len(os.fsencode(path)) <= 100
    assert "%" not in str(path), "gRPC would read it as an escape"
    assert path == code_server_socket(data_dir)
    assert supervisor_socket(data_dir).parent == path.parent
    assert path.parent.stat().st_mode & 0o077 == 0
    path.parent.rmdir()


def test_sockets_lie_in_a_folder_of_ours_alone():
    with tempfile.TemporaryDirectory(prefix="a-") as folder:
        data_dir = Path(folder)
        (data_dir / "sockets").mkdir(mode=0o777)
        assert socket_folder(data_dir) == data_dir.resolve() / "sockets"
        assert (data_dir / "sockets").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("prepared", ["open", "link"])
def test_a_socket_folder_that_somebody_prepared_is_refused(tmp_path, prepared):
    data_dir = tmp_path / ("deep/" * 30)
    folder = socket_folder(data_dir)
    folder.rmdir()
    try:
        folder.symlink_to(tmp_path) if prepared == "link" else folder.mkdir(0o755)
        with pytest.raises(ConfigurationError, match="not a folder of yours alone"):
            socket_folder(data_dir)
    finally:
        folder.unlink() if prepared == "link" else folder.rmdir()


def test_code_server_listens_on_no_port(settings):
    """Whoever reaches the code server runs any command as its user: it has a socket behind a closed folder."""
    (code_server,) = (each for each in programs(settings, embedded=True) if each.name == "code-server")
    given = set(code_server.command)
    assert str(code_server_socket(settings.data_dir)) in given
    assert not given & {"--port", "-p", "--host", "-h"}
    (entry,) = workspace_yaml(settings)["load_from"]
    assert set(entry["grpc_server"]) == {"socket", "location_name"}


def test_another_user_reaches_no_socket():
    """Through the code server's any command is run, through supervisor's programs are started."""
    with tempfile.TemporaryDirectory(prefix="a-") as folder:
        Path(folder).chmod(0o755)
        (Path(folder) / "sockets").mkdir(mode=0o755)
        for path in (code_server_socket(Path(folder)), supervisor_socket(Path(folder))):
            with socket.socket(socket.AF_UNIX) as listening:
                listening.bind(str(path))
                listening.listen()
                path.chmod(0o777)  # not every system looks at it

                def reach(path: Path = path) -> None:
                    with socket.socket(socket.AF_UNIX) as client:
                        client.connect(str(path))

                reach()
                assert "PermissionError" in as_nobody(reach)


def test_the_webserver_is_the_one_behind_the_guard(settings):
    commands = [each.command for each in programs(settings, embedded=True)]
    assert any("resources.webserver" in command for command in commands)
    assert not any(Path(part).name == "dagster-webserver" for command in commands for part in command)

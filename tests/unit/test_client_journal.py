"""`submit` repeated after a crash at each of its steps: no file is ordered twice, none is forgotten."""

from pathlib import Path

import pytest
import typer

from audiomill.client.journal import Journal, fingerprint, journal_path
from audiomill.client.submitting import send_and_order
from audiomill.errors import BadRequest, Conflict, CustomerError, OperatorError


class Service:
    """The API's promises in memory: jobs once per idempotency key; dies where it is told to."""

    def __init__(self) -> None:
        self.uploads: list[str] = []
        self.orders: dict[str, list[str]] = {}
        self.inputs: list[list[dict[str, str]]] = []
        self.dies_after_order = self.dies_before_order = False
        self.refuses: dict[str, CustomerError] = {}
        self.forgotten: set[str] = set()

    def upload(self, path: Path, sent=lambda _: None) -> str:
        if path.name in self.refuses:
            raise self.refuses[path.name]
        self.uploads.append(f"upl_{len(self.uploads)}")
        sent(path.stat().st_size)
        return self.uploads[-1]

    def order(self, recipe, parameters, inputs, idempotency_key):
        if self.dies_before_order:
            raise OperatorError("away")
        if recipe == "unknown":
            raise BadRequest("There is no recipe 'unknown'.", code="unknown_recipe")
        if any(given["upload_id"] in self.forgotten for given in inputs):
            raise CustomerError("no such upload", code="upload_not_found")
        self.inputs.append(list(inputs))
        jobs = [f"job_{given['upload_id']}" for given in inputs if "role" not in given]
        jobs = self.orders.setdefault(idempotency_key, jobs)
        if self.dies_after_order:
            raise OperatorError("the answer was lost")
        return jobs

    def jobs(self) -> list[str]:
        return [job for jobs in self.orders.values() for job in jobs]


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.wav").write_bytes(b"sound" * (number + 1))
    return sorted(folder.iterdir())


def run(service, files, place, recipe="transcribe"):
    with Journal(place) as journal:
        return send_and_order(service, files, recipe=recipe, parameters={}, journal=journal)


def test_repeat_orders_nothing_anew(files, tmp_path):
    service = Service()
    first = run(service, files, tmp_path / "j")
    second = run(service, files, tmp_path / "j")
    assert [each.job_id for each in first] == [each.job_id for each in second]
    assert all(each.again for each in second)
    assert len(service.jobs()) == len(service.uploads) == 3


@pytest.mark.parametrize("moment", ["dies_before_order", "dies_after_order"])
def test_crash_around_the_order(files, tmp_path, moment):
    service = Service()
    setattr(service, moment, True)
    with pytest.raises(OperatorError):
        run(service, files, tmp_path / "j")
    setattr(service, moment, False)
    ordered = run(service, files, tmp_path / "j")
    assert len(service.jobs()) == 3, "the same order was sent again, and the service knew it"
    assert len(service.uploads) == 3, "what was sent once is not sent again"
    assert [each.job_id for each in ordered] == service.jobs()


def test_new_file_after_a_lost_answer(files, tmp_path):
    service = Service()
    service.dies_after_order = True
    with pytest.raises(OperatorError):
        run(service, files[1:], tmp_path / "j")
    service.dies_after_order = False
    ordered = run(service, files, tmp_path / "j")
    assert len(service.jobs()) == 3, "the first order was repeated as it was, not joined with the new file"
    assert all(each.job_id for each in ordered)


@pytest.mark.parametrize("keep", [1, 5, 20])
def test_torn_last_line(files, tmp_path, keep):
    service, place = Service(), tmp_path / "j"
    run(service, files, place)
    whole = place.read_bytes()
    lines = whole.splitlines(keepends=True)
    place.write_bytes(b"".join(lines[:-1]) + lines[-1][:keep])
    ordered = run(service, files, place)
    assert len(service.jobs()) == 3
    assert all(each.job_id for each in ordered)


def test_changed_file_is_another_order(files, tmp_path):
    service = Service()
    run(service, files, tmp_path / "j")
    files[0].write_bytes(b"other sound")
    run(service, files, tmp_path / "j")
    assert len(service.jobs()) == 4


def test_refused_file_fails_alone(files, tmp_path):
    service = Service()
    service.refuses["1.wav"] = CustomerError("'1.wav' is empty.", code="empty_file")
    ordered = run(service, files, tmp_path / "j")
    assert [each.reason for each in ordered] == [None, "'1.wav' is empty.", None]
    assert len(service.jobs()) == 2


def test_refused_order_is_raised_and_can_be_corrected(files, tmp_path):
    service = Service()
    with pytest.raises(BadRequest, match="no recipe"):
        run(service, files, tmp_path / "j", recipe="unknown")
    run(service, files, tmp_path / "j")
    assert len(service.jobs()) == 3


def test_upload_that_expired_is_sent_again_by_a_repeat(files, tmp_path):
    service = Service()
    service.dies_before_order = True
    with pytest.raises(OperatorError):
        run(service, files, tmp_path / "j")
    service.dies_before_order = False
    service.forgotten = set(service.uploads)
    ordered = run(service, files, tmp_path / "j")
    assert all(each.job_id for each in ordered)
    assert len(service.jobs()) == 3


def test_second_submit_at_the_same_time_is_refused(tmp_path):
    with Journal(tmp_path / "j"), pytest.raises(Conflict, match="another process"), Journal(tmp_path / "j"):
        pass


def test_same_file_twice_on_the_command_line_is_one_job(files, tmp_path):
    service = Service()
    ordered = run(service, [files[0], files[0]], tmp_path / "j")
    assert len(service.jobs()) == 1
    assert ordered[0].job_id == ordered[1].job_id


def test_journal_of_another_key_or_parameter_is_another_journal(tmp_path):
    def place(**change):
        about = {"base_url": "http://a", "key": "am_1", "recipe": "r", "parameters": {"a": 1}} | change
        return journal_path(tmp_path, **about)

    assert place() == place()
    others = {place(base_url="http://b"), place(key="am_2"), place(recipe="s"), place(parameters={"a": 2})}
    assert len(others | {place()}) == 5
    assert "am_1" not in str(place())


def test_fingerprint_changes_with_the_file(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"1")
    before = fingerprint(path)
    path.write_bytes(b"12")
    assert fingerprint(path) != before


@pytest.mark.parametrize("moment", ["dies_before_order", "dies_after_order"])
def test_further_inputs_make_one_job_with_the_file_whatever_happens(files, tmp_path, moment):
    def once() -> list[str | None]:
        with Journal(tmp_path / "j") as journal:
            others = [("subtitles", files[1]), ("voice", files[2])]
            ordered = send_and_order(service, files[:1], recipe="dub", parameters={}, journal=journal, others=others)
        return [each.job_id for each in ordered]

    service = Service()
    setattr(service, moment, True)
    with pytest.raises(OperatorError):
        once()
    setattr(service, moment, False)
    assert once() == once() == service.jobs()
    assert len(service.jobs()) == 1
    assert len(service.uploads) == 3
    roles = [[given.get("role") for given in inputs] for inputs in service.inputs]
    assert all(each == [None, "subtitles", "voice"] for each in roles)


def test_a_further_input_that_is_refused_orders_nothing(files, tmp_path):
    service = Service()
    service.refuses[files[1].name] = BadRequest("It is empty.", code="empty_file")
    with Journal(tmp_path / "j") as journal, pytest.raises(BadRequest, match="It is empty"):
        send_and_order(
            service, files[:1], recipe="dub", parameters={}, journal=journal, others=[("subtitles", files[1])]
        )
    assert service.orders == {}


def test_further_inputs_are_named_by_role_beside_one_file(files, capsys):
    from audiomill.cli.submit import others_of

    assert others_of([f"subtitles={files[1]}"], files[:1]) == [("subtitles", files[1])]
    for pairs, named, said in (
        (["subtitles"], files[:1], "is not role=PATH"),
        (["subtitles=/nowhere"], files[:1], "is not role=PATH"),
        ([f"subtitles={files[1]}"], files, "3 files were named"),
    ):
        with pytest.raises(typer.Exit):
            others_of(pairs, named)
        assert said in capsys.readouterr().err.replace("\n", " ")

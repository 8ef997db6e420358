"""What a newcomer must touch: a capability, an engine, a stage and a noun of the API are planted into a copy of the
sources, used there by the real definitions and the real server, and the files and lines that had to be touched counted.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import dedent

import pytest

from tests.guards.checkout import PASSED, Checkout, copied

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Planting:
    """New files by their path; and what is added to files that are shared: after which text, and what.

    inner: what must pass in the copy. with_it: what is planted before, and not counted.
    """

    new: dict[str, str]
    added: dict[str, dict[str, str]]
    inner: str
    folder: str = "tests/pipeline"
    with_it: "Planting | None" = None

    def into(self, tree: Path) -> None:
        for name, text in self.new.items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_text(dedent(text))
        for name, places in self.added.items():
            shared = (tree / name).read_text()
            for after, text in places.items():
                assert shared.count(after) == 1, (name, after)
                shared = shared.replace(after, after + text)
            (tree / name).write_text(shared)


_INNER = """
from tests.pipeline import milling
from tests.pipeline.conftest import *  # noqa: F403


def test_a_job_of_it(database, store, settings, definitions, instance):
    mill = milling.Mill(database, store, settings, definitions, instance)
    recipe_name, engine, name = {orders}
    milling.ENGINES["announce"] = engine
    jobs = mill.order([b"Good morning to all of you.", b"And a good night."], recipe_name, engine=engine)
    mill.work()
    for job in jobs:
        files = mill.files(job)
        assert set(files) >= {{name, name + milling.RECEIPT}}
        assert len(files[name]) > 1000
        assert mill.job(job).capability == recipe_name
"""


def _job_of(recipe: str, engine: str, file: str) -> str:
    return _INNER.format(orders=f'"{recipe}", "{engine}", "{file}"')


_INNER_MONTAGE = """
import json
import uuid

import pytest

from assets.batch_products import partitions_name
from assets.jobs import job_name
from audiomill.catalogue.stages import STAGES
from audiomill.jobs.batches.forming import form_batches
from audiomill.jobs.queries import get_batch
from audiomill.jobs.submission import InputObject, NewJob, submit
from audiomill.receipts import signing_key, verify
from audiomill.storage.keys import upload_key
from tests.fakes.recordings import pcm16, tone, wav
from tests.pipeline import milling
from tests.pipeline.conftest import *  # noqa: F403


@pytest.fixture
def given(store):
    def put(data, name, kind):
        key = upload_key(WORKSPACE, uuid.uuid4().hex)
        store.put_bytes(key, data)
        return InputObject(key, store.version(key), len(data), name, kind=kind)

    text = put(b"Good morning to all of you.", "words.txt", "text")
    return text, put(wav(pcm16(tone(1.0))), "jingle.wav", "audio")


def work(mill):
    # How the runs of all batches that can be formed ended, by stage.
    with mill.database.session() as session:
        batch_ids = form_batches(session, mill.settings)
    ended = {}
    for batch_id in batch_ids:
        with mill.database.session() as session:
            batch = get_batch(session, batch_id)
        stage = STAGES[batch.stage]
        mill.instance.add_dynamic_partitions(partitions_name(stage), [batch_id])
        job = mill.definitions.resolve_job_def(job_name(stage, batch.resource_class))
        run = job.execute_in_process(instance=mill.instance, partition_key=batch_id, raise_on_error=False)
        ended[batch.stage] = run.success
    return ended


@pytest.mark.parametrize("broken", [False, True])
def test_a_job_of_it(database, store, settings, definitions, instance, given, broken):
    mill = milling.Mill(database, store, settings, definitions, instance)
    text, jingle = given
    new = NewJob("montage", {"broken": broken}, text, "source", (("jingle", jingle),))
    with database.session() as session:
        (job_id,) = submit(
            session, workspace_id=WORKSPACE, source="api", idempotency_key=uuid.uuid4().hex, jobs=[new],
            settings=settings,
        ).job_ids
    assert work(mill) == {"synthesize": True, "tune": not broken}, "both branches; a batch of which nothing came fails"
    assert mill.job(job_id).state == "running"
    assert work(mill) == {"join": True}
    files = mill.files(job_id)
    assert set(files) == {"join.wav", "join.wav.receipt.json"}, "only what delivers"
    key = signing_key(settings)
    receipt = verify(files["join.wav.receipt.json"], files["join.wav"], {key.key_id: key.public_pem}).receipt
    said = {step.name: step for step in receipt.steps}
    assert list(said) == (["say", "join"] if broken else ["say", "tune", "join"])
    assert receipt.left_out == (("tune",) if broken else ())
    assert [warning["code"] for warning in mill.job(job_id).warnings] == (["out_of_tune"] if broken else [])
    assert (said["say"].engine.name, said["join"].engine.name) == ("espeak-ng", "audiomill")
    assert said["say"].options["rate_wpm"] == 175
    assert [read.name for read in said["join"].reads] == [f"{name}/result" for name in list(said)[:-1]]
    assert said["join"].reads[0].sha256 == said["say"].artifact_sha256
    assert said["say"].checks
    assert receipt.input.kind == "text"
    assert said["say"].reads[0].sha256 == receipt.input.sha256
"""
CAPABILITY = Planting(
    {
        "audiomill/catalogue/announce.py": '''
            """The capability `announce`: a text spoken slowly."""

            from pydantic import Field

            from audiomill.catalogue.capability import TEXT, Capability, Recipe
            from audiomill.catalogue.synthesize import SynthesizeParameters


            class AnnounceParameters(SynthesizeParameters):
                """A text spoken slowly."""

                rate_wpm: int = Field(100, ge=80, le=450)


            ANNOUNCE = Capability(
                "announce", "A text spoken slowly", AnnounceParameters, TEXT, ("synthesize",),
                (Recipe("announce", "announce", "A text spoken slowly, as flac", {"formats": ["flac"]}),),
            )
        ''',
    },
    {
        "audiomill/catalogue/capabilities.py": {
            "from audiomill.catalogue.capability import Capability\n": (
                "from audiomill.catalogue.announce import ANNOUNCE\n"
            ),
            "(TRANSCRIBE, SYNTHESIZE": ", ANNOUNCE",
        },
    },
    _job_of("announce", "espeak-ng", "speech.flac"),
)
ENGINE = Planting(
    {
        "audiomill/engines/text_to_speech/chime.py": '''
            """An engine that strikes a tone for each word."""

            import numpy as np

            from audiomill.audio import Audio
            from audiomill.engines.protocol import Availability, EngineIdentity, Usage
            from audiomill.engines.text_to_speech.protocol import SpeakersVoice, Speech


            class Chime:
                longest_text = 1000

                def __init__(self, *, model_store, budget):
                    pass

                def availability(self):
                    return [Availability(None, "cpu", available=True, lacks=None, languages=None)]

                def load(self, model, resource_class):
                    pass

                @property
                def identity(self):
                    return EngineIdentity("chime", "1", None, None)

                @property
                def usage(self):
                    return Usage(group_items=4, group_seconds=600, parallel_calls=1)

                def close(self):
                    pass

                def voices_by_pitch(self, language, pitch_hz):
                    return {speaker: SpeakersVoice("chime") for speaker in pitch_hz}

                def synthesize(self, texts, params, progress=None, *, longest_seconds=float("inf")):
                    return [Speech(Audio(self._struck(len(text.split())), 16_000)) for text in texts]

                def _struck(self, words):
                    seconds = np.arange(16_000 * max(1, words) // 2, dtype=np.float32) / 16_000
                    return (0.3 * np.sin(2 * np.pi * 440 * seconds)).astype(np.float32)[None]
        ''',
    },
    {
        "audiomill/catalogue/engines/text_to_speech.py": {
            "TEXT_TO_SPEECH: tuple[EngineEntry, ...] = (\n": (
                '    EngineEntry("chime", "text_to_speech", "audiomill.engines.text_to_speech.chime:Chime", '
                '("cpu",), "MIT", "A tone for each word"),\n'
            ),
        },
    },
    _job_of("synthesize", "chime", "speech.wav"),
)
STAGE = Planting(
    {
        "audiomill/stages/recite/__init__.py": '"""The stage `recite`: texts in, speech out, unjudged."""\n',
        "audiomill/stages/recite/work.py": '''
            """The stage `recite`: its own part only."""

            from audiomill.audio.encode import encode_file
            from audiomill.catalogue.synthesize import SynthesizeParameters
            from audiomill.milling.delivery import Made, deliver, making_key
            from audiomill.milling.fetching import fetch_input, read_text
            from audiomill.milling.stage import Finished, Opened, StageWork


            class Reciting(StageWork):
                def __init__(self, bench):
                    self._bench = bench

                def open(self, item, attempt, folder):
                    sha256 = fetch_input(self._bench.store, item, folder / "input", self._bench.settings)
                    text = read_text(folder / "input", item.filename)
                    made_by = self._bench.engine.identity
                    key = making_key(item.workspace_id, item.stage, made_by, sha256, item.parameters)
                    return Opened(item, attempt, folder, text, 1.0, sha256, key)

                def run(self, engine, units, progress):
                    return engine.synthesize([unit.payload for unit in units], SynthesizeParameters(), progress)

                def finish(self, engine, opened, kept, seconds):
                    path = opened.folder / "recital.wav"
                    encode_file(kept[0].audio, "wav", path)
                    made = Made(path, ".wav", {"recital.wav": path}, (), None, kept[0].audio.seconds)
                    bench = self._bench
                    delivered = deliver(bench.store, bench.key, engine.identity, opened, made, seconds)
                    return Finished(delivered, kept[0].audio)
        ''',
        "assets/recitals.py": '''
            """Recitals: the product of the stage `recite`."""

            from assets.batch_products import batch_product
            from audiomill.catalogue.stages import STAGES

            recitals = batch_product(STAGES["recite"], description="Texts recited.", code_version="1", kinds={"audio"})
        ''',
    },
    {
        "audiomill/catalogue/stages.py": {
            '        Stage("synthesize", "text_to_speech", "speech"),\n': (
                '        Stage("recite", "text_to_speech", "recitals"),\n'
            ),
        },
        "audiomill/stages/__init__.py": {
            "from audiomill.milling.stage import AnyStage\n": "from audiomill.stages.recite.work import Reciting\n",
            '    "synthesize": Synthesizing,\n': '    "recite": Reciting,\n',
        },
    },
    _job_of("announce", "espeak-ng", "recital.wav"),
    # To order it: a capability, as above.
    with_it=replace(
        CAPABILITY,
        new={name: text.replace('("synthesize",),\n', '("recite",),\n') for name, text in CAPABILITY.new.items()},
    ),
)
NOUN = Planting(
    {
        "api/greetings/__init__.py": '"""Greetings."""\n',
        "api/greetings/endpoints.py": '''
            """GET /v1/greetings."""

            from fastapi import APIRouter

            from api.answers import keyed
            from api.dependencies import PrincipalDep
            from api.routes import KeyedRoute

            router = APIRouter(prefix="/v1/greetings", tags=["catalogue"], route_class=KeyedRoute)


            @router.get("", responses=keyed())
            def list_greetings(_: PrincipalDep) -> list[str]:
                """All that there are."""
                return ["Good morning."]
        ''',
    },
    {
        "api/app.py": {
            "from api.engines.endpoints import router as engines\n": (
                "from api.greetings.endpoints import router as greetings\n"
            ),
            "    for router in (direct_jobs": ", greetings",
        },
    },
    """
def test_a_job_of_it(client, anonymous):
    assert client.get("/v1/greetings").json() == ["Good morning."]
    assert anonymous.get("/v1/greetings").status_code == 401
    assert "/v1/greetings" in client.get("/openapi.json").json()["paths"]
""",
    folder="tests/api",
)
_MONTAGE_STAGE = '''
    """The planted stage `{name}`: its own part only."""

    import numpy as np

    from audiomill.audio import Audio
    from audiomill.audio.decode import decode
    from audiomill.audio.encode import encode_file
    from audiomill.errors import BadInput
    from audiomill.milling.delivery import Made, deliver, making_key
    from audiomill.milling.stage import Finished, Opened, StageWork


    class {title}(StageWork):
        def __init__(self, bench):
            self._bench = bench

        def open(self, item, attempt, folder):
            if item.options.get("broken"):
                raise BadInput("It is out of tune.", code="out_of_tune")
            bench, sounds, hashes = self._bench, [], []
            for place, ref in enumerate(item.inputs):
                path = folder / str(place)
                hashes.append(bench.store.fetch(ref.object_key, path, max_bytes=10**8))
                decoded = decode(path, sample_rate_hz=16_000, mono=True, limits=bench.settings.limits)
                sounds.append(decoded.audio.samples)
            key = making_key(item.workspace_id, item.stage, bench.engine.identity, " ".join(hashes), item.options)
            sound = Audio(np.concatenate(sounds, axis=1), 16_000)
            return Opened(item, attempt, folder, sound, sound.seconds, hashes[0], key)

        def run(self, engine, units, progress):
            return [unit.payload for unit in units]

        def finish(self, engine, opened, kept, seconds):
            path = opened.folder / "{name}.wav"
            encode_file(kept[0], "wav", path)
            made = Made(path, ".wav", {{path.name: path}}, (), None, kept[0].seconds)
            bench = self._bench
            return Finished(deliver(bench.store, bench.key, engine.identity, opened, made, seconds), kept[0])
'''
_MONTAGE_ASSET = '''
    """The product of the stage `{name}`."""

    from assets.batch_products import batch_product
    from audiomill.catalogue.stages import STAGES

    {name}s = batch_product(STAGES["{name}"], description="Planted.", code_version="1", kinds={{"audio"}})
'''


def _of_two_stages(text: str) -> list[str]:
    return [text.format(name=name, title=name.title()) for name in ("tune", "join")]


MONTAGE = Planting(
    {
        "audiomill/catalogue/montage.py": '''
            """The capability `montage`: a text spoken, then a jingle, if it can be had in tune."""

            from audiomill.catalogue.capability import Capability, Recipe
            from audiomill.catalogue.parameters import Parameters
            from audiomill.catalogue.plan import Plan, Role, Step
            from audiomill.catalogue.synthesize import SynthesizeParameters


            class MontageParameters(Parameters):
                """A text and a jingle."""

                broken: bool = False


            def plan(parameters, roles):
                words = SynthesizeParameters().model_dump(mode="json")
                steps = [Step("say", "synthesize", words, language="en-us", weight=3.0)]
                if roles.get("jingle"):
                    options = {"broken": parameters.broken}
                    steps.append(Step("tune", "tune", options, ("input:jingle",), optional=True))
                reads = tuple(f"{step.name}/result" for step in steps)
                return Plan((*steps, Step("join", "join", {}, reads)))


            MONTAGE = Capability(
                "montage", "A text spoken, and a jingle", MontageParameters,
                (Role("source", "text"), Role("jingle", "audio", required=False)),
                ("synthesize", "tune", "join"),
                (Recipe("montage", "montage", "A text spoken, and a jingle"),),
                plan=plan,
            )
        ''',
        **dict(
            zip(
                ["audiomill/stages/tune/work.py", "audiomill/stages/join/work.py"],
                _of_two_stages(_MONTAGE_STAGE),
                strict=True,
            )
        ),
        **dict(
            zip(
                ["audiomill/stages/tune/__init__.py", "audiomill/stages/join/__init__.py"],
                _of_two_stages('"""The planted stage `{name}`."""\n'),
                strict=True,
            )
        ),
        **dict(zip(["assets/tunes.py", "assets/joins.py"], _of_two_stages(_MONTAGE_ASSET), strict=True)),
    },
    {
        "audiomill/catalogue/capabilities.py": {
            "from audiomill.catalogue.capability import Capability\n": (
                "from audiomill.catalogue.montage import MONTAGE\n"
            ),
            "(TRANSCRIBE, SYNTHESIZE": ", MONTAGE",
        },
        "audiomill/catalogue/stages.py": {
            '        Stage("synthesize", "text_to_speech", "speech"),\n': (
                '        Stage("tune", None, "tunes"),\n        Stage("join", None, "joins"),\n'
            ),
        },
        "audiomill/stages/__init__.py": {
            "from audiomill.milling.stage import AnyStage\n": (
                "from audiomill.stages.tune.work import Tune\nfrom audiomill.stages.join.work import Join\n"
            ),
            '    "synthesize": Synthesizing,\n': '    "tune": Tune,\n    "join": Join,\n',
        },
    },
    _INNER_MONTAGE,
)


@pytest.fixture(scope="module")
def copy() -> Iterator[Checkout]:
    with copied() as checkout:
        yield checkout


def files(tree: Path) -> dict[str, str]:
    sources = [*tree.rglob("*.py"), *tree.glob("*.toml"), *tree.glob("*.yaml")]
    return {str(each.relative_to(tree)): each.read_text() for each in sources}


@dataclass(frozen=True)
class Touched:
    """What was needed: new folders (with whatever is in them), new files beside, files that are shared, and lines in
    these, besides imports: of an entry in a list its name is a line's part, and counts as one.
    """

    folders: int
    files: int
    shared: int
    lines: int


def touched(before: dict[str, str], after: dict[str, str]) -> Touched:
    known = {str(Path(name).parent) for name in before}
    new = [str(Path(name).parent) for name in after.keys() - before.keys()]
    changed = [name for name in before if after[name] != before[name]]
    lines = [line for name in changed for line in set(after[name].splitlines()) - set(before[name].splitlines())]
    return Touched(
        folders=len({folder for folder in new if folder not in known}),
        files=sum(folder in known for folder in new),
        shared=len(changed),
        lines=sum(not re.match(r"from .* import", line) for line in lines),
    )


@pytest.mark.parametrize(
    ("planting", "stated"),
    [
        # As the README and the design say it.
        pytest.param(CAPABILITY, Touched(folders=0, files=1, shared=1, lines=1), id="capability"),
        pytest.param(ENGINE, Touched(folders=0, files=1, shared=1, lines=1), id="engine"),
        pytest.param(STAGE, Touched(folders=1, files=1, shared=2, lines=2), id="stage"),
        pytest.param(NOUN, Touched(folders=1, files=0, shared=1, lines=1), id="noun"),
        # A capability with two stages of its own.
        pytest.param(MONTAGE, Touched(folders=2, files=1 + 2, shared=1 + 2, lines=1 + 2 * 2), id="plan"),
    ],
)
def test_planted_and_worked_off(copy: Checkout, planting: Planting, stated: Touched) -> None:
    kept = files(copy.tree)
    try:
        if planting.with_it is not None:
            planting.with_it.into(copy.tree)
        before = files(copy.tree)
        planting.into(copy.tree)
        assert touched(before, files(copy.tree)) == stated
        (copy.tree / planting.folder / "test_inner.py").write_text(planting.inner)
        inner = f"{planting.folder}/test_inner.py::test_a_job_of_it"
        outcomes = copy.test([inner], seconds=200, until_one_fails=True)
        assert {ended.kind for ended in outcomes.values()} == {PASSED}, copy.said()
    finally:
        for name in files(copy.tree).keys() - kept.keys():
            (copy.tree / name).unlink()
        for name, text in kept.items():
            (copy.tree / name).write_text(text)

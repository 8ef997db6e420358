"""The definitions: they load whole, quickly and lightly, and can be given other resources."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest
from dagster import AssetKey, DefaultScheduleStatus, DefaultSensorStatus, Definitions

from audiomill.catalogue.capabilities import CAPABILITIES
from audiomill.catalogue.stages import STAGES
from audiomill.database.connection import Database
from audiomill.settings import Settings
from audiomill.storage.local import LocalStore

NEEDED = {"dub": {"target_language": "en", "source_language": "es"}}
"""Parameters without which a capability has no plan."""
ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "ctranslate2", "faster_whisper", "onnxruntime", "pocketsphinx", "librosa", "TTS", "transformers")
RUN_HEAVY = ("pandas", "pyarrow", "boto3", "fastapi")


def run(*command: str, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DAGSTER_HOME": str(tmp_path), "AUDIOMILL_DATA_DIR": str(tmp_path / "data")}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_loading_imports_no_engine_and_starts_nothing(tmp_path: Path) -> None:
    code = (
        "import sys, definitions; definitions.defs.get_repository_def();"
        f"print([name for name in {HEAVY + RUN_HEAVY!r} if name in sys.modules])"
    )
    done = run(sys.executable, "-W", "ignore", "-c", code, tmp_path=tmp_path)
    assert done.stdout.strip() == "[]", done.stderr
    assert not (tmp_path / "data").exists()


def test_dagster_validates_the_workspace(tmp_path: Path) -> None:
    dagster = str(Path(sys.executable).with_name("dagster"))
    done = run(dagster, "definitions", "validate", "-w", str(ROOT / "workspace.yaml"), tmp_path=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_product_has_its_own_partitions_its_check_and_its_lineage(definitions: Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    for product in (stage.product for stage in STAGES.values()):
        node = graph.get(AssetKey(product))
        assert node.code_version
        assert [key.name for key in node.check_keys] == ["failed_share"]
    names = [str(graph.get(AssetKey(product)).partitions_def) for product in ("transcripts", "speech")]
    assert len(set(names)) == 2
    assert graph.get(AssetKey("transcript_words")).parent_keys == {AssetKey("transcripts")}
    assert graph.get(AssetKey("recordings")).is_external


def test_lineage_reads_as_what_is_made_of_what(definitions: Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    made_from = {
        stage.product: {key.to_user_string() for key in graph.get(AssetKey(stage.product)).parent_keys}
        for stage in STAGES.values()
    }
    assert made_from == {
        "stems": {"recordings"},
        "transcripts": {"recordings", "stems"},
        "speech": {"recordings"},
        "scripts": {"recordings", "stems", "transcripts"},
        "translations": {"scripts"},
        "spoken_lines": {"scripts", "translations"},
        "mixes": {"stems", "spoken_lines"},
        "dubs": {"recordings", "mixes", "transcripts"},
    }
    # And whatever a step of a plan reads is among what its product comes of. A dub that is listened back to makes
    # a transcript of a mix: what Dagster draws can have no circle.
    for step, source in _reads():
        if (step, source) != ("transcripts", "mixes"):
            assert AssetKey(source) in graph.get_ancestor_asset_keys(AssetKey(step)), (step, source)


def _reads() -> set[tuple[str, str]]:
    """(product, what a step of it reads) of all plans of the capabilities, with whatever inputs they take."""
    reads = set()
    for capability in CAPABILITIES.values():
        parameters = capability.parameters.model_validate(NEEDED.get(capability.name, {}))
        for given in itertools.product(*([1] if role.required else [0, 1] for role in capability.roles)):
            plan = capability.planned(
                parameters, dict(zip((role.name for role in capability.roles), given, strict=True))
            )
            products = {step.name: STAGES[step.stage].product for step in plan.steps}
            for step in plan.steps:
                reads |= {(products[step.name], products[source]) for source in step.waits_for}
                reads |= {(products[step.name], "recordings") for _ in step.roles}
    return reads


@pytest.mark.parametrize("product", ["transcripts", "speech"])
@pytest.mark.parametrize("resource_class", ["cpu", "gpu", "remote"])
def test_a_job_per_product_and_resource_class(definitions: Definitions, product: str, resource_class: str) -> None:
    job = definitions.resolve_job_def(f"{product}_{resource_class}")
    assert job.run_tags["audiomill/resource_class"] == resource_class
    assert job.executor_def.name == "in_process"


def test_all_that_starts_runs_is_on(definitions: Definitions) -> None:
    repository = definitions.get_repository_def()
    assert {sensor.name for sensor in repository.sensor_defs} == {
        "inbox",
        "intake",
        "batching",
        "run_failure",
        "run_cancelled",
        "reaper",
        "retirement",
        "retention",
        "availability",
    }
    assert {sensor.default_status for sensor in repository.sensor_defs} == {DefaultSensorStatus.RUNNING}
    assert {schedule.default_status for schedule in repository.schedule_defs} == {DefaultScheduleStatus.RUNNING}


def test_overridden_settings_reach_database_and_store(settings: Settings, database: Database) -> None:
    from definitions import build_defs
    from resources import SettingsResource
    from resources.database import dispose_databases

    values = {"data_dir": str(settings.data_dir), "database": {"url": settings.database.url}}
    resources = build_defs({"settings": SettingsResource(values=values)}).resources
    assert resources is not None
    try:
        # The limits on silent connections are added to it (audiomill/database/connection.py).
        assert resources["database"].get().url.startswith(str(settings.database.url))
        assert resources["database"].get() is resources["database"].get()
        store = resources["store"].get()
        assert isinstance(store, LocalStore)
        store.put_bytes("tables/x", b"1")
        assert list(settings.data_dir.rglob("tables/x"))
    finally:
        dispose_databases()

"""Every setting of audiomill, nested by concern, each documented. No logic beyond defaults derived from others.

Read from the environment: `AUDIOMILL_<SECTION>__<FIELD>`, for example `AUDIOMILL_DATABASE__URL`.
"""

import os
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from audiomill.data_dir import default_data_dir
from audiomill.errors import ConfigurationError

PREFIX = "AUDIOMILL_"
NOT_SETTINGS = frozenset(PREFIX + name for name in ("API_KEY", "API_URL", "DEBUG", "PLATFORM", "DAGSTER_STORAGE_URL"))
"""Names with our prefix that others read: the command line, supervised programs, Dagster."""
Positive = Annotated[int, Field(gt=0)]
Seconds = Annotated[float, Field(gt=0)]
MOST_JOBS_PER_SUBMISSION = 10_000
"""What the API's schema takes at most, whatever an installation allows."""


class DatabaseSettings(BaseModel):
    """PostgreSQL. Without a URL the embedded server runs under the data directory."""

    url: str | None = Field(None, description="postgresql://user:password@host/database of audiomill's own tables")
    dagster_url: str | None = Field(
        None, description="database of Dagster's storages; needed with `url`, and a different database"
    )
    direct_url: str | None = Field(
        None, description="the same database past PgBouncer, whose transaction mode hears no LISTEN; default: `url`"
    )
    pool_size: Positive = Field(8, description="connections kept by one process; it opens twice as many at most")
    connect_timeout_seconds: Annotated[int, Field(ge=2)] = Field(
        10, description="how long connecting to the server may take"
    )
    silence_seconds: Annotated[int, Field(ge=6)] = Field(
        30, description="a connection whose server's machine is silent for so long is given up (TCP keepalive)"
    )
    prepared_statements: bool = Field(True, description="set to false behind PgBouncer in transaction mode")


class StorageSettings(BaseModel):
    """The object store."""

    kind: Literal["local", "s3"] = Field("local", description="a directory of this machine, or an S3 bucket")
    bucket: str = Field("audiomill", description="S3 bucket")
    prefix: str = Field("", description="everything lives below this S3 prefix")
    endpoint_url: str | None = Field(None, description="an S3-compatible endpoint; credentials by boto3's own chain")
    region: str | None = Field(None, description="S3 region")
    signed_url_seconds: Positive = Field(900, description="how long a customer's signed URL lives")
    operator_url_seconds: Positive = Field(7 * 86400, description="how long a link in Dagster's UI lives (S3: 7 days)")


class LimitSettings(BaseModel):
    """What an input may be at most."""

    max_bytes: Positive = Field(5 * 1024**3, description="size of one recording")
    max_seconds: Seconds = Field(10 * 3600, description="length of one recording")
    max_decoding_memory_bytes: Positive = Field(
        384 * 1024**2, description="memory that decoding one file may take, beyond what its process takes at rest"
    )
    max_open_uploads: Positive = Field(
        10_000, description="uploads of one workspace that are announced and whose URLs still hold"
    )
    max_open_upload_bytes: Positive = Field(500 * 1024**3, description="bytes that these may bring together")
    workspace_bytes: Positive = Field(
        1024**4,
        description="what one workspace may keep in the store: recordings, uploads, results and outputs; past it "
        "nothing new is taken. `audiomill workspaces allow` sets another bound for one workspace",
    )
    max_text_characters: Positive = Field(500_000, description="length of one text")
    max_jobs_per_submission: Positive = Field(
        1000, le=MOST_JOBS_PER_SUBMISSION, description="jobs that one request may order"
    )


class BatchingSettings(BaseModel):
    """How work items are gathered into batches."""

    max_items: Positive = Field(250, description="items of one batch at most")
    max_audio_seconds: Seconds = Field(4 * 3600, description="estimated audio of one batch at most")
    max_engine_seconds: Seconds = Field(
        600, description="of the engine's time, as its measured speed has it, one batch at most; one item may take more"
    )
    min_items: Positive = Field(8, description="a backlog is not split into batches smaller than this")
    max_wait_seconds: Annotated[float, Field(ge=0)] = Field(
        20, description="on a busy resource class a batch that is not full waits until its oldest item is this old"
    )
    queue_factor: Positive = Field(2, description="no batches are formed while this many times the slots are waiting")
    lower_tier_every: Annotated[int, Field(ge=2)] = Field(
        4, description="where several tiers wait, a tier leaves every so many-th batch to the tiers below it"
    )


class LeaseSettings(BaseModel):
    """How a run owns a batch, and what becomes of the batch when the run breaks, hangs or falls silent."""

    heartbeat_seconds: Seconds = Field(5, description="how often a run that advances renews its lease")
    ttl_seconds: Seconds = Field(45, description="a lease without a heartbeat for so long is lost")
    sweep_seconds: Positive = Field(15, description="how often the reaper looks for what was lost (at start)")
    start_timeout_seconds: Seconds = Field(600, description="a batch whose run never claims it is given up")
    stall_seconds: Seconds = Field(
        300, description="a run in which nothing advances for so long is ended (longer for long sound, see below)"
    )
    stall_factor: Annotated[float, Field(ge=0)] = Field(
        4, description="the same limit as a multiple of the longest sound in work; the larger of both counts"
    )
    load_seconds: Seconds = Field(1800, description="how long loading an engine's model may take")
    grace_seconds: Seconds = Field(20, description="between asking a process to end and killing it")
    pause_seconds: Seconds = Field(5, description="a lane rests so long when a run of it broke; doubled each time")
    pause_most_seconds: Seconds = Field(300, description="the longest such rest")
    max_attempts: Positive = Field(
        3, description="crashes of one input, alone inside an engine call, after which it fails"
    )
    max_hand_backs: Positive = Field(
        100,
        description="times that one input is handed back through a fault of ours before its job is given up: the rests "
        "between double up to pause_most_seconds, so 100 are some eight hours",
    )


class RetentionSettings(BaseModel):
    """When what was written goes (audiomill/retention). Jobs, outputs and recordings: by workspace, default kept."""

    partition_days: Positive = Field(
        30, description="batches that ended longer ago lose their partition key, manifest and picture"
    )
    run_days: Positive = Field(30, description="Dagster's runs that ended longer ago go, with their events and logs")
    upload_days: Positive = Field(2, description="uploads that no order named go so long after their URL expired")
    orphan_days: Positive = Field(
        2, description="objects that no row names, and drafts of writes that crashed, go at this age"
    )
    artifact_days: Positive = Field(
        30, description="results of stages that no job refers to any more go so long after their last use"
    )
    event_days: Positive = Field(90, description="of a job that ended longer ago only the last event is kept")
    inbox_entry_days: Positive = Field(30, description="what is noted of an object goes so long after it was gone")
    table_days: Positive = Field(400, description="daily Parquet tables go at this age")
    rows_per_sweep: Annotated[int, Field(gt=0, le=1000)] = Field(
        1000, description="rows or objects that one sweep looks at in a tick of the retention sensor"
    )


class QualitySettings(BaseModel):
    """What a result must reach before it is delivered, where that is a choice."""

    least_confidence: Annotated[float, Field(ge=0, le=1)] = Field(
        0.37,
        description="a recording whose language was not named (`auto`), heard by an engine that knows one language "
        "only, fails when the mean confidence of its words is lower; 0: it never does",
    )


class InboxSettings(BaseModel):
    """The inbox, a folder or a bucket."""

    page_size: Positive = Field(500, description="objects looked at per page")
    pages_per_tick: Positive = Field(10, description="pages taken in one sensor tick (a tick may last 60 s)")
    settle_seconds: Annotated[float, Field(ge=0)] = Field(
        2, description="a file of a local folder is taken when it has not changed for so long"
    )
    manifest_seconds: Seconds = Field(
        3600,
        description="how long a file that cannot be ordered without a manifest (`<file>.job.json`), and a manifest "
        "whose files are not there, wait before they are refused; what comes later is taken all the same",
    )
    watch: bool = Field(
        True,
        description="hear of files in a local inbox by its file system's events; false where it has none (NFS)",
    )
    sweep_seconds: Positive = Field(60, description="a local inbox that is watched is swept whole so often")


class CpuSettings(BaseModel):
    """How the machine's cores are divided (audiomill/engines/cores.py is their one owner)."""

    cores: Positive = Field(default_factory=lambda: len(os.sched_getaffinity(0)), description="cores for engines")
    cpu_runs: Positive = Field(2, description="Dagster runs of CPU batches at a time")
    gpu_runs: Positive = Field(1, description="Dagster runs of GPU batches at a time")
    remote_runs: Positive = Field(2, description="Dagster runs of batches for a provider's API at a time")


class EngineSettings(BaseModel):
    """Engines and their weights."""

    model_store: str | None = Field(None, description="folder of weights; default: <data_dir>/models")
    fetch_default_weights: bool = Field(
        True, description="fetch the default weights at first start, if the hub answers"
    )
    hub_timeout_seconds: Seconds = Field(10, description="how long the model hub may take to answer")
    accepted_licences: list[str] = Field(
        default_factory=list,
        description="licences that forbid commercial use and that you accept, as `audiomill doctor` names them; an "
        "engine with another such licence does not run",
    )
    extra: list[str] = Field(
        default_factory=list,
        description="engine entries of your own: import paths `module:ENTRY` (an EngineEntry)",
    )
    worker: str | None = Field(
        None, description="name under which this machine says what it can run; default: its host name"
    )
    report_holds_seconds: Seconds = Field(
        86_400, description="what this machine said that it can run holds so long; it is said anew while runs execute"
    )
    report_from_code_location: bool = Field(
        True,
        description="the code location says each minute what its machine can run; false where runs execute elsewhere",
    )


class ApiSettings(BaseModel):
    """The FastAPI front."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: Positive = Field(8080, description="port to listen on")
    public_url: str | None = Field(None, description="address that customers use; default http://host:port")
    max_connections: Positive = Field(
        512, description="connections at a time, event streams among them; more are answered 503"
    )
    event_streams_per_workspace: Positive = Field(100, description="event streams of one workspace at a time")
    cors_origins: list[str] = Field(
        default_factory=list, description="web origins whose pages may call the API with a key; default: none"
    )


class DagsterSettings(BaseModel):
    """Dagster's processes as `audiomill up` starts them."""

    host: str = Field("127.0.0.1", description="address of the webserver")
    port: Positive = Field(3000, description="port of the webserver")
    dequeue_interval_seconds: Positive = Field(1, description="how often queued runs are looked at")
    tick_wait_seconds: Annotated[float, Field(ge=0, le=45)] = Field(
        45, description="how long a sensor's tick waits for work; 0: it looks every five seconds instead"
    )
    warm_runs: bool = Field(
        True, description="runs are forked from a process that has all imported; false: each starts a new interpreter"
    )
    pooled_storage: bool = Field(
        True,
        description="Dagster's processes keep connections to their database (at most 8 each); false: one a query",
    )
    public_url: str | None = Field(None, description="address that operators use; default http://host:port")
    operator_key: Annotated[SecretStr, Field(min_length=16)] | None = Field(
        None, description="lets into Dagster's UI; default: made once under <data_dir>/keys"
    )
    allowed_hosts: list[str] = Field(
        default_factory=list,
        description="names under which the UI may be asked for, beside loopback and that of public_url",
    )
    identity_header: str | None = Field(
        None,
        description="header in which your identity proxy names the operator, who then needs no key; "
        "set it only where nobody reaches the webserver past that proxy, and where it removes the header from others",
    )


class Settings(BaseSettings):
    """All settings. Build one with `get_settings()`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", hide_input_in_errors=True
    )

    data_dir: Path = Field(
        default_factory=default_data_dir,
        description="database, store, models, keys, logs and Dagster's home live below; default: .audiomill of the "
        "checkout or of your home, whichever is in use",
    )
    secret: SecretStr | None = Field(
        None, description="signs URLs of the local store; default: made once under <data_dir>/keys"
    )
    receipt_key_file: Path | None = Field(
        None,
        description="PEM of the Ed25519 key that signs receipts; default: made once under <data_dir>/keys",
    )
    trusted_receipt_keys: Path | None = Field(
        None, description="folder of further public keys (PEM) whose receipts are accepted: retired keys"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="of audiomill's own log")
    database: DatabaseSettings = DatabaseSettings()
    storage: StorageSettings = StorageSettings()
    limits: LimitSettings = LimitSettings()
    batching: BatchingSettings = BatchingSettings()
    lease: LeaseSettings = LeaseSettings()
    retention: RetentionSettings = RetentionSettings()
    quality: QualitySettings = QualitySettings()
    inbox: InboxSettings = InboxSettings()
    cpu: CpuSettings = CpuSettings()
    engines: EngineSettings = EngineSettings()
    api: ApiSettings = ApiSettings()
    dagster: DagsterSettings = DagsterSettings()

    @property
    def api_url(self) -> str:
        """Where customers reach the API, without a trailing slash."""
        return (self.api.public_url or f"http://{self.api.host}:{self.api.port}").rstrip("/")

    @property
    def dagster_ui_url(self) -> str:
        """Where operators reach Dagster's UI, without a trailing slash."""
        return (self.dagster.public_url or f"http://{self.dagster.host}:{self.dagster.port}").rstrip("/")

    @property
    def model_store_dir(self) -> Path:
        """Folder of the model store."""
        return Path(self.engines.model_store) if self.engines.model_store else self.data_dir / "models"


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process, read once from the environment. Raises ConfigurationError with what is wrong."""
    try:
        return Settings()
    except ValidationError as error:
        raise ConfigurationError("\n".join(_sentence(each["loc"], each["msg"]) for each in error.errors())) from None
    except SettingsError as error:
        # Not JSON where JSON is expected: the library names the section, and no more.
        raise ConfigurationError(
            f'A list in the environment is no JSON: {str(error).partition(" from ")[0]}. Lists read ["a", "b"].'
        ) from None


def _sentence(location: tuple[int | str, ...], message: str) -> str:
    # The value is not shown: it may be a password.
    name = PREFIX + "__".join(str(part).upper() for part in location if isinstance(part, str))
    return f"{name}: {message[:1].lower()}{message[1:]}."


def unknown_settings(environment: Iterable[str]) -> list[tuple[str, str | None]]:
    """Names that look like settings and are none, each with the name that was probably meant."""
    known = {*_names(Settings, PREFIX), *NOT_SETTINGS}
    found = sorted(name for name in environment if name.upper().startswith(PREFIX) and name.upper() not in known)
    return [(name, next(iter(get_close_matches(name.upper(), known, n=1, cutoff=0.75)), None)) for name in found]


def _names(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for field, info in model.model_fields.items():
        yield prefix + field.upper()
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from _names(info.annotation, f"{prefix}{field.upper()}__")

"""The tables, a file per noun. Columns and constraints only; audiomill/jobs and audiomill/accounts change them.

Text states are held by CHECK constraints; the allowed transitions are in audiomill/jobs/states.py.
"""

from audiomill.database.tables.accounts import ApiKey, UsageChange, Workspace, WorkspaceUsage
from audiomill.database.tables.base import Base
from audiomill.database.tables.jobs import Job, JobEvent, JobInput, Revision, Submission
from audiomill.database.tables.recordings import InboxEntry, Recording, Upload
from audiomill.database.tables.results import Artifact, Output
from audiomill.database.tables.upkeep import EngineAvailability, EngineSpeed, SweepPlace, WorkspaceSpeed
from audiomill.database.tables.work import Batch, LanePause, Turn, WorkItem

__all__ = [
    "ApiKey",
    "Artifact",
    "Base",
    "Batch",
    "EngineAvailability",
    "EngineSpeed",
    "InboxEntry",
    "Job",
    "JobEvent",
    "JobInput",
    "LanePause",
    "Output",
    "Recording",
    "Revision",
    "Submission",
    "SweepPlace",
    "Turn",
    "Upload",
    "UsageChange",
    "WorkItem",
    "Workspace",
    "WorkspaceSpeed",
    "WorkspaceUsage",
]

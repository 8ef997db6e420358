"""`audiomill keys` and `audiomill workspaces`: who may order."""

from typing import Annotated

import typer

from audiomill.cli.database import open_database
from audiomill.console import SentenceGroup, err, out, show_table
from audiomill.platform.installation import current_settings, require_installation
from audiomill.settings import get_settings

keys_app = typer.Typer(cls=SentenceGroup, help="API keys.", no_args_is_help=True)
workspaces_app = typer.Typer(cls=SentenceGroup, help="Workspaces (tenants).", no_args_is_help=True)
Workspace = Annotated[str, typer.Option("--workspace", "-w", help="The workspace's id.")]


@keys_app.command("create")
def create_key(
    workspace: Workspace = "default",
    name: Annotated[str, typer.Option("--name", help="To recognise it by.")] = "command line",
) -> None:
    """Make a key. It is printed once, alone on its line, and kept nowhere."""
    from audiomill.accounts import keys  # noqa: PLC0415 - SQLAlchemy: not for --help
    from audiomill.accounts.workspaces import ensure_workspace  # noqa: PLC0415 - as above

    with open_database() as database, database.session() as session:
        if workspace == "default":
            ensure_workspace(session, workspace)
        created = keys.create_key(session, workspace_id=workspace, name=name)
    err.print(f"Key {created.id} of the workspace {workspace}. It is shown this once:")
    out.print(created.plaintext, markup=False)


@keys_app.command("list")
def list_keys(workspace: Workspace = "default") -> None:
    """Keys of a workspace, revoked ones too."""
    from audiomill.accounts import keys  # noqa: PLC0415 - as above

    with open_database() as database, database.session() as session:
        found = keys.list_keys(session, workspace)
    show_table(
        ("key", "name", "begins with", "made", "revoked"),
        [(key.id, key.name, f"{key.hint}…", key.created_at, key.revoked_at) for key in found],
    )


@keys_app.command("revoke")
def revoke_key(key_id: Annotated[str, typer.Argument(help="The key's id.")], workspace: Workspace = "default") -> None:
    """End a key for good."""
    from audiomill.accounts import keys  # noqa: PLC0415 - as above

    with open_database() as database, database.session() as session:
        keys.revoke_key(session, workspace_id=workspace, key_id=key_id)
    out.print(f"{key_id} is revoked.", markup=False)


@keys_app.command("operator")
def operator() -> None:
    """The key of Dagster's UI, alone on its line, and a link that logs in once."""
    from audiomill.operators.key import login_url, operator_key  # noqa: PLC0415 - as above

    settings = current_settings()
    if settings.dagster.operator_key is None:
        require_installation(settings)
    err.print(f"Log in within an hour, once: {login_url(settings)}", markup=False)
    err.print("Or by the operator key:")
    out.print(operator_key(settings), markup=False)


@workspaces_app.command("add")
def add_workspace(
    workspace_id: Annotated[str, typer.Argument(help="Its id, as it stands in inbox keys: a-z, 0-9 and '-'.")],
    name: Annotated[str | None, typer.Option("--name", help="What it is called.")] = None,
    tier: Annotated[int, typer.Option("--tier", min=0, help="Higher goes first.")] = 0,
) -> None:
    """Add a workspace; one that is there stays as it is."""
    from audiomill.accounts.workspaces import ensure_workspace  # noqa: PLC0415 - as above

    with open_database() as database, database.session() as session:
        ensure_workspace(session, workspace_id, name, tier)
    out.print(f"The workspace {workspace_id} is there.", markup=False)


@workspaces_app.command("keep")
def keep(
    workspace_id: Annotated[str, typer.Argument(help="The workspace's id.")],
    days: Annotated[
        int | None, typer.Option("--days", min=1, help="How long after a job ended; without it: for ever.")
    ] = None,
) -> None:
    """Say how long jobs, outputs and recordings are kept. What is older then goes with the next sweeps."""
    from audiomill.accounts.workspaces import keep_for  # noqa: PLC0415 - as above

    with open_database() as database, database.session() as session:
        keep_for(session, workspace_id, days)
    kept = "for ever" if days is None else f"for {days} days after a job ended"
    out.print(f"The workspace {workspace_id} keeps its jobs {kept}.", markup=False)


@workspaces_app.command("allow")
def allow_space(
    workspace_id: Annotated[str, typer.Argument(help="The workspace's id.")],
    gigabytes: Annotated[
        int | None, typer.Option("--gigabytes", min=0, help="Without it: as many as the installation's setting says.")
    ] = None,
) -> None:
    """Say how much a workspace may keep in the store. What is there stays; past the bound nothing new is taken."""
    from audiomill.accounts.space import allow, space_of  # noqa: PLC0415 - as above
    from audiomill.formats import size_shown  # noqa: PLC0415 - beside the others

    with open_database() as database, database.session() as session:
        allow(session, workspace_id, None if gigabytes is None else gigabytes * 10**9)
        space = space_of(session, workspace_id, get_settings())
    out.print(
        f"The workspace {workspace_id} keeps {size_shown(space.kept_bytes)} and may keep "
        f"{size_shown(space.allowed_bytes)}.",
        markup=False,
    )


@workspaces_app.command("recount")
def recount_space() -> None:
    """Count anew what all workspaces keep: after an upgrade, or when rows were changed past the triggers."""
    from audiomill.accounts.space import measure_results, recount  # noqa: PLC0415 - as above
    from audiomill.storage.factory import open_store  # noqa: PLC0415 - as above

    with open_database() as database:
        measured = measure_results(database, open_store(get_settings()))
        with database.session() as session:
            recount(session)
    out.print(f"Counted anew. Results measured that had no size: {measured:,}.", markup=False)


@workspaces_app.command("list")
def list_all() -> None:
    """All workspaces, and what each keeps in the store."""
    from audiomill.accounts.space import spaces  # noqa: PLC0415 - as above
    from audiomill.accounts.workspaces import list_workspaces  # noqa: PLC0415 - as above
    from audiomill.formats import size_shown  # noqa: PLC0415 - beside the others

    with open_database() as database, database.session() as session:
        space = {each.workspace_id: each for each in spaces(session, get_settings())}
        found = [
            (
                each.id,
                each.name,
                each.tier,
                each.retention_days or "ever",
                size_shown(space[each.id].kept_bytes),
                size_shown(space[each.id].allowed_bytes),
                f"{each.created_at:%Y-%m-%d}",
            )
            for each in list_workspaces(session)
        ]
    show_table(("workspace", "name", "tier", "days kept", "keeps", "may keep", "since"), found)

"""May the bytes of an upload be written (again)? Yes until a job uses them: what was ordered stays as it was."""

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from audiomill.database.tables import Recording, Upload
from audiomill.errors import Conflict, NotFound


def permit_writing(session: Session, object_key: str) -> Upload:
    """Permission to put the upload's object in place before this transaction ends; its row is locked till then.

    Raises NotFound (`upload_not_found`), Conflict (`upload_used`).
    """
    upload = session.scalar(select(Upload).where(Upload.object_key == object_key).with_for_update())
    if upload is None:
        raise NotFound("This upload is gone. Announce it again.", code="upload_not_found")
    used = select(
        exists().where(Recording.workspace_id == upload.workspace_id, Recording.object_key == upload.object_key)
    )
    if session.scalar(used):
        raise Conflict(
            f"A job uses the upload {upload.id} already, so its bytes stay as they are. "
            "Announce a new upload for other bytes.",
            code="upload_used",
        )
    return upload

"""Bodies of the upload endpoints."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

MediaType = Annotated[
    str, Field(max_length=127, pattern=r"^[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+(; ?[a-z]+=[A-Za-z0-9._-]+)?$")
]


class NewUpload(BaseModel):
    """An announcement of a recording."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"filename": "interview.wav", "content_type": "audio/wav", "size_bytes": 1_048_576}]
        },
    )

    filename: Annotated[str, Field(min_length=1, max_length=1024, description="as the customer calls it")]
    content_type: Annotated[MediaType, Field(description="media type; must be sent with the bytes")] = (
        "application/octet-stream"
    )
    size_bytes: Annotated[
        int,
        Field(
            strict=True,
            ge=0,  # that an empty file is no use is said in words of its own
            lt=2**53,
            description="exact size; nothing else is taken",
            json_schema_extra={"minimum": 1},
        ),
    ]


class Upload(BaseModel):
    """Where to send the bytes: `method` to `url` with exactly these `headers`, without the API key."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "upl_01k9zj4w8n2x0q5v7r3t6y1b4d",
                    "method": "PUT",
                    "url": "https://audiomill.example/v1/objects/WyJQVVQiLCJ1cGxvYWRzL2FjbWUi.aR9x.c2lnbmVk",
                    "headers": {"Content-Type": "audio/wav", "Content-Length": "1048576"},
                    "expires_at": "2026-11-21T10:15:00Z",
                }
            ]
        },
    )

    id: str = Field(description="name it as `upload_id` in an order")
    method: Literal["PUT"]
    url: str = Field(description="signed: whoever has it may write this upload until it expires")
    headers: dict[str, str] = Field(description="must be sent with the bytes, as they are")
    expires_at: datetime

"""The API's process: `uvicorn api.main:app`."""

from api.app import create_app
from api.logs import set_up_logging
from audiomill.settings import get_settings

set_up_logging(get_settings().log_level)
app = create_app()

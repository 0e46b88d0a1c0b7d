"""The entry for jupyter-server-proxy: Jupyter starts scaler_ui when its user opens it, and shows it behind its prefix.

It shows the scheduler that SCALER_MONITOR_ADDRESS names, in the environment of the Jupyter server. Whoever gets through
Jupyter is let in; other users of the machine are not, as each start has a token that only this proxy knows.
"""

import os
import secrets
from typing import Any

ADDRESS_VARIABLE = "SCALER_MONITOR_ADDRESS"
DEFAULT_ADDRESS = "tcp://127.0.0.1:2347"


def set_up() -> dict[str, Any]:
    """What jupyter-server-proxy wants to know of a server."""
    token = secrets.token_urlsafe(24)
    address = os.environ.get(ADDRESS_VARIABLE, DEFAULT_ADDRESS)
    return {
        "command": ["scaler_ui", "--port", "{port}", address],
        "environment": {"SCALER_UI_TOKEN": token},
        "request_headers_override": {"Authorization": f"Bearer {token}"},
        "timeout": 20,
        "launcher_entry": {"title": "Scaler"},
    }

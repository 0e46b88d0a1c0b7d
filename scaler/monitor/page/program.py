"""scaler_ui as a program. It needs the extra `ui`, and says so where that is not installed."""

from scaler.config.table import UiConfig
from scaler.exceptions import ScalerError


class PageError(ScalerError, OSError):
    """The page cannot be served; the message says why."""


def run(config: UiConfig) -> int:
    """Serve until told to stop by a signal."""
    try:
        from scaler.monitor.page.serving import serve
    except ImportError as error:
        raise PageError(f"scaler_ui needs {error.name}, which is not installed: `pip install scaler[ui]`") from None
    return serve(config)

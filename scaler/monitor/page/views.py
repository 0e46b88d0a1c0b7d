"""Views: the names by which a browser, or a download, asks for what the page shows."""

from collections.abc import Callable

from scaler.monitor.page import tables
from scaler.monitor.page.arguments import Arguments
from scaler.monitor.page.history import History
from scaler.monitor.page.message import View
from scaler.monitor.page.stream_view import stream
from scaler.monitor.page.task_log import task, tasks

VIEWS: dict[str, Callable[[History, Arguments], View]] = {
    "overview": tables.overview,
    "workers": tables.workers,
    "worker": tables.worker,
    "stream": stream,
    "tasks": tasks,
    "task": task,
    "failures": tables.failures,
    "failure": tables.failure,
    "functions": tables.functions,
    "function": tables.function,
    "progress": tables.progress,
    "objects": tables.objects,
    "clients": tables.clients,
    "hosts": tables.hosts,
    "settings": tables.settings,
}

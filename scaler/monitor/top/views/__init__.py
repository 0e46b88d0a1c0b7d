"""The tables of scaler_top, in the order of their tabs. To add one: a module here, and its name below."""

from scaler.monitor.top.table import View
from scaler.monitor.top.views.clients import CLIENTS
from scaler.monitor.top.views.failures import FAILURES
from scaler.monitor.top.views.functions import FUNCTIONS
from scaler.monitor.top.views.hosts import HOSTS
from scaler.monitor.top.views.scheduler import SCHEDULER
from scaler.monitor.top.views.tasks import TASKS
from scaler.monitor.top.views.workers import WORKERS

VIEWS: tuple[View, ...] = (WORKERS, FUNCTIONS, CLIENTS, FAILURES, HOSTS, TASKS, SCHEDULER)

"""What one end of a session says, the other one takes: each end has a file, and one is easily left out."""

import ast
import inspect
from types import ModuleType
from typing import Any

import pytest

from scaler.engines.session import ClusterOfSeats
from scaler.protocol.frames import Demand
from scaler.session import client_at_relay, client_at_scheduler, cluster_at_relay, cluster_at_scheduler, task_observers
from scaler.session.client_at_relay import ClientAtRelay
from scaler.session.client_at_scheduler import ClientAtScheduler
from scaler.session.cluster_at_relay import ClusterAtRelay
from scaler.session.cluster_at_scheduler import ClusterAtScheduler


def posted(module: ModuleType) -> set[str]:
    """The classes that something is made of where the code says `post(`."""
    found = set()
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "post":
            for part in node.args:
                body = part.func if isinstance(part, ast.Call) else part
                name = body.value if isinstance(body, ast.Attribute) else body
                if isinstance(name, ast.Name) and name.id[:1].isupper():
                    found.add(name.id)
    return found


def taken(end: Any) -> set[str]:
    return {body.__name__ for body in end.handlers}


@pytest.mark.parametrize(
    ("module", "end"),
    [
        (client_at_scheduler, ClientAtRelay),
        (cluster_at_scheduler, ClusterAtRelay),
        (client_at_relay, ClientAtScheduler),
        (cluster_at_relay, ClusterAtScheduler),
    ],
)
def test_what_one_end_posts_the_other_takes(module: ModuleType, end: Any) -> None:
    said = posted(module)
    assert said, "nothing was found: the code says it in another way by now"
    if end in (ClientAtScheduler, ClusterAtScheduler):  # remote_peers takes these for both
        said -= {"Serves", "Goodbye", "Shutdown", *(body.__name__ for body in task_observers.BODIES)}
    assert said - taken(end) == set()


def test_an_engine_takes_what_a_cluster_takes_but_for_demand_which_it_never_asks_for() -> None:
    assert set(ClusterOfSeats.handlers) | {Demand} == set(ClusterAtRelay.handlers)

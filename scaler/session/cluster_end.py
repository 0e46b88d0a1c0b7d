"""ClusterEnd: what the two ends have in common that a cluster's session has at the cluster's side.

One is for workers in rings (cluster_at_relay), the other one for the slots of an engine (scaler.engines.session). What
these have made for other tasks stays on their host until the scheduler says that nobody needs it.

Not here: what a session's ends at relays have in common (session_at_relay), how tasks get to workers or slots.
"""

from abc import abstractmethod
from collections.abc import Iterable

from scaler._native import MOST_NUMBERS, Mappings, RecordCopy, Relay, Store
from scaler.objects.kept_results import KeptResults
from scaler.objects.naming import Place
from scaler.protocol.bounds import MOST_CLAIMED, MOST_FACTS_LENGTH, plain_text
from scaler.protocol.frames import Freed, Goodbye, Left, Shutdown, Taken
from scaler.session.session_at_relay import SessionAtRelay

RELAY_TAG = (1 << 24) - 1  # of the relay's own store


def store_tag(session: int) -> int:
    """Of the relay's store in its first session (0), its second and so on; those of workers are between."""
    return RELAY_TAG - MOST_NUMBERS - session if session else RELAY_TAG


def worker_tag(number: int) -> int:
    """What the objects that the worker of this number makes begin with, on this host."""
    return RELAY_TAG - 1 - number


class ClusterEnd(SessionAtRelay):
    """Tasks in, results out."""

    says_tasks = False

    def __init__(self, relay: Relay, epoch: str, folder: str, store: Store, mappings: Mappings) -> None:
        super().__init__(relay, store, mappings, until_named=False)
        self._kept_results = KeptResults(epoch, folder, mappings, self._tell_freed)
        self.is_shut_down = False  # the scheduler wants no cluster any more

    @abstractmethod
    def _tell_freed(self, number: int, ids: Iterable[int]) -> None:
        """Nobody needs these results any more: this worker, if it is there, may use their memory again."""

    def tag_of(self, number: int) -> int:
        return worker_tag(number)

    def on_sent(self, number: int, record: RecordCopy) -> None:
        self._kept_results.on_sent(number, record)

    def say_left(self, number: int, exit_code: int, reason: str, claimed: list[tuple[int, int]]) -> None:
        """This worker has gone, after it had begun these (task, attempt). Said when its results have been sent."""
        begun = Left.columns_of(claimed[:MOST_CLAIMED])
        self.talk.post(Left(number, exit_code, plain_text(reason, MOST_FACTS_LENGTH), **begun))
        self._kept_results.on_left(number, worker_tag(number))  # its results have been sent, or never will be

    def _find(self, object_id: int) -> Place | None:
        """Where an object lies on this host: where a worker has made it, or where it has come to."""
        kept = self._kept_results.find(object_id)
        return kept or (self.store.place_of(object_id) if object_id in self.store else None)

    # what the scheduler says

    def _on_freed(self, body: Freed) -> None:
        for _, object_id in body.rows():
            if not self._kept_results.forget(object_id):
                self.talk.incoming.forget(object_id)

    def _on_taken(self, body: Taken) -> None:
        for naming in body.rows():
            self._kept_results.on_taken(naming.peer, naming.object, naming.name)

    def _on_shutdown(self, body: Shutdown) -> None:
        self.is_shut_down = True
        self.talk.post(Goodbye())
        self.over = "the scheduler stops its workers"

    other_side = "a scheduler to a cluster"
    handlers = {
        Freed: _on_freed,
        Taken: _on_taken,
        Shutdown: _on_shutdown,
        Goodbye: SessionAtRelay.on_goodbye,
    }

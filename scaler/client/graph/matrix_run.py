"""MatrixRun: runs a matrix graph piece by piece.

A piece is an ordinary task, whose argument and result are columns. Which nodes make the next piece is decided when a
worker has room for it, from what earlier ones have come to; so no more than a few pieces are under way, and a scheduler
that dies takes no more with it than these, which the client sends again as it does any task.

A piece whose worker died, or that was ended from outside (a time limit, a call of sys.exit), comes back at once, and
its nodes are run one by one. So the one that was to blame fails alone, after as many tries as it may have, the try in
the piece included. Where nothing may be run again each node has a piece of its own.

Not here: the nodes (native/client/matrix_nodes.pyx), running a piece (native/worker/piece_runner.pyx), which values are
asked for (matrix_keys).
"""

import pickle
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Any

from scaler._native import STATUS_RAISED, MapProgress, MatrixNodes, PendingFuture, Piece, TaskOptions, TaskSender
from scaler.client.callables import examine
from scaler.client.functions import callable_name
from scaler.client.graph.matrix_keys import Asked
from scaler.client.mapping import one_retry_less
from scaler.client.options import CallOptions
from scaler.exceptions import ClientQuitException, DeserializeObjectError, DisconnectedError, NoWorkerError
from scaler.program.threads import new_thread
from scaler.values import payload
from scaler.values.pieces import Anew, PieceRunner, dumps_argument

if TYPE_CHECKING:
    from scaler.client.graph.matrix import MatrixGraph
    from scaler.client.parcel import Parcel

PIECES_PER_WORKER = 4
MOST_NAMED = 3  # functions in the name of a graph's tasks
_ENDS_ALL = (ClientQuitException, DisconnectedError, NoWorkerError)


class MatrixRun:
    """One run of a graph, for the nodes that are asked for. ValueError for a graph with a cycle.

    `number_of` and `begin` are the client's. With `is_raising` the first node that is known to fail ends the run, with
    its exception.
    """

    def __init__(
        self,
        graph: "MatrixGraph",
        asked: Asked,
        sender: TaskSender,
        number_of: Callable[[Any], int],
        begin: "Callable[[], Parcel]",
        options: CallOptions,
        is_raising: bool,
    ) -> None:
        self._sender, self._begin, self._asked, self._is_raising = sender, begin, asked, is_raising
        self._nodes = MatrixNodes(
            graph.count, graph.inputs, graph.first, graph.most, len(graph.functions), graph.which, graph.columns,
            dumps_argument,
        )  # fmt: skip
        asked.ask(self._nodes)
        cycle = self._nodes.prepare()
        if cycle is not None:
            raise _cycle_error(cycle)
        self._number = number_of(self._make_runner(graph, options))
        self._is_alone = options.retries == 0
        self._once = TaskOptions(retries=0, priority=options.priority, limit_ms=options.native.limit_ms)
        self._options = options.native
        self._once_less = self._options if self._is_alone else one_retry_less(options.native)
        self._sent: dict[PendingFuture, Piece] = {}
        self._progress = MapProgress(sender.rings, self._sent)
        self._errors: dict[int, BaseException] = {}
        self.is_cancelled = False

    def _make_runner(self, graph: "MatrixGraph", options: CallOptions) -> PieceRunner:
        made = []
        for number, function in enumerate(graph.functions):
            if not examine(function).is_kept:
                try:
                    function = Anew(dumps_argument(function))
                except TypeError:  # it has references: these a task has, and no single call
                    self._nodes.keep_alone(number)
            made.append(options.wrap(function))
        names = list(dict.fromkeys(map(callable_name, graph.functions)))
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        return PieceRunner(tuple(made), ", ".join(names[:MOST_NAMED]) + more)

    @property
    def nodes(self) -> MatrixNodes:
        """What has come of it."""
        return self._nodes

    @property
    def counts(self) -> tuple[int, int]:
        """How many nodes are done, and how many of these have raised something."""
        return self._nodes.done, self._nodes.failed

    def run(self) -> Any:
        """The values that are asked for; with failures that do not end it, those as well, by node."""
        self._run()
        values = self._asked.shape(self._nodes, loads_value)
        if self._is_raising:
            return values
        return values, {node: self.error_of(node) for node in self._nodes.list_failed()}

    def _run(self) -> None:
        """Until all is done that is needed."""
        nodes = self._nodes
        try:
            while not nodes.is_over:
                self._send_more()
                if self.is_cancelled:
                    raise CancelledError
                for future in self._progress.wait():
                    self._on_ended(future, self._sent.pop(future))
        finally:
            for future in list(self._sent):
                future.cancel()

    def cancel(self) -> None:
        """From any thread: nobody wants it any more."""
        self.is_cancelled = True
        for future in list(self._sent):
            future.cancel()

    def _send_more(self) -> None:
        """As many pieces as keep all workers busy."""
        nodes, sender = self._nodes, self._sender
        workers = max(1, sender.rings.count_workers())
        while len(self._sent) < PIECES_PER_WORKER * workers + 2 and not self.is_cancelled:
            piece = nodes.cut(workers, len(self._sent), self._is_alone)
            if piece is None:
                return
            options = self._once
            if piece.count == 1:
                options = self._once_less if piece.is_retried else self._options
            self._sent[sender.submit_piece(self._number, piece.payload, self._progress, self._begin, options)] = piece

    def _on_ended(self, future: PendingFuture, piece: Piece) -> None:
        if future.cancelled():
            future.result()  # raises what says why
        error = future.exception()
        if error is None:
            failed = self._nodes.take(piece, future.result())
            if failed is not None and self._is_raising:
                raise self.error_of(failed)
        elif isinstance(error, _ENDS_ALL):
            raise error
        elif piece.count > 1:
            self._nodes.take_apart(piece)
        else:
            self._nodes.fail(piece, error)
            if self._is_raising:
                raise self.error_of(piece.first)

    def error_of(self, node: int) -> BaseException:
        """What a node has failed with: its own exception, or that of the first of those it needs that failed."""
        origin, failure = self._nodes.failure_of(node)
        error = self._errors.get(origin)
        if error is None:
            error = failure if isinstance(failure, BaseException) else payload.load_result(STATUS_RAISED, 0, failure, 0)
            assert isinstance(error, BaseException)
            error.add_note(f"This was node {origin} of a matrix graph.")
            self._errors[origin] = error
        return error


class MatrixFuture(Future[Any]):
    """The future of a run, which a thread of its own drives."""

    def __init__(self, run: MatrixRun, shown: Callable[[], AbstractContextManager[None]]) -> None:
        super().__init__()
        self._run, self._shown = run, shown
        new_thread("scaler-graph", self._drive, runs_others=True).start()

    def cancel(self) -> bool:
        """True if it was not done yet: then it is cancelled, and so is what runs for it."""
        is_cancelled = super().cancel()
        if is_cancelled:
            self._run.cancel()
        return is_cancelled

    def _drive(self) -> None:
        try:
            with self._shown():
                value = self._run.run()
        except BaseException as error:
            error.__traceback__ = None  # which has this very frame
            with suppress(InvalidStateError):
                if isinstance(error, CancelledError):
                    super().cancel()
                else:
                    self.set_exception(error)
        else:
            with suppress(InvalidStateError):
                self.set_result(value)


def loads_value(data: bytes) -> Any:
    """The value of a node that is asked for."""
    try:
        return pickle.loads(data)
    except Exception as error:
        raise DeserializeObjectError(
            f"the value of a node could not be unpickled here: {type(error).__name__}: {error}"
        ) from error


def _cycle_error(cycle: list[int]) -> Exception:
    from graphlib import CycleError

    return CycleError("nodes need each other in a cycle", cycle)

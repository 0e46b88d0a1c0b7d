"""Pieces: sends the nodes of a graph many at a time, and takes in what comes of them.

A piece is an ordinary task, whose argument and result are columns. Which nodes make the next piece is decided when a
worker has room for it, from what earlier ones have come to; so no more than a few pieces are under way, and a scheduler
that dies takes no more with it than these, which the client sends again as it does any task.

A piece whose worker died, or that was ended from outside (a time limit, a call of sys.exit), comes back at once. If it
is known which node was running, that one is run alone from then on, with one try less, and the others as if they had
not been sent; otherwise each of them is run alone. So the one that was to blame fails alone, after as many tries as it
may have. Where nothing may be run again each node has a piece of its own.

Not here: the nodes (native/client/matrix_nodes.pyx), running a piece (native/worker/piece_runner.pyx), what is asked
for and how it is handed out (matrix_run, dict_run).
"""

import pickle
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from scaler._native import STATUS_RAISED, MapProgress, MatrixNodes, PendingFuture, Piece, TaskOptions, TaskSender
from scaler.client.callables import examine
from scaler.client.functions import callable_name
from scaler.client.mapping import one_retry_less
from scaler.client.options import CallOptions
from scaler.exceptions import (
    ClientQuitException,
    DeserializeObjectError,
    DisconnectedError,
    NoWorkerError,
    ProcessorDiedError,
)
from scaler.values import payload
from scaler.values.named import IsNamed, NamedFunction
from scaler.values.pieces import Anew, PieceRunner, dumps_argument

if TYPE_CHECKING:
    from scaler.client.parcel import Parcel

PIECES_PER_WORKER = 4
PATIENCE_S = 0.02  # some ten pieces' time
MOST_SAID = 3  # functions in the name of a graph's tasks
_ENDS_ALL = (ClientQuitException, DisconnectedError, NoWorkerError)


class Pieces:
    """Those of one graph, whose nodes are prepared, and run by the `runner`.

    `number_of` and `begin` are the client's. `say_which(node)` is what an exception is told of the node that raised it.
    With `is_careful` there is no more than one piece for each worker until the first has come back.
    """

    def __init__(
        self,
        nodes: MatrixNodes,
        runner: PieceRunner,
        sender: TaskSender,
        number_of: Callable[[Any], int],
        begin: "Callable[[], Parcel]",
        options: CallOptions,
        say_which: Callable[[int], str],
        is_careful: bool = False,
    ) -> None:
        self._nodes, self._sender, self._begin = nodes, sender, begin
        self._say_which, self._is_careful = say_which, is_careful
        self._number = number_of(runner)
        self._is_alone = options.retries == 0
        self._once = TaskOptions(retries=0, priority=options.priority, limit_ms=options.native.limit_ms)
        self._options = options.native
        self._once_less = self._options if self._is_alone else one_retry_less(options.native)
        self._sent: dict[PendingFuture, Piece] = {}
        self._progress = MapProgress(sender.rings, self._sent)
        self._errors: dict[int, BaseException] = {}
        self._is_held_back = self._is_impatient = False

    @property
    def are_under_way(self) -> bool:
        """Whether some have been sent and have not come back."""
        return bool(self._sent)

    def send(self) -> None:
        """As many as keep all workers busy."""
        nodes, sender = self._nodes, self._sender
        workers = max(1, sender.rings.count_workers())
        most = workers if self._is_careful and not nodes.done else PIECES_PER_WORKER * workers + 2
        self._is_held_back = False
        while len(self._sent) < most:
            piece = nodes.cut(workers, 0 if self._is_impatient else len(self._sent), self._is_alone)
            if piece is None:
                self._is_held_back = nodes.has_ready
                break
            options = self._once
            if piece.count == 1:
                options = self._once_less if piece.is_retried else self._options
            self._sent[sender.submit_piece(self._number, piece.payload, self._progress, self._begin, options)] = piece
        self._is_impatient = False

    def wait(self) -> int | None:
        """Wait until some have come back, and take these in. One of their nodes that has raised something, or None.

        Where nodes that are ready wait for what is under way, so that all can go together, it may be a long wait: then
        it ends after PATIENCE_S, and the next `send` sends them.
        """
        failed = None
        until_s = time.monotonic() + PATIENCE_S
        try:
            ended = self._progress.wait(PATIENCE_S if self._is_held_back else None)
        except TimeoutError:
            if not self._is_held_back or time.monotonic() < until_s:
                raise  # by others' code that came in between
            self._is_impatient = True
            return None
        for future in ended:
            of_this = self._take(future, self._sent.pop(future))
            if failed is None:
                failed = of_this
        return failed

    def cancel(self) -> None:
        """From any thread: nobody wants what is under way."""
        for future in list(self._sent):
            future.cancel()

    def _take(self, future: PendingFuture, piece: Piece) -> int | None:
        if future.cancelled():
            future.result()  # raises what says why
        error = future.exception()
        if error is None:
            return self._nodes.take(piece, future.result())
        if isinstance(error, _ENDS_ALL):
            raise error
        if piece.count > 1:
            blamed = error.piece_node if isinstance(error, ProcessorDiedError) else None
            self._nodes.take_apart(piece, -1 if blamed is None else blamed)
            return None
        self._nodes.fail(piece, error)
        return piece.first

    def error_of(self, node: int) -> BaseException:
        """What a node has failed with: its own exception, or that of the first of those it needs that failed."""
        origin, failure = self._nodes.failure_of(node)
        error = self._errors.get(origin)
        if error is None:
            error = failure if isinstance(failure, BaseException) else payload.load_result(STATUS_RAISED, 0, failure, 0)
            assert isinstance(error, BaseException)
            error.add_note(self._say_which(origin))
            self._errors[origin] = error
        return error


def make_runner(functions: Sequence[Callable[..., Any]], options: CallOptions) -> tuple[PieceRunner, list[int]]:
    """What runs the pieces of a graph with these functions; and those whose calls are to have a piece each."""
    made, alone = [], []
    for number, function in enumerate(functions):
        if type(function) is NamedFunction:
            raise IsNamed(function)
        if not examine(function).is_kept:
            try:
                function = Anew(dumps_argument(function))
            except TypeError:  # it has references: these a task has, and no single call
                alone.append(number)
        made.append(options.wrap(function))
    names = list(dict.fromkeys(map(callable_name, functions)))
    more = f" and {len(names) - MOST_SAID} more" if len(names) > MOST_SAID else ""
    return PieceRunner(tuple(made), ", ".join(names[:MOST_SAID]) + more), alone


def loads_value(data: bytes) -> Any:
    """The value of a node that is asked for."""
    try:
        return pickle.loads(data)
    except Exception as error:
        raise DeserializeObjectError(
            f"the value of a node could not be unpickled here: {type(error).__name__}: {error}"
        ) from error

"""MatrixRun: runs a matrix graph, for what is asked of it in one or several parts.

With `block=False` a thread of its own drives it, and each part has a future, which is done as soon as all nodes of that
part are.

Not here: sending pieces (pieces), which values are asked for (matrix_keys).
"""

from collections.abc import Callable
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING, Any

from scaler._native import MatrixNodes, TaskSender
from scaler.client.graph.matrix_keys import Asked, Part
from scaler.client.graph.pieces import Pieces, loads_value, make_runner
from scaler.client.options import CallOptions
from scaler.program.threads import new_thread
from scaler.values.pieces import dumps_argument

if TYPE_CHECKING:
    from scaler.client.graph.matrix import MatrixGraph
    from scaler.client.parcel import Parcel


class MatrixRun:
    """One run of a graph, for the nodes that are asked for. ValueError for a graph with a cycle.

    `number_of` and `begin` are the client's. With `is_raising` a node that fails does not stand beside the values.
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
        self._asked, self._is_raising = asked, is_raising
        self.nodes = MatrixNodes(
            graph.count, graph.inputs, graph.first, graph.most, len(graph.functions), graph.which, graph.columns,
            dumps_argument,
        )  # fmt: skip
        for part in asked.parts:
            self.nodes.ask(part.nodes)
        cycle = self.nodes.prepare()
        if cycle is not None:
            raise _cycle_error(cycle)
        runner, alone = make_runner(graph.functions, options)
        for function in alone:
            self.nodes.keep_alone(function)
        self._pieces = Pieces(self.nodes, runner, sender, number_of, begin, options, _say_which)
        self._is_cancelled = False
        self._open: list[PartFuture] = []

    @property
    def counts(self) -> tuple[int, int]:
        """How many nodes are done, and how many of these have raised something."""
        return self.nodes.done, self.nodes.failed

    def run(self) -> Any:
        """The values that are asked for; with failures that do not end it, those as well, by node."""
        self.drive(self._raise_first if self._is_raising else _go_on)
        values = self._asked.shape(self.nodes, loads_value)
        if self._is_raising:
            return values
        return values, {node: self._pieces.error_of(node) for node in self.nodes.list_failed()}

    def drive(self, on_taken: Callable[[int | None], None]) -> None:
        """Until all is done that is needed. `on_taken` is called after some has come; with a node if one has failed."""
        try:
            while not self.nodes.is_over:
                self._pieces.send()
                if self._is_cancelled:
                    raise CancelledError
                on_taken(self._pieces.wait())
        finally:
            self._pieces.cancel()

    def _raise_first(self, failed: int | None) -> None:
        if failed is not None:
            raise self._pieces.error_of(failed)

    def start(self, shown: Callable[[], AbstractContextManager[None]]) -> Any:
        """The futures of the parts, in the shape in which they were asked for; a thread of its own drives it."""
        self._open = [PartFuture(self, part) for part in self._asked.parts]
        made = self._asked.shape_parts(self._open)
        new_thread("scaler-graph", lambda: self._drive_futures(shown), runs_others=True).start()
        return made

    def _drive_futures(self, shown: Callable[[], AbstractContextManager[None]]) -> None:
        try:
            with shown():
                self._settle(None)
                self.drive(self._settle)
        except BaseException as error:
            error.__traceback__ = None  # which has this very frame
            for future in self._open:
                future.end(error)

    def _settle(self, failed: int | None) -> None:
        """Hand out what is there. CancelledError once nobody waits for what is left."""
        if failed is not None and self._is_raising and self._asked.is_one_part:
            self._raise_first(failed)
        self._open = [future for future in self._open if not future.settle()]
        if not self._open and not self.nodes.is_over:
            raise CancelledError

    def on_part_cancelled(self) -> None:
        """From any thread: nobody wants one of the parts any more."""
        if all(future.done() for future in self._open):
            self._is_cancelled = True
            self._pieces.cancel()

    def outcome_of(self, part: Part, place: int) -> tuple[int, Any]:
        """(place, None) while nodes of the part are open, the one at that place the first of them; then (-1, value).

        Raises what one of its nodes has failed with, if that ends it and all before that one are done.
        """
        nodes = self.nodes
        reached = nodes.find_open(part.nodes, place)
        if self._is_raising and nodes.failed:
            failed = nodes.find_failed(part.nodes, place, reached)
            if failed < reached:
                raise self._pieces.error_of(part.nodes.node(failed))
        if reached < len(part.nodes):
            return reached, None
        values = part.shape(nodes, loads_value)
        if self._is_raising:
            return -1, values
        return -1, (values, {node: self._pieces.error_of(node) for node in part.failed(nodes)})


class PartFuture(Future[Any]):
    """The future of what one part of the keys gives."""

    def __init__(self, run: MatrixRun, part: Part) -> None:
        super().__init__()
        self._run, self._part, self._place = run, part, 0

    def cancel(self) -> bool:
        """True if it was not done yet: then it is cancelled. With the last that is open, what runs is, too."""
        is_cancelled = super().cancel()
        if is_cancelled:
            self._run.on_part_cancelled()
        return is_cancelled

    def settle(self) -> bool:
        """Look whether its nodes are done, or one of them has failed; whether it is done now."""
        if self.done():
            return True
        with suppress(InvalidStateError):
            try:
                self._place, value = self._run.outcome_of(self._part, self._place)
                if self._place < 0:
                    self.set_result(value)
            except Exception as error:
                self.end(error)
        return self.done()

    def end(self, error: BaseException) -> None:
        """It comes to nothing any more."""
        with suppress(InvalidStateError):
            if isinstance(error, CancelledError):
                super().cancel()
            else:
                self.set_exception(error)


def _go_on(failed: int | None) -> None:
    """What a node has raised stands beside the values."""


def _say_which(node: int) -> str:
    return f"This was node {node} of a matrix graph."


def _cycle_error(cycle: list[int]) -> Exception:
    from graphlib import CycleError

    return CycleError("nodes need each other in a cycle", cycle)

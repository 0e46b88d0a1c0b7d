"""DictRun: runs a graph that is a dict of cheap, plain calls in pieces, as a matrix graph is run.

Whether a graph is one of these is found out in two steps. What stands in the dict is looked at before anything runs:
all arguments must be keys, numbers, and small values of Python's own kinds. What the calls are like is seen from what
the first of them do: if they take so long, or give such large results, that pieces gain nothing, the rest is handed
over, to be sent node by node (run). So no graph is slower in pieces by more than its first few calls.

Rule 1: what a caller can see is the same in both ways: values, the exception that is raised, and of which key that is.
        So there are no pieces where each node has something of its own to be seen: futures (`block=False`), options
        that hold for a task (`retries=0`), output that is streamed with the function's name.
Not here: sending pieces (pieces), reading the dict (read), what else runs a graph (run).
"""

from array import array
from collections.abc import Callable
from contextlib import suppress
from graphlib import CycleError
from typing import TYPE_CHECKING, Any

from scaler._native import (
    GraphMatrix,
    GraphScan,
    GraphTable,
    InputSlot,
    NodeRange,
    TaskSender,
    as_graph_matrix,
    scan_graph,
)
from scaler.client.graph.order import read_table
from scaler.client.graph.pieces import Pieces, loads_value, make_runner
from scaler.client.graph.read import Data, Key, Reader
from scaler.client.options import CallOptions
from scaler.exceptions import DeserializeObjectError
from scaler.values.calls import replace_marks
from scaler.values.pieces import Filled, Hole, PieceRunner, dumps_argument

if TYPE_CHECKING:
    from scaler.client.parcel import Parcel

LEAST_NODES = 512  # of fewer, as many are under way at once as tasks of their own as would be in pieces
MOST_VALUE_BYTES = 65_536  # of one result: a larger one goes better from task to task than by way of the client
SLOW_NS = 1_000_000  # a call of which a piece has but one or two
SLOW_CALLS = 8  # so many are looked at before a function counts as slow
SLOW_SHARE = 4  # the rest is handed over if one in so many nodes calls a slow function
_MOST_DEPTH = 8
_ATOMS = (type(None), bool, int, float, complex, str, bytes)


class _Followed:
    """The numbers of a graph that was followed from the keys that are asked for."""

    def __init__(self, table: GraphTable) -> None:
        self._table = table
        self.is_call = table.is_call

    def key(self, number: int) -> Key:
        return self._table.keys[number]

    def value(self, number: int) -> Any:
        """Of what is data."""
        return self._table.node(number).value

    def rest(self, still_open: list[int], data_of: Callable[[int], Data | None]) -> tuple[GraphTable, list[int]]:
        """A table in which that is data which has run, and the numbers there of what is still open."""
        self._table.begin_again(still_open, data_of)
        return self._table, still_open


class _Scanned:
    """The numbers of a graph that was gone through as a whole."""

    def __init__(self, scan: GraphScan, reader: Reader) -> None:
        self._scan, self._reader = scan, reader
        self.is_call, self.key, self.value = scan.is_call, scan.key, scan.value

    def rest(self, still_open: list[int], data_of: Callable[[int], Data | None]) -> tuple[GraphTable, list[int]]:
        """A table in which that is data which has run, and the numbers there of what is still open."""
        scan = self._scan
        table, targets = read_table(self._reader, [scan.key(number) for number in still_open])

        def data_of_key(number: int) -> Data | None:
            scanned = scan.number(table.keys[number])
            return None if scanned is None else data_of(scanned)

        table.begin_again(targets, data_of_key)
        return table, targets


class DictRun:
    """One run of a graph that was read. `targets` are the numbers of what is asked for, in the order of the keys."""

    def __init__(
        self, numbers: _Followed | _Scanned, targets: list[int], matrix: GraphMatrix, runner: PieceRunner
    ) -> None:
        self._numbers, self._targets, self._runner = numbers, targets, runner
        self._called = [number for number in dict.fromkeys(targets) if numbers.is_call(number)]
        self._uses = matrix.count_uses()
        self._nodes = matrix.nodes()
        self._asked = NodeRange(len(self._called), numbers=_as_array(self._called))
        self._nodes.ask(self._asked)
        cycle = self._nodes.prepare()
        if cycle is not None:
            raise CycleError("nodes need each other in a cycle", [numbers.key(number) for number in cycle])
        self._reached = 0  # so many of the first of what was asked for are done, and have not failed

    def needs_one_of(self, odd: list[int]) -> bool:
        """Whether one of these is needed."""
        return any(map(self._nodes.is_needed, odd))

    def run(
        self, sender: TaskSender, number_of: Callable[[Any], int], begin: "Callable[[], Parcel]", options: CallOptions
    ) -> bool:
        """Run it. True once all is there; False if the rest is better sent node by node."""
        nodes = self._nodes
        pieces = Pieces(nodes, self._runner, sender, number_of, begin, options, self._say_which, is_careful=True)
        is_given_up = False
        try:
            while not nodes.is_over and (pieces.are_under_way or not is_given_up):
                if not is_given_up:
                    pieces.send()
                pieces.wait()
                if nodes.failed:
                    self._raise_first(pieces)
                    is_given_up = False  # what has failed is known here only
                else:
                    is_given_up = is_given_up or self._gains_little()
        finally:
            pieces.cancel()
        return nodes.is_over

    def _raise_first(self, pieces: Pieces) -> None:
        """Of the keys in order, raise what the first one that has failed has, once all before it are done."""
        end = self._nodes.find_open(self._asked, self._reached)
        failed = self._nodes.find_failed(self._asked, self._reached, end)
        if failed < end:
            raise pieces.error_of(self._asked.node(failed))
        self._reached = end

    def _gains_little(self) -> bool:
        if self._nodes.largest_value > MOST_VALUE_BYTES:
            return True
        slow = 0
        for function, uses in enumerate(self._uses):
            calls, mean_ns = self._nodes.pace_of(function)
            if calls >= SLOW_CALLS and mean_ns > SLOW_NS:
                slow += uses
        return slow * SLOW_SHARE >= sum(self._uses)

    def _say_which(self, number: int) -> str:
        return f"This was node {self._numbers.key(number)!r} of a graph."

    def values(self) -> list[Any]:
        """The values of the targets, in the order of the keys."""
        return [self._value(number) for number in self._targets]

    def _value(self, number: int) -> Any:
        if not self._numbers.is_call(number):
            return self._numbers.value(number)
        return self._nodes.value(number, loads_value)

    def hand_over(self, send: Callable[[GraphTable, list[int]], list[Any]]) -> list[Any]:
        """Have what is left sent node by node, which gives the futures of these nodes of a table. The values of all."""
        still_open = [number for number in self._called if not self._nodes.is_done(number)]
        futures = dict(zip(still_open, send(*self._numbers.rest(still_open, self._data_of)), strict=True))
        try:
            return [futures[number].result() if number in futures else self._value(number) for number in self._targets]
        finally:
            for future in futures.values():
                future.cancel()

    def _data_of(self, number: int) -> Data | None:
        """What a node has come to. None as well for what only workers can unpickle: it is run once more."""
        if not self._numbers.is_call(number) or not self._nodes.is_done(number):
            return None
        with suppress(DeserializeObjectError):
            return Data(self._nodes.value(number, loads_value))
        return None


def start_followed(table: GraphTable, targets: list[int], options: CallOptions) -> DictRun | None:
    """The run of a graph that was read; None if it is none for pieces. CycleError if nodes need each other."""
    if len(table) < LEAST_NODES or options.retries == 0:
        return None
    matrix = as_graph_matrix(table, dumps_argument, _pack, _pack_holes)
    return None if matrix is None else _start(_Followed(table), targets, matrix, options)


def start_scanned(graph: dict[Key, Any], reader: Reader, keys: list[Key], options: CallOptions) -> DictRun | None:
    """The same of a plain graph of which most is needed, and which is read here."""
    scan = scan_graph(graph, reader.read, dumps_argument, _pack, _pack_holes)
    if scan is None:
        return None
    targets = [scan.number(key) for key in keys]
    if None in targets or (scan.odd and not set(scan.odd).isdisjoint(targets)):
        return None
    numbers = [number for number in targets if number is not None]
    if any(not scan.is_call(number) and reader.is_node(scan.value(number)) for number in numbers):
        return None
    run = _start(_Scanned(scan, reader), numbers, scan.matrix, options)
    return None if run is None or (scan.odd and run.needs_one_of(scan.odd)) else run


def _start(
    numbers: _Followed | _Scanned, targets: list[int], matrix: GraphMatrix, options: CallOptions
) -> DictRun | None:
    functions = [Filled(function) if is_filled else function for function, is_filled in matrix.functions]
    try:
        runner, alone = make_runner(functions, options)
    except Exception:  # one that cannot be pickled, for instance: who sends it says so
        return None
    return None if alone else DictRun(numbers, targets, matrix, runner)


def _as_array(numbers: list[int]) -> memoryview:
    return memoryview(array("q", numbers))


def _pack(value: Any) -> bytes | None:
    """The pickle of a literal; None for what is not plain."""
    return dumps_argument(value) if _is_plain(value, set(), 0) else None


def _pack_holes(args: tuple[Any, ...], inputs: int) -> bytes | None:
    """The pickle of arguments in which inputs may stand deeper, with holes for these; None for what is not plain.

    Filling makes new lists and dicts, so one that stands there twice, and would come out as two, is not plain.
    """
    seen: set[int] = set()
    if not _is_plain(args, seen, 0) or -1 in seen:
        return None
    holes = [Hole(number) for number in range(inputs)]
    return dumps_argument(tuple(replace_marks(arg, InputSlot, holes) for arg in args))


def _is_plain(value: Any, seen: set[int], depth: int) -> bool:
    """Whether it is made of Python's own values only; inputs of a node may stand among them.

    `seen` gets the ids of what can be changed, and -1 if something of that stands there twice.
    """
    kind = type(value)
    if kind in _ATOMS or kind is InputSlot:
        return True
    if depth > _MOST_DEPTH or kind not in (list, tuple, dict):
        return False
    if kind is not tuple:
        seen.add(-1 if id(value) in seen else id(value))
    if kind is dict:
        return all(_is_plain(item, seen, depth + 1) for pair in value.items() for item in pair)
    return all(_is_plain(item, seen, depth + 1) for item in value)

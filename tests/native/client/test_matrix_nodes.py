"""MatrixNodes and PieceRunner: pieces are cut, run and taken in by one process, in whatever order chance says."""

import pickle
import random
import statistics
import time
from collections.abc import Callable, Sequence
from operator import add
from typing import Any

import numpy as np
import pytest

from scaler._native import ArgumentColumn, MatrixNodes, NodeRange, Piece, run_piece
from tests.effort import seeds

Nodes = MatrixNodes
WORKERS = 2


def make(
    inputs: Any,
    functions: int = 1,
    which: Sequence[int] | None = None,
    columns: Any = None,
    asked: Sequence[int] | None = None,
) -> Nodes:
    array = np.array(inputs, np.int32, ndmin=2)
    count, most = array.shape
    chosen = None if which is None else np.array(which, np.uint16)
    nodes = MatrixNodes(count, array.reshape(-1), None, most, functions, chosen, columns, pickle.dumps)
    numbers = np.array(range(count) if asked is None else asked, np.int64)
    nodes.ask(NodeRange(len(numbers), numbers=numbers))
    return nodes


def describe(error: BaseException, is_unreadable: bool) -> bytes:
    return repr(error).encode()


def answer_of(piece: Piece, *functions: Callable[..., Any], payload: bytes | None = None) -> bytes:
    return run_piece(functions, payload or piece.payload, pickle.loads, pickle.dumps, describe)


def run_all(nodes: Nodes, *functions: Callable[..., Any], chance: random.Random | None = None) -> list[int]:
    """How many nodes each piece had. Some pieces are lost, if there is a chance."""
    assert nodes.prepare() is None
    under_way: list[Piece] = []
    sizes = []
    while not nodes.is_over:
        while len(under_way) < 10 and (piece := nodes.cut(WORKERS, len(under_way))) is not None:
            under_way.append(piece)
            sizes.append(piece.count)
        piece = under_way.pop(0 if chance is None else chance.randrange(len(under_way)))
        if chance is not None and piece.count > 1 and chance.random() < 0.05:
            nodes.take_apart(piece)
        else:
            nodes.take(piece, answer_of(piece, *functions))
    assert not under_way
    assert not nodes.has_ready
    return sizes


def gather(*values: Any) -> list[Any]:
    """A list, to which each user adds something: what the others get must not be the same one."""
    made = [item for value in values for item in (value if isinstance(value, list) else [value])][-5:]
    for value in values:
        if isinstance(value, list):
            value.append("changed")
    return [*made, len(values)]


def join(*values: Any) -> str:
    return "".join(map(str, values))[-50:]


def fail_at_times(*values: Any) -> float:
    if len(join(*values)) % 7 == 3:
        raise ValueError(len(values))
    return 1.5


def huge(*values: Any) -> int:
    return 10**30 + len(values)


def length(*values: Any) -> int:
    return len(str(values))


FUNCTIONS = (length, gather, join, fail_at_times, huge)


def expected(inputs: list[list[int]], which: Sequence[int]) -> list[Any]:
    made: list[Any] = []
    for row, function in zip(inputs, which, strict=True):
        given = [pickle.loads(pickle.dumps(made[k])) for k in row if k >= 0]
        failed = [value for value in given if isinstance(value, Exception)]
        try:
            made.append(failed[0] if failed else FUNCTIONS[function](*given))
        except ValueError as error:
            made.append(error)
    return made


@pytest.mark.parametrize("seed", seeds(60))
def test_whatever_the_pieces_are_each_node_gets_what_plain_python_gives(seed: int) -> None:
    chance = random.Random(seed)
    count, most = chance.randrange(1, 400), chance.randrange(4)
    inputs = [
        [chance.randrange(max(0, i - 50), i) if i and chance.random() < 0.8 else -1 for _ in range(most)]
        for i in range(count)
    ]
    which = [chance.randrange(len(FUNCTIONS)) for _ in range(count)]
    asked = range(count) if seed % 3 else sorted(chance.sample(range(count), max(1, count // 10)))
    array = np.array(inputs, np.int32).reshape(count, most)
    nodes = make(array, len(FUNCTIONS), which, asked=asked)
    run_all(nodes, *FUNCTIONS, chance=chance)
    for node, value in enumerate(expected(inputs, which)):
        if node not in asked:
            continue
        if isinstance(value, Exception):
            assert nodes.failure_of(node)[1] == repr(value).encode()
        else:
            found = nodes.value(node, pickle.loads)
            assert found == value
            assert type(found) is type(value)


@pytest.mark.parametrize("seed", seeds(20))
def test_nodes_may_have_any_numbers(seed: int) -> None:
    chance = random.Random(seed)
    numbers = list(range(200))
    chance.shuffle(numbers)
    inputs = np.full((200, 2), -1)
    levels = {}
    for i, node in enumerate(numbers):
        inputs[node] = [numbers[chance.randrange(i)] for _ in range(2)] if i else -1
        levels[node] = 1 + max((levels[k] for k in inputs[node] if k >= 0), default=0)
    nodes = make(inputs)
    run_all(nodes, lambda *below: 1 + max(below, default=0))
    assert {node: nodes.value(node, pickle.loads) for node in numbers} == levels


def test_a_cycle_is_named_by_its_nodes() -> None:
    assert make([[1], [2], [3], [1]]).prepare() == [1, 2, 3, 1]
    assert make([[0]]).prepare() == [0, 0]


def test_a_cycle_that_nothing_asked_for_needs_is_no_matter() -> None:
    nodes = make([[-1], [2], [1]], asked=[0])
    assert nodes.prepare() is None
    assert nodes.needed == 1


def test_what_is_not_needed_is_not_run() -> None:
    nodes = make([[-1], [-1], [0], [1]], asked=[3])
    ran = []
    run_all(nodes, lambda *below: ran.append(below))
    assert len(ran) == 2 == nodes.needed == nodes.done


def test_pieces_grow_with_each_answer() -> None:
    nodes = make(np.full((100_000, 0), -1))
    sizes = run_all(nodes, lambda: 1)
    assert sizes[0] == 1
    assert max(sizes) > 1000


def test_what_only_the_piece_needs_does_not_come_back() -> None:
    nodes = make([[i - 1] for i in range(50_000)], asked=[49_999])
    nodes.prepare()
    last, sizes = 0, []
    while (piece := nodes.cut(WORKERS)) is not None:
        answer = answer_of(piece, lambda *below: 1 + sum(below))
        nodes.take(piece, answer)
        last = max(last, piece.count)
        sizes.append(len(answer))  # larger for one that was so slow that it ended early
    assert statistics.median(sizes) < 200
    assert nodes.value(49_999, pickle.loads) == 50_000
    assert last > 100


def test_one_user_may_change_what_it_gets_and_no_other_sees_it() -> None:
    def make_list(*below: list[int]) -> list[int]:
        for one in below:
            one.append(1)
        return below[0] if below else []

    # 0 makes, 1 and 2 append to it, 3 gets it twice, 4 gets the one of 1.
    nodes = make([[-1, -1], [0, -1], [0, -1], [0, 0], [1, -1]])
    run_all(nodes, make_list)
    assert [nodes.value(node, pickle.loads) for node in range(5)] == [[], [1], [1], [1, 1], [1, 1]]


def test_the_same_node_twice_is_one_object() -> None:
    for asked in ([1], [0, 1]):
        nodes = make([[-1, -1], [0, 0]], asked=asked)
        run_all(nodes, lambda *below: below[0] is below[1] if below else [])
        assert nodes.value(1, pickle.loads) is True


def test_a_result_with_one_user_inside_the_piece_is_never_pickled() -> None:
    class Local:
        pass

    def work(*below: Any) -> Any:
        return Local() if not below else type(below[0]).__name__

    nodes = make([[-1] if i % 2 == 0 else [i - 1] for i in range(200)], asked=range(1, 200, 2))
    nodes.prepare()
    whole = 0
    while (piece := nodes.cut(WORKERS)) is not None:
        nodes.take(piece, answer_of(piece, work))
        whole += piece.count > 2
    failed = nodes.list_failed()
    assert whole
    assert len(failed) < 5
    assert all(nodes.value(i, pickle.loads) == "Local" for i in range(1, 200, 2) if i not in failed)


def test_a_failure_reaches_what_needs_it_with_the_first_exception_and_nothing_else() -> None:
    def work(*below: int) -> int:
        return 1 // (len(below) - 1)

    # 0 and 1 have no inputs: 1 // -1; 2 has one: it fails; 3 needs 2; 4 needs 0 and 1.
    nodes = make([[-1, -1], [-1, -1], [0, -1], [2, 1], [0, 1]])
    run_all(nodes, work)
    assert nodes.list_failed() == [2, 3]
    assert nodes.failure_of(3)[0] == 2
    assert b"ZeroDivisionError" in nodes.failure_of(3)[1]
    assert nodes.value(4, pickle.loads) == 1


def test_columns_follow_the_inputs_in_the_order_of_the_nodes() -> None:
    columns = [
        (ArgumentColumn(np.array([10, 20], np.int64), "int"), ArgumentColumn(["a", [1]], "")),
        (ArgumentColumn(np.array([0.5, 1.5]), "float"), ArgumentColumn(np.array([0, 1], np.uint8), "bool")),
    ]
    nodes = make([[-1], [-1], [0], [1]], 2, [0, 1, 1, 0], columns)
    run_all(nodes, lambda *given: ("f", *given), lambda *given: ("g", *given))
    values = [nodes.value(node, pickle.loads) for node in range(4)]
    assert values == [
        ("f", 10, "a"),
        ("g", 0.5, False),
        ("g", ("f", 10, "a"), 1.5, True),
        ("f", ("g", 0.5, False), 20, [1]),
    ]


def test_an_argument_that_cannot_be_pickled_leaves_everything_as_it_was() -> None:
    columns = [(ArgumentColumn([lambda: 1, 2], ""),)]
    nodes = make([[-1], [0]], columns=columns)
    nodes.prepare()
    for _ in range(2):
        with pytest.raises(Exception, match="pickle"):
            nodes.cut(WORKERS)
        assert nodes.has_ready
        assert nodes.done == 0


def test_a_piece_that_overruns_hands_back_its_results_and_the_rest() -> None:
    is_slow = False

    def work(*below: int) -> int:
        if is_slow and not below:
            time.sleep(0.03)
        return 1 + sum(below)

    nodes = make([[-1] if i % 2 == 0 else [i - 1] for i in range(2000)])
    nodes.prepare()
    before = 0
    while before < 100:
        piece = nodes.cut(WORKERS)
        assert piece is not None
        before = piece.count
        is_slow = before >= 100
        nodes.take(piece, answer_of(piece, work))
    assert nodes.done < 500
    is_slow = False
    while (piece := nodes.cut(WORKERS)) is not None:
        nodes.take(piece, answer_of(piece, work))
    assert [nodes.value(i, pickle.loads) for i in range(2000)] == [1, 2] * 1000


def test_nodes_of_a_piece_that_died_are_tried_alone() -> None:
    nodes = make([[i - 1] for i in range(100)])
    nodes.prepare()
    while (piece := nodes.cut(WORKERS)) is not None and piece.count == 1:
        nodes.take(piece, answer_of(piece, length))
    assert piece is not None
    count = piece.count
    nodes.take_apart(piece)
    for _ in range(count):
        piece = nodes.cut(WORKERS)
        assert piece is not None
        assert piece.count == 1
        assert piece.is_retried
        nodes.take(piece, answer_of(piece, length))
    piece = nodes.cut(WORKERS)
    assert piece is not None
    assert not piece.is_retried


def test_only_the_node_that_is_blamed_for_a_death_is_tried_alone() -> None:
    nodes = make([[i - 1] for i in range(100)])
    nodes.prepare()
    while (piece := nodes.cut(WORKERS)) is not None and piece.count < 8:
        nodes.take(piece, answer_of(piece, length))
    assert piece is not None
    first, blamed = piece.first, piece.first + 3
    nodes.take_apart(piece, 3)
    again = nodes.cut(WORKERS)
    assert again is not None
    assert (again.first, again.count, again.is_retried) == (first, 3, False)
    nodes.take(again, answer_of(again, length))
    alone = nodes.cut(WORKERS)
    assert alone is not None
    assert (alone.first, alone.count, alone.is_retried) == (blamed, 1, True)
    nodes.take(alone, answer_of(alone, length))
    rest = nodes.cut(WORKERS)
    assert rest is not None
    assert not rest.is_retried


def test_a_blame_that_makes_no_sense_falls_on_all() -> None:
    nodes = make([[-1]] * 20)
    nodes.prepare()
    first = nodes.cut(WORKERS)
    assert first is not None
    nodes.take(first, answer_of(first, length))
    piece = nodes.cut(WORKERS)
    assert piece is not None
    assert piece.count > 1
    nodes.take_apart(piece, piece.count)
    retried = 0
    while (piece := nodes.cut(WORKERS)) is not None:
        retried += piece.is_retried
        nodes.take(piece, answer_of(piece, length))
    assert retried > 1
    assert nodes.is_over


def test_nodes_that_are_asked_for_are_found_done_and_failed_in_their_order() -> None:
    def work(*below: int) -> int:
        return 1 // (1 - len(below))

    nodes = make([[-1], [0], [-1], [1]])
    asked = NodeRange(4)
    assert nodes.find_open(asked) == 0
    run_all(nodes, work)
    assert nodes.find_open(asked) == 4
    assert nodes.find_failed(asked, 0, 4) == 1
    assert nodes.find_failed(asked, 2, 3) == 3
    assert nodes.find_failed(NodeRange(2, 3, -1), 0, 99) == 0
    assert nodes.find_failed(NodeRange(2, numbers=np.array([2, 1])), 0, 2) == 1
    assert nodes.read(NodeRange(2, 0, 2), pickle.loads) == [1, 1]


@pytest.mark.parametrize(("start", "step"), [(0, 1), (3, 1), (1, -1), (-1, 1), ((1 << 32) + 1, 1)])
def test_what_is_no_node_cannot_be_asked_for(start: int, step: int) -> None:
    nodes = make([[-1]] * 4)
    nodes.ask(NodeRange(0, start, step))
    if (start, step) == (0, 1):
        return nodes.ask(NodeRange(4))
    with pytest.raises(IndexError, match="there is no node"):
        nodes.ask(NodeRange(3, start, step))


def test_an_answer_of_too_much_for_others_ends_early() -> None:
    nodes = make([[-1]] * 40)
    nodes.prepare()
    pieces = 0
    while (piece := nodes.cut(WORKERS)) is not None:
        answer = answer_of(piece, lambda: b"x" * 1_000_000)
        assert len(answer) < 12_000_000
        nodes.take(piece, answer)
        pieces += 1
    assert pieces > 4
    assert nodes.is_over
    assert nodes.largest_value > 1_000_000


def test_a_value_goes_with_its_last_user() -> None:
    nodes = make([[-1], [0], [1], [2]], asked=[3])
    run_all(nodes, lambda *below: [*below, "x" * 100])
    assert len(nodes.value(3, pickle.loads)) == 2
    with pytest.raises(ValueError, match="kind"):
        nodes.value(0, pickle.loads)


@pytest.mark.parametrize("seed", seeds(300))
def test_damaged_pieces_and_answers_are_refused_or_read_but_never_believed(seed: int) -> None:
    chance = random.Random(seed)
    nodes = make([[-1, -1], [-1, -1], [0, 1], [2, 0]], 2, [0, 0, 1, 1])
    nodes.prepare()
    for _ in range(2):
        piece = nodes.cut(WORKERS)
        assert piece is not None
        nodes.take(piece, answer_of(piece, lambda: "text", add))
    piece = nodes.cut(WORKERS)
    assert piece is not None
    answer = answer_of(piece, lambda: "text", add)
    for data, use in ((piece.payload, None), (answer, nodes)):
        damaged = bytearray(data)
        for _ in range(chance.randrange(1, 4)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        if chance.random() < 0.3:  # in the head there are lengths of 8 bytes
            at = 8 * chance.randrange(5)
            damaged[at : at + 8] = (chance.choice([0, 1 << 31, 1 << 63, 1 << 64]) - chance.randrange(16)).to_bytes(
                16, "little", signed=True
            )[:8]
        if chance.random() < 0.3:
            del damaged[chance.randrange(1, len(damaged)) :]
        try:
            if use is None:
                answer_of(piece, lambda *_: "text", add, payload=bytes(damaged))
            else:
                use.take(piece, bytes(damaged))
        except (ValueError, OverflowError, MemoryError):
            pass


@pytest.mark.parametrize("size", [1 << 31, (1 << 63) - 1, 1 << 63, (1 << 64) - 8, (1 << 64) - 1])
def test_a_length_that_is_too_large_to_be_counted_in_bytes_is_refused(size: int) -> None:
    nodes = make([[-1], [0]])
    nodes.prepare()
    piece = nodes.cut(WORKERS)
    assert piece is not None
    damaged = bytearray(piece.payload)
    damaged[32:40] = size.to_bytes(8, "little")  # PieceHead.blob_bytes
    with pytest.raises(ValueError, match="longer than it is"):
        answer_of(piece, length, payload=bytes(damaged))
    damaged = bytearray(answer_of(piece, length))
    damaged[32:40] = size.to_bytes(8, "little")  # AnswerHead.blob_bytes
    with pytest.raises(ValueError, match="longer than it is"):
        nodes.take(piece, bytes(damaged))
    assert nodes.done == 0


def test_an_answer_that_leaves_nodes_out_without_a_word_is_refused() -> None:
    nodes = make([[-1]] * 9)
    nodes.prepare()
    first = nodes.cut(WORKERS)
    assert first is not None
    nodes.take(first, answer_of(first, length))
    piece = nodes.cut(WORKERS)
    assert piece is not None
    damaged = bytearray(answer_of(piece, length))
    damaged[4:8] = (piece.count - 1).to_bytes(4, "little")  # AnswerHead.done
    with pytest.raises(ValueError, match="no answer"):
        nodes.take(piece, bytes(damaged))
    nodes.take(piece, answer_of(piece, length))

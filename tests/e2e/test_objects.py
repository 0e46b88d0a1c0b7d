"""Arrays and other large things in arguments and results: the same behaviour at every size, and nothing left."""

import gc
import os
import pickle
import subprocess
import sys
from functools import partial

import pytest

from scaler import Client, SchedulerClusterCombo, Serializer
from scaler.exceptions import DeserializeObjectError, MissingObjects, TaskRefusedError, WorkerDiedError
from tests.e2e import array_calls, calls
from tests.elsewhere import RemoteCluster
from tests.processes import wait_until
from tests.small_memory import run_in_small_memory

np = pytest.importorskip("numpy")
KIB, MIB = 1 << 10, 1 << 20
SIZES = [KIB, 40 * KIB, 2 * MIB, 20 * MIB]


def make(value, n_bytes=2 * MIB):
    return np.full(n_bytes // 8, value)


def is_all(array, value, n_bytes):
    return array.nbytes == n_bytes and bool((array == value).all())


def wait_until_empty(client):
    """All that the client has stored is freed."""
    gc.collect()
    wait_until(lambda: len(client._store) == 0)


def segment_bytes(epoch):
    """What the epoch's segments in /dev/shm take."""
    total = 0
    for entry in os.scandir("/dev/shm"):
        if entry.name.startswith(f"scaler-{epoch}-"):
            try:
                total += entry.stat().st_size
            except FileNotFoundError:
                continue
    return total


# arguments and results


@pytest.mark.parametrize("size", SIZES)
def test_arguments_and_results_are_private_and_writable_at_every_size(client, size):
    array = make(1, size)
    results = [client.submit(array_calls.add_in_place, array, n).result(30) for n in range(3)]
    assert [is_all(result, 1 + n, size) for n, result in enumerate(results)] == [True] * 3
    assert is_all(array, 1, size)
    for result in results:
        result += 100
    assert [is_all(result, 101 + n, size) for n, result in enumerate(results)] == [True] * 3
    assert client.submit(array_calls.look, results[0]).result(30) == (101, 101, True)


def test_arrays_may_be_anywhere_in_arguments_and_results(client):
    for size in (KIB, 40 * KIB, 2 * MIB):
        value = {"list": [make(1, size), make(2, size)], "tuple": ({"deep": make(3, size)},), "none": None}
        back = client.submit(calls.echo, value).result(30)
        assert [is_all(each, n + 1, size) for n, each in enumerate(back["list"])] == [True, True]
        assert is_all(back["tuple"][0]["deep"], 3, size)
        assert back["none"] is None
        pair = client.submit(array_calls.swap, array_calls.Pair("ü", make(1, size), right=make(2, size))).result(30)
        assert (pair.name, is_all(pair.left, 2, size), is_all(pair.right, 1, size)) == ("ü", True, True)
        seen = client.submit(array_calls.look_at_all, make(1, size), key=[make(2, size)]).result(30)
        assert seen == (((1, 1, True),), {"key": [(2, 2, True)]})


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 100_000)])
def test_arrays_without_a_byte(client, shape):
    array = np.empty(shape)
    assert client.submit(calls.echo, array).result(30).shape == shape
    assert client.submit(calls.echo, {"one": array, "other": make(1, 40 * KIB)}).result(30)["one"].shape == shape
    assert client.submit(calls.echo, client.send_object(array)).result(30).shape == shape


def test_arrays_of_any_layout(client):
    square = np.arange(40_000.0).reshape(200, 200)
    for array in (np.asfortranarray(square), square[::2, ::3], square[::-1], square.T, np.array(5.0), square[3:199]):
        assert (client.submit(calls.echo, array).result(30) == array).all()
        assert (client.submit(calls.echo, client.send_object(array)).result(30) == array).all()


def test_more_buffers_than_a_record_names(client):
    arrays = {n: make(n, 40 * KIB) for n in range(100)}
    back = client.submit(calls.echo, arrays).result(30)
    assert all(is_all(back[n], n, 40 * KIB) and back[n].flags.writeable for n in range(100))


def test_bytes_of_any_size_in_arguments_results_and_functions(client):
    for size in (KIB, 40 * KIB, 2 * MIB):
        data = os.urandom(size)
        assert client.submit(calls.echo, data).result(30) == data
        assert client.submit(calls.echo, bytearray(data)).result(30) == data
        assert client.submit(partial(calls.describe_call, data)).result(30) == ((data,), {})


def test_an_exception_may_carry_an_array(client):
    for size in (KIB, 40 * KIB, 2 * MIB):
        error = client.submit(array_calls.raise_array, make(1, size)).exception(30)
        assert isinstance(error, array_calls.ArrayError)
        assert is_all(error.args[1], 2, size)


def test_map_takes_and_gives_arrays(client):
    for size in (KIB, 40 * KIB, MIB):
        arrays = [make(n, size) for n in range(20)]
        back = client.map(array_calls.add_in_place, [(array, 1) for array in arrays])
        assert [is_all(each, n + 1, size) for n, each in enumerate(back)] == [True] * 20
        made = client.map(array_calls.make_pairs, [(n, size) for n in range(20)])
        assert all(is_all(each["same"], n, size) and is_all(each["next"], n + 1, size) for n, each in enumerate(made))
        same = client.map(array_calls.add_in_place, [(arrays[5], n) for n in range(20)])
        assert [is_all(each, n + 5, size) for n, each in enumerate(same)] == [True] * 20


def test_one_tasks_changes_are_seen_by_no_other(client):
    for size in (KIB, 40 * KIB, 2 * MIB):
        array, shared = make(7, size), {"one": make(8, size)}
        futures = [client.submit(array_calls.add_in_place, array, n) for n in range(20)]
        assert [is_all(future.result(30), 7 + n, size) for n, future in enumerate(futures)] == [True] * 20
        assert [client.submit(array_calls.look_at_all, shared).result(30) for _ in range(4)] == [
            (({"one": (8, 8, True)},), {})
        ] * 4


def test_an_array_passed_to_many_tasks_is_stored_once(client):
    array = make(3, MIB)
    futures = [client.submit(array_calls.look, array) for _ in range(200)]
    assert {future.result(30) for future in futures} == {(3, 3, True)}
    assert len(client._store) == 1
    del array
    wait_until_empty(client)


def test_an_array_filled_anew_before_each_submit_is_another_each_time(client):
    for size in (KIB, 40 * KIB, 2 * MIB):
        array = make(0, size)
        futures = []
        for n in range(20):
            array.fill(n)
            futures.append(client.submit(array_calls.look, array))
        array.fill(99)
        assert [future.result(30) for future in futures] == [(n, n, True) for n in range(20)]


def test_arrays_at_the_same_address_are_told_apart(client):
    seen = []
    for n in range(20):
        array = make(n, 40 * KIB)  # mostly where the last one was
        seen.append(client.submit(array_calls.look, array))
        del array
    array = make(5, 80 * KIB)
    seen += [client.submit(array_calls.look, part) for part in (array, array[:5120], array[5120:], array.view("u8"))]
    assert [future.result(30)[0] for future in seen] == [*range(20), 5, 5, 5, 5]
    del array
    wait_until_empty(client)


# references


@pytest.mark.parametrize("size", SIZES)
def test_what_a_reference_stands_for_is_read_only_at_every_size(client, size):
    reference = client.send_object(make(4, size), b"name")
    assert (reference.name, reference.size >= size) == (b"name", True)
    assert client.submit(array_calls.look, reference).result(30) == (4, 4, False)
    assert "read-only" in client.submit(array_calls.write_into, reference).result(30)
    assert client.submit(array_calls.look, reference).result(30) == (4, 4, False)


def test_references_may_be_anywhere_in_arguments(client):
    one, two = client.send_object(make(1)), client.send_object({"arrays": [make(2), make(3, KIB)]})
    first, second = (1, 1, False), {"arrays": [(2, 2, False), (3, 3, False)]}
    value = {"list": [one, (two, one)], "array": make(4)}
    seen = client.submit(array_calls.look_at_all, one, value, key=[two]).result(30)
    assert seen == ((first, {"list": [first, (second, first)], "array": (4, 4, True)}), {"key": [second]})
    assert client.submit(array_calls.add_up, one, one).result(30) == 2 * make(1).size
    assert client.map(array_calls.look_at_all, [(one, two), [two, one], (5 * [one],)]) == [
        ((first, second), {}),
        ((second, first), {}),
        ((5 * [first],), {}),
    ]


def test_a_function_may_have_captured_references_and_arrays(client):
    arrays = [make(1), make(2), make(3)]
    references = [client.send_object(array) for array in arrays]
    for captured in (references, arrays):
        futures = [client.submit(partial(array_calls.add_up, each), 5) for each in captured]
        assert [future.result(30) for future in futures] == [(n + 1) * make(1).size + 5 for n in range(3)]
    closure = array_calls.adding(references[1])
    assert client.map(closure, [(n,) for n in range(5)]) == [2 * make(1).size + n for n in range(5)]


def test_equal_content_is_one_object(client):
    one, two, other = (client.send_object(make(n, 100 * KIB)) for n in (1, 1, 2))
    assert one == two != other
    assert (one.object_id, len({one, two, other}), len(client._store)) == (two.object_id, 2, 2)
    almost = make(1, 100 * KIB)
    almost[6000] = 0
    assert client.send_object(almost).object_id != one.object_id
    assert client.send_object([make(1, 100 * KIB)]).object_id != one.object_id
    del one
    assert client.submit(array_calls.look, two).result(30) == (1, 1, False)


def test_an_object_goes_with_its_last_reference_once_no_task_needs_it(client):
    reference = client.send_object(make(1))
    del reference
    assert len(client._store) == 0
    reference = client.send_object(make(2))
    copies = [reference, [reference]]
    futures = [client.submit(array_calls.look, reference) for _ in range(50)]
    del reference, copies
    gc.collect()
    assert {future.result(30) for future in futures} == {(2, 2, False)}
    wait_until_empty(client)
    assert client.submit(array_calls.look, client.send_object(make(2))).result(30) == (2, 2, False)
    wait_until_empty(client)


def test_a_reference_that_is_not_there_is_an_error_of_that_submit(cluster, client):
    reference = client.send_object(make(1))
    with Client(cluster.get_address()) as other, pytest.raises(MissingObjects, match="another client"):
        other.submit(array_calls.look, [reference])
    unpickled = pickle.loads(pickle.dumps(reference))
    assert unpickled == reference
    assert client.submit(array_calls.look, unpickled).result(30) == (1, 1, False)
    client.clear()
    for each in (reference, unpickled):
        with pytest.raises(MissingObjects, match="cleared"):
            client.submit(array_calls.look, each)
        with pytest.raises(MissingObjects, match="cleared"):
            client.map(array_calls.look_at_all, [(1, each)])
        with pytest.raises(MissingObjects, match="cleared"):
            client.submit(partial(array_calls.look, each))
    wait_until_empty(client)
    again = client.send_object(make(1))
    assert again != reference
    assert client.submit(array_calls.look, again).result(30) == (1, 1, False)


def test_what_was_made_for_a_submit_that_failed_is_made_anew_for_the_next(client):
    class Unwilling:
        def __reduce__(self):
            raise RuntimeError("cannot be pickled")

    array, reference, gone = make(1), client.send_object(make(2)), client.send_object(make(3))
    client._store.free(gone.object_id)  # as if its memory had been lost
    with pytest.raises(RuntimeError, match="cannot be pickled"):
        client.submit(array_calls.look_at_all, array, reference, Unwilling())
    with pytest.raises(MissingObjects, match="gone"):
        client.submit(array_calls.look_at_all, array, reference, gone)
    assert len(client._store) == 1
    seen = client.submit(array_calls.look_at_all, array, reference).result(30)
    assert seen == (((1, 1, True), (2, 2, False)), {})
    del array, reference
    wait_until_empty(client)


# views that stay


def test_a_view_that_the_client_keeps_stays_right(client):
    kept = [client.submit(array_calls.make, n, size).result(30) for n, size in enumerate(SIZES)]
    parts = [array[1:3] for array in kept]
    for n in range(200):
        assert is_all(client.submit(array_calls.make, -n, 2 * MIB if n % 10 == 0 else 200 * KIB).result(30)[:8], -n, 64)
    assert [is_all(array, n, size) for n, (array, size) in enumerate(zip(kept, SIZES, strict=True))] == [True] * 4
    del kept
    assert [part.tolist() for part in parts] == [[n, n] for n in range(4)]


def ask(client, function, name, pid):
    """Have the worker with this process id answer."""
    for _ in range(200):
        futures = [client.submit(function, name, pid) for _ in range(4)]
        for future in futures:
            if (answer := future.result(30)) and (answer is True or answer[0]):
                return answer
    raise AssertionError("that worker is not there")


@pytest.mark.parametrize("as_reference", [False, True])
def test_a_view_that_a_worker_keeps_beyond_its_task_stays_right(client, as_reference):
    pids = []
    for n, size in enumerate((40 * KIB, 2 * MIB)):
        array = make(n, size)
        argument = client.send_object(array) if as_reference else array
        pids.append(client.submit(array_calls.keep, f"{n}", argument).result(30))
        del array, argument
    for n in range(30):
        size = (40 * KIB, 2 * MIB)[n % 2]
        assert client.submit(array_calls.look, client.send_object(make(77, size))).result(30)[0] == 77
        assert client.submit(array_calls.look, make(n, size)).result(30)[0] == n
    for n, pid in enumerate(pids):
        assert ask(client, array_calls.look_at_kept, f"{n}", pid)[1] == (n, n, not as_reference)
        assert ask(client, array_calls.drop_kept, f"{n}", pid)
    wait_until_empty(client)


def test_garbage_that_holds_an_argument_ends_no_worker(client):
    for n in range(30):
        with pytest.raises(KeyError):
            client.submit(array_calls.fail_in_a_cycle, make(n, 100 * KIB)).result(30)
    client.submit(gc.collect).result(30)
    client.map(gc.collect, [()] * 50)
    wait_until_empty(client)


# other serializers


class Pickling(Serializer):
    @staticmethod
    def serialize(obj):
        return b"mine" + pickle.dumps(obj)

    @staticmethod
    def deserialize(payload):
        assert payload[:4] == b"mine"
        return pickle.loads(payload[4:])


def test_arrays_and_references_go_through_a_serializer_of_ones_own(cluster):
    with Client(cluster.get_address(), serializer=Pickling) as client:
        for size in (KIB, 40 * KIB, 2 * MIB):
            assert is_all(client.submit(array_calls.add_in_place, make(1, size), 1).result(30), 2, size)
            reference = client.send_object(make(5, size))
            assert client.submit(array_calls.look_at_all, [reference]).result(30)[0][0][0][:2] == (5, 5)
            back = client.map(array_calls.add_up, [(reference, make(n, size)) for n in range(3)])
            assert back == [(5 + n) * (size // 8) for n in range(3)]
        del reference
        wait_until_empty(client)
        reference = client.send_object(make(5))
        captured = partial(array_calls.add_up, reference, [reference])
        assert client.submit(captured, 1).result(30) == client.map(captured, [(1,)])[0] == 10 * make(5).size + 1


# who dies


def test_results_of_a_worker_that_died_stay_readable(client):
    futures = [client.submit(array_calls.make, n, 2 * MIB) for n in range(12)]
    read = [future.result(30) for future in futures[:6]]
    with pytest.raises(WorkerDiedError):  # which takes several workers with it
        client.submit(calls.die).result(60)
    assert [is_all(future.result(30), n, 2 * MIB) for n, future in enumerate(futures)] == [True] * 12
    assert [is_all(array, n, 2 * MIB) for n, array in enumerate(read)] == [True] * 6
    assert client.submit(array_calls.look, read[3]).result(30) == (3, 3, True)
    wait_until(lambda: client._rings.count_workers() == 2)


def hold_objects_and_wait():
    """A client that holds objects of all kinds, until it is killed."""
    with Client(sys.argv[1]) as client:
        array, reference = make(1), client.send_object(make(2))
        client.submit(array_calls.look_at_all, array, reference).result(30)
        results = [client.submit(array_calls.make, n, 2 * MIB) for n in range(4)]
        views = [future.result(30) for future in results[:2]]
        results[-1].exception(30)
        print(client._store.tag, len(views), flush=True)
        sys.stdin.read()


def test_when_a_client_is_killed_its_memory_goes():
    with SchedulerClusterCombo(2) as combo:
        program = "from tests.e2e.test_objects import hold_objects_and_wait as run; run()"
        process = subprocess.Popen(
            [sys.executable, "-c", program, combo.get_address()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        tag = int(process.stdout.readline().split()[0])
        with Client(combo.get_address()) as client:

            def segments():
                return [
                    name
                    for name in os.listdir("/dev/shm")
                    if name.startswith(f"scaler-{client._entry.epoch}-{tag:06x}-")
                ]

            assert len(segments()) >= 2
            process.kill()
            process.communicate()
            wait_until(lambda: not segments())
            assert client.submit(array_calls.look, make(1)).result(30) == (1, 1, True)


@pytest.mark.parametrize("make_cluster", [SchedulerClusterCombo, RemoteCluster])
def test_what_a_worker_makes_while_all_end_goes_too(make_cluster, tmp_path):
    cluster = make_cluster(2)
    with Client(cluster.get_address(), timeout_seconds=20) as client:
        running = [tmp_path / name for name in "ab"]
        for path in running:
            client.submit(array_calls.make_later, str(path), 2 * MIB)
        wait_until(lambda: all(path.exists() for path in running))
        cluster.shutdown()
    assert segment_bytes(running[0].read_text()) == 0


# nothing is left


def test_memory_stays_bounded_however_many_objects_come_and_go(client):
    for wave in range(20):
        futures = [client.submit(array_calls.add_in_place, make(n, 100 * KIB), 1) for n in range(100)]
        assert [future.result(30)[0] for future in futures] == list(range(1, 101))
        if wave % 5 == 0:
            references = [client.send_object(make(n, 100 * KIB)) for n in range(20)]
            assert client.submit(array_calls.add_up, references).result(30) > 0
            del references
        del futures
        wait_until(lambda: client._store.used_bytes < 16 * MIB and segment_bytes(client._entry.epoch) < 128 * MIB)
        assert client._store.kept_bytes < 64 * MIB
    wait_until_empty(client)


def live_on_little_memory():
    """/dev/shm has 64 MiB here, the temporary folder 512."""
    with SchedulerClusterCombo(2) as combo, Client(combo.get_address()) as client:
        array = make(1, 50 * MIB)
        assert client.submit(array_calls.look, array).result(30) == (1, 1, True)
        results = [client.submit(array_calls.make, n, 30 * MIB) for n in range(4)]
        assert all(is_all(future.result(30), n, 30 * MIB) for n, future in enumerate(results))
        del results
        big = make(2, 100 * MIB)
        assert client.submit(array_calls.add_up, array, client.send_object(big)).result(30) == (50 + 200) * MIB // 8
        assert client.submit(calls.add_one, 1).result(30) == 2


def live_on_less_memory():
    """/dev/shm has 48 MiB here, the temporary folder 32."""
    with SchedulerClusterCombo(2) as combo, Client(combo.get_address()) as client:
        small = make(1, 100 * KIB)
        with pytest.raises(OSError, match="no room for an argument"):
            client.submit(array_calls.look_at_all, small, make(2, 100 * MIB))
        assert client.submit(array_calls.look, small).result(30) == (1, 1, True)
        with pytest.raises(OSError, match="No space"):
            client.send_object(make(2, 100 * MIB))
        with pytest.raises(OSError, match="No space"):
            client.submit(array_calls.make, 1, 100 * MIB).result(30)
        assert is_all(client.submit(array_calls.make, 3, 10 * MIB).result(30), 3, 10 * MIB)
        for n in range(8):  # what is held to be passed again makes room
            array = make(n, 20 * MIB)
            assert client.submit(array_calls.look, array).result(30) == (n, n, True)
        del array, small
        wait_until_empty(client)


def test_without_room_in_memory_objects_lie_in_files(tmp_path):
    said = run_in_small_memory(live_on_little_memory, tmp_path, shm="64m", files="512m")
    assert said.count("using files") >= 1


def test_without_room_anywhere_it_is_an_error_of_that_task_and_the_client_goes_on(tmp_path):
    run_in_small_memory(live_on_less_memory, tmp_path, shm="48m", files="32m")


def test_without_room_on_the_schedulers_host_it_is_an_error_of_that_task_and_the_client_goes_on(tmp_path):
    with (
        RemoteCluster(2, room="24m", folder=tmp_path) as cluster,
        Client(cluster.get_address(), timeout_seconds=20) as client,
    ):
        small, big = make(1, 800 * KIB), make(2, 40 * MIB)
        reference = client.send_object(big)
        for _ in range(2):  # the second may have been submitted before the client heard that the first one's is gone
            with pytest.raises((TaskRefusedError, MissingObjects)):
                client.submit(array_calls.look_at_all, small, big).result(30)
            assert client.submit(array_calls.look, small).result(30) == (1, 1, True)
        with pytest.raises(TaskRefusedError, match="no room for an object"):
            client.submit(array_calls.look_at_all, small, reference).result(30)
        with pytest.raises(MissingObjects):
            client.submit(array_calls.look, reference).result(30)
        with pytest.raises(TaskRefusedError, match="no room for its result"):
            client.submit(array_calls.make, 3, 40 * MIB).result(30)
        for n in range(3):
            assert is_all(client.submit(array_calls.add_in_place, make(n, 8 * MIB), 1).result(30), n + 1, 8 * MIB)
        del small, big, reference
        wait_until_empty(client)


# what a critical reading has found


def test_a_forked_child_goes_on_seeing_what_its_parent_saw(client):
    """The child looks at the same pages, and nobody can hear when it does not any more."""
    array = client.submit(array_calls.make, 7, 4 * MIB).result(30)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(reading, 1)
        os._exit(0 if is_all(array, 7, 4 * MIB) else 1)
    del array
    for value in range(8):  # of the same size, so that a slot that was freed is used again
        assert is_all(client.submit(array_calls.make, value, 4 * MIB).result(30), value, 4 * MIB)
    os.write(writing, b"!")
    _, status = os.waitpid(child, 0)
    os.close(reading)
    os.close(writing)
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_function_may_name_an_object_that_a_task_has_just_brought(client):
    for value in range(5):
        reference = client.send_object(make(value, 4 * MIB))
        first = client.submit(array_calls.look, reference)
        second = client.submit(partial(array_calls.look_at_all, reference))
        assert first.result(30)[0] == second.result(30)[0][0][0] == value


def test_small_tasks_do_not_overtake_their_function_though_that_is_large(client):
    for value in range(5):
        function = partial(array_calls.first_of, make(value, 8 * MIB))
        small = [client.submit(function, number) for number in range(3)]
        other = client.submit(array_calls.look, make(value, 64 * KIB))  # what was said before it goes out before it
        assert [future.result(30) for future in small] == [(value, number) for number in range(3)]
        assert other.result(30)[0] == value


def test_too_many_references_in_one_task_are_an_error_of_that_submit(client):
    references = [client.send_object(number) for number in range(1000)]
    with pytest.raises(ValueError, match="names 1000 objects"):
        client.submit(sum, references)
    assert client.submit(sum, references[:100]).result(30) == sum(range(100))
    assert client.map(abs, [(reference,) for reference in references]) == list(range(1000))


def test_of_many_objects_one_that_is_kept_is_given_back_in_the_end(client):
    arrays = [make(number, 40 * KIB) for number in range(40)]
    client.submit(array_calls.keep_one_of, arrays, 35).result(30)
    del arrays
    client.submit(array_calls.forget_all).result(30)
    wait_until_empty(client)


def test_results_that_were_read_stay_as_they_are_when_the_client_has_left(cluster, client):
    with Client(cluster.get_address(), timeout_seconds=20) as leaving:
        read, unread = leaving.submit(array_calls.make, 7, 4 * MIB), leaving.submit(array_calls.make, 8, 4 * MIB)
        array = read.result(30)
        wait_until(unread.done)
    for value in range(8):  # of the same size, so that a slot that was freed is used again
        assert is_all(client.submit(array_calls.make, value, 4 * MIB).result(30), value, 4 * MIB)
    assert is_all(array, 7, 4 * MIB)
    with pytest.raises(DeserializeObjectError, match="left before it was read"):
        unread.result()

"""Dask on workers that share neither /tmp nor memory with each other: nothing is lost there, or it is refused."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest

from scaler import Client, SchedulerClusterCombo
from tests.elsewhere import RemoteCluster, client_of_both


def frame(n_partitions: int = 7, n_rows: int = 3000) -> Any:
    numbers = np.arange(n_rows)
    made = pd.DataFrame({"k": numbers * 7919 % 101, "v": numbers, "t": [f"t{n % 13}" for n in numbers]})
    return dd.from_pandas(made, npartitions=n_partitions)


def keys_and_values(part):
    return part.v.sum()


QUERIES = {
    "shuffle": lambda f: f.shuffle("k"),
    "shuffle to more": lambda f: f.shuffle("k", npartitions=11),
    "shuffle to fewer": lambda f: f.shuffle("k", npartitions=3),
    "shuffle in stages": lambda f: f.repartition(npartitions=40).shuffle("k", max_branch=4),
    "shuffle of text": lambda f: f.shuffle("t")[["t", "v"]],
    "shuffle on the index": lambda f: f.shuffle(on_index=True),
    "shuffle through files": lambda f: f.shuffle("k", shuffle_method="disk"),
    "two shuffles": lambda f: f.shuffle("k").shuffle("t"),
    "some partitions": lambda f: f.shuffle("k").partitions[1:3].assign(n=1),
    "set_index": lambda f: f.set_index("k"),
    "set_index of text": lambda f: f.set_index("t"),
    "merge": lambda f: f.merge(f[f.v < 500], on="k"),
    "merge how": lambda f: f[f.k < 50].merge(f[f.v < 500], on=["k", "t"], how="outer"),
    "groupby apply": lambda f: f.groupby("k").apply(keys_and_values, meta=("v", "i8")),
    "groupby transform": lambda f: f.groupby("k").v.transform("sum", meta=("v", "i8")),
    "groupby median": lambda f: f.groupby("k").v.median(),
    "groupby in many": lambda f: f.groupby(["k", "t"]).v.sum(split_out=5),
    "drop_duplicates": lambda f: f[["k", "t"]].drop_duplicates(split_out=4),
    "nunique": lambda f: f.groupby("k").t.nunique(split_out=3),
    "sort_values": lambda f: f.sort_values("v", ascending=False),
    "value_counts": lambda f: f.t.value_counts(split_out=3),
    "a number": lambda f: f.shuffle("k").v.sum(),
}


@pytest.fixture(scope="module", params=["rings", "wire"])
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """A client whose two workers share no temporary folder; its scheduler is on this host, or on neither's."""
    with (
        # Without keys: these would be in the temporary folder that the other worker does not see.
        RemoteCluster(1, insecure=True)
        if request.param == "wire"
        else SchedulerClusterCombo(1, insecure=True) as cluster,
        client_of_both(cluster.get_address(), tempfile.gettempdir()) as made,
    ):
        yield made


def same_rows(ours: Any, theirs: Any) -> bool:
    """Whether these are the same but for the order of rows, which Dask leaves open."""
    if not isinstance(theirs, pd.DataFrame | pd.Series):
        return bool(ours == theirs)
    counts_only = theirs.index.names == [None] and not theirs.index.is_unique  # each partition's own, after a merge
    rows = [sorted(map(repr, made.reset_index(drop=counts_only).to_numpy().tolist())) for made in (ours, theirs)]
    return len(rows[1]) > 0 and rows[0] == rows[1]


@pytest.mark.parametrize("name", QUERIES)
def test_no_row_is_lost_where_workers_share_no_folder(client, name):
    query = QUERIES[name](frame())
    assert same_rows(query.compute(scheduler=client), query.compute(scheduler="sync"))


def test_each_partition_of_a_shuffle_has_its_own_rows(client):
    parts = dask.compute(*frame().shuffle("k").partitions, scheduler=client)
    expected = dask.compute(*frame().shuffle("k").partitions, scheduler="sync")
    assert len(parts) == 7
    assert all(same_rows(ours, theirs) for ours, theirs in zip(parts, expected, strict=True))


def test_shuffles_in_all_the_ways_to_compute(client):
    query = frame().shuffle("k")
    rows = query.compute(scheduler="sync")
    assert same_rows(query.compute(scheduler=client.get), rows)
    assert same_rows(query.compute(scheduler=client.options(priority=1)), rows)
    assert same_rows(query.persist(scheduler=client).compute(scheduler="sync"), rows)
    with dask.config.set(scheduler=client):
        assert same_rows(query.compute(), rows)
        assert len(query) == len(rows)
        (first, total), once = dask.compute([query, query.v.sum()], query.k.nunique())
    assert same_rows(first, rows)
    assert (total, once) == (rows.v.sum(), 101)


def by_three(number):
    return number % 3


def test_a_bag_that_is_grouped_through_files_is_refused_and_by_tasks_is_not(client):
    bag = db.from_sequence(range(300), npartitions=7)
    for grouped in (bag.groupby(by_three), bag.groupby(by_three).map(len), bag.repartition(1).groupby(by_three)):
        with pytest.raises(ValueError, match="Shuffle by tasks: shuffle=") as refused:
            grouped.compute(scheduler=client)
        assert "rows would be lost" in str(refused.value)
    groups = bag.groupby(by_three, shuffle="tasks").compute(scheduler=client)
    assert {key: sorted(group) for key, group in groups} == {n: list(range(n, 300, 3)) for n in range(3)}
    with dask.config.set({"dataframe.shuffle.method": "tasks"}):
        assert dict(bag.groupby(by_three).map(len_of_group).compute(scheduler=client)) == {0: 100, 1: 100, 2: 100}


def len_of_group(item):
    return item[0], len(item[1])


def test_a_shuffle_through_files_that_is_in_a_graph_already_is_refused(client):
    parts = frame().shuffle("k").to_delayed()
    with pytest.raises(ValueError, match="rows would be lost"):
        dask.compute(parts, scheduler=client)
    with pytest.raises(ValueError, match="rows would be lost"):
        dask.delayed(len)(frame().shuffle("k")).compute(scheduler=client)
    with dask.config.set({"dataframe.shuffle.method": "tasks"}):
        parts = frame().shuffle("k").to_delayed()
    assert sum(len(part) for part in dask.compute(parts, scheduler=client)[0]) == 3000


@pytest.mark.parametrize("n", [2, 600])
def test_a_store_into_memory_is_refused(client, n, tmp_path):
    made = da.ones((n, n), chunks=(n, n // 2)) + 1
    targets: list[Any] = [
        np.zeros((n, n)),
        np.zeros((2, n, n))[1],
        np.memmap(tmp_path / "file", "f8", "w+", shape=(n, n)),
        [0] * n,
        {},
    ]
    for target in targets:
        for options in ({}, {"lock": False}, {"return_stored": True}, {"regions": (slice(0, n), slice(0, n))}):
            with pytest.raises(ValueError, match=f"store into a .*{type(target).__name__} would fill a copy"):
                da.store(made, target, scheduler=client, **options)
    on_disk: Any = OnDisk(tmp_path / "a")
    with pytest.raises(ValueError, match="would fill a copy"):
        da.store([made, made], [on_disk, np.zeros((n, n))], scheduler=client)
    with pytest.raises(ValueError, match="would fill a copy"):
        da.store(made, np.zeros((n, n)), compute=False).compute(scheduler=client, optimize_graph=False)
    one = da.from_array(np.ones((n, n)), chunks=n)
    with pytest.raises(ValueError, match="would fill a copy"):
        da.store(one, np.zeros((n, n)), scheduler=client)


class OnDisk:
    """A target that is the same wherever it is written to."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def __setitem__(self, where, values):
        name = "-".join(f"{part.start}" for part in where)
        np.save(self.folder / name, np.asarray(values))


def test_a_store_into_what_is_no_memory_is_not_refused(client, tmp_path):
    folder: Any = OnDisk(Path(__file__).parent / f"{tmp_path.name}-{os.getpid()}")  # which both hosts see
    try:
        da.store(da.ones((4, 4), chunks=2), folder, scheduler=client, lock=False)
        assert sorted(path.name for path in folder.folder.iterdir()) == ["0-0.npy", "0-2.npy", "2-0.npy", "2-2.npy"]
    finally:
        shutil.rmtree(folder.folder)


@pytest.mark.parametrize("n", [10, 5000])
def test_nodes_of_dask_in_a_plain_dict_are_run(client, n):
    from dask._task_spec import DataNode, Task, TaskRef

    graph: dict[Any, Any] = {("x", i): Task(("x", i), len_of_group, (0, "abc")) for i in range(n)}
    graph |= {("y", i): Task(("y", i), sum, TaskRef(("x", i))) for i in range(n)}
    graph["data"] = DataNode("data", 7)
    keys = [*graph]
    values = {key: 7 if key == "data" else {"x": (0, 3), "y": 3}[key[0]] for key in keys}
    assert client.get(graph, keys) == values

"""Graphs of arrays that are together larger than the store: run depth first, they fit."""

import os

import numpy as np

from perf.shapes import tree_of
from scaler import Client, SchedulerClusterCombo

LEAVES, LEAF_BYTES = 256, 4 << 20
MORE_BYTES = 400 << 20  # than lies in /dev/shm now, which counts


def make(i):
    return np.full(LEAF_BYTES // 8, i, np.int64)


def plus(a, b):
    return a + b


def test_a_tree_of_arrays_that_are_larger_than_the_store(tmp_path):
    graph = tree_of(LEAVES, plus, lambda i: (make, i))
    folder = tmp_path / "spill"
    folder.mkdir()
    room = os.statvfs("/dev/shm")
    store_bytes = (room.f_blocks - room.f_bfree) * room.f_frsize + MORE_BYTES
    with (
        SchedulerClusterCombo(n_workers=2, object_memory_bytes=store_bytes, object_folder=str(folder)) as combo,
        Client(combo.get_address()) as client,
    ):
        root = client.get(graph, ["n0"])["n0"]
        assert (root == sum(range(LEAVES - 1, len(graph)))).all()
        assert not list(folder.iterdir()), "the store was too small, so files were used"

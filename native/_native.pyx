# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# distutils: language=c
"""scaler._native: everything that must be fast, in one extension made of parts.

The parts are included as they build on each other: the memory that tasks travel through (layout to loan), what the core
writes into and what the wire takes (outlet to batch_frames), the core and its parts (table to core), and the loops of
the processes (plain to client). docs/architecture.md tells a task's way through them. The drill plays peers for perf/.

Rule 1: nothing here imports the `scaler` package; what depends on policy is handed in.
Rule 2: no Python object per task between the client's submit ring and the client's result ring.
"""

cimport cython

include "atomics.pxi"
include "layout.pxi"
include "task_options.pyx"
include "segment.pyx"
include "bell.pyx"
include "ring.pyx"
include "peer_segment.pyx"
include "children.pyx"
include "place.pyx"
include "store.pyx"
include "mapping.pyx"
include "loan.pyx"
include "outlet.pyx"
include "stopping.pyx"
include "takeover.pyx"
include "record_run.pyx"
include "columns.pyx"
include "batch_frames.pyx"
include "table.pyx"
include "client_bits.pyx"
include "objects.pyx"
include "clients.pyx"
include "plain.pyx"
include "inputs.pyx"
include "edges.pyx"
include "ready.pyx"
include "functions.pyx"
include "worker_pool.pyx"
include "dispatcher.pyx"
include "answers.pyx"
include "survivors.pyx"
include "deaths.pyx"
include "core.pyx"
include "chunk.pyx"
include "pump.pyx"
include "run_outlet.pyx"
include "relay.pyx"
include "meter.pyx"
include "upkeep.pyx"
include "retirement.pyx"
include "worker.pyx"
include "nested.pyx"
include "future.pyx"
include "open_futures.pyx"
include "resend.pyx"
include "client.pyx"
include "drill.pyx"

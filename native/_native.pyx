# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
# distutils: language=c
"""scaler._native: everything that must be fast, in one extension made of parts.

The parts are included in the order in which C needs them: `memory/` is what tasks travel through, `core/` the scheduler's
decisions, `wire/` what goes between hosts, `process/` the loops of workers and clients and what these need.
docs/architecture.md tells a task's way through them. The drill plays peers for perf/.

Rule 1: nothing here imports the `scaler` package; what depends on policy is handed in.
Rule 2: no Python object per task between the client's submit ring and the client's result ring.
"""

cimport cython

include "memory/atomics.pxi"
include "memory/layout.pxi"
include "memory/task_options.pyx"
include "memory/segment.pyx"
include "memory/bell.pyx"
include "memory/ring.pyx"
include "memory/peer_segment.pyx"
include "memory/children.pyx"
include "memory/place.pyx"
include "memory/copy.pyx"
include "memory/store.pyx"
include "memory/mapping.pyx"
include "memory/loan.pyx"
include "core/outlet.pyx"
include "memory/stopping.pyx"
include "memory/takeover.pyx"
include "wire/record_run.pyx"
include "wire/columns.pyx"
include "wire/batch_frames.pyx"
include "core/table.pyx"
include "core/client_bits.pyx"
include "core/objects.pyx"
include "core/clients.pyx"
include "process/plain.pyx"
include "process/inputs.pyx"
include "core/edges.pyx"
include "core/ready.pyx"
include "core/functions.pyx"
include "core/worker_pool.pyx"
include "core/dispatcher.pyx"
include "core/answers.pyx"
include "core/survivors.pyx"
include "core/deaths.pyx"
include "core/core.pyx"
include "process/chunk.pyx"
include "core/pump.pyx"
include "wire/run_outlet.pyx"
include "wire/relay.pyx"
include "process/forked.pyx"
include "process/meter.pyx"
include "process/upkeep.pyx"
include "process/retirement.pyx"
include "process/worker.pyx"
include "process/nested.pyx"
include "process/future.pyx"
include "process/open_futures.pyx"
include "process/call_index.pyx"
include "process/graph_table.pyx"
include "process/channel.pyx"
include "process/known_objects.pyx"
include "process/supplies.pyx"
include "process/sent_graph.pyx"
include "process/resend.pyx"
include "process/client.pyx"
include "drill.pyx"

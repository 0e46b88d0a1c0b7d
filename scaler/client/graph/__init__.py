"""Graphs: from what `Client.get` is given to tasks that name each other.

The way of a graph, step by step:

1. `wanted`: which keys are asked for, and in what shape their values are wanted.
2. `read`: what a node calls, and which others it needs. Of Dask's graphs some nodes are replaced or refused
   (`dask_graph`).
3. `order`: the needed nodes become rows of a table (native/client/graph_table.pyx), which also reads the plainest calls
   by itself, and get an order (native/client/graph_order.pyx).
4. `run`: in that order, each node is sent as a task that names its inputs, by native/client/graph_sender.pyx. Chains of
   nodes go as one task. In a task of a worker it is `inside` instead: the calls are submitted level by level.
5. Between the tasks the results stay with the scheduler (native/scheduler/edges.pyx). Those that were asked for come
   back as any task's result does, to the futures that `run` has given out.
"""

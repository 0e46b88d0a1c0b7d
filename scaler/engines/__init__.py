"""Engines that are not ours run our tasks: any executor, Ray, Dask, Symphony.

| file | what it is |
| --- | --- |
| `engine` | the interface that an engine's adapter has: submit a job, take it back, capacity, close |
| `job` | what a job carries, as bytes: tasks, their functions and objects; and what comes back |
| `run` | at the engine's side: runs the tasks of a job |
| `seats` | which tasks go into the next job of which slot |
| `session` | what is said to the scheduler: it takes the engine for a cluster, and its slots for workers |
| `program` | the command: finds the scheduler, and goes on until it is stopped |
| `executor`, `ray`, `dask` | adapters |
| `symphony` | the adapter for IBM Symphony, whose client library lives in a process of its own |
"""

"""Graphs of calls: reading them (read), those of Dask (dask_graph), their order (order), sending them (run)."""

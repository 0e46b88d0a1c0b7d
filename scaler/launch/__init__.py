"""Clusters as jobs of what runs jobs already: Slurm, ssh, or any batch system with commands to start, list and end.

`scaler_cluster --launch slurm --hosts 1:20 tcp://scheduler:2345` runs no worker itself. It hears from the scheduler how
much work there is, and starts scaler_cluster on other hosts by the batch system's own commands, where tasks then run at
full speed. So nothing of a batch system is between a task and its worker.

A batch system (batch_system) starts jobs, says which there are, and ends them. Which are wanted is decided without it
(fleet); the launcher has the two do what they say. A launched cluster that is not needed any more ends by itself, when
nothing has run on it for a while. So jobs do not outlive their use, whatever becomes of the launcher.

Not here: how a cluster drains (scaler.cluster.supervisor), how many workers are of use (scaler.cluster.scaling).
"""

"""Stopping what a worker runs: asked by a signal first, and killed if that did not help.

The process that holds the other end of a worker's rings does this: the scheduler on its host, the relay elsewhere.
"""

import signal

# Asks a worker to look whether its task is to be stopped. It does nothing by default, so it may come at any time of a
# process's life; few programs use it (Go does, for the same purpose); and it does not queue up, as real-time ones do.
STOP_SIGNAL = signal.SIGURG

"""Every exception that scaler raises by itself; what a task raises comes back as it was.

All have one base, `ScalerError`, so that a program can tell the engine's troubles from its tasks' own.
"""

import concurrent.futures


class ScalerError(Exception):
    """Base of all that scaler itself raises."""


class TaskNotFoundError(ScalerError):
    """The scheduler does not know the task. For programs that catch it: nothing raises it, as each task is answered."""


class WorkerDiedError(ScalerError):
    """The worker died while it ran the task, more often than the task may be run again."""


class ProcessorDiedError(WorkerDiedError):
    """The process that ran the task died, more often than the task may be run again. The text says all that is known.

    `exit_code` is what it ended with by itself, else None; `signal_name` what ended it, such as "SIGSEGV", else None;
    `out_of_memory` whether the kernel killed it for want of memory. `memory_peak` is in bytes, 0 if it is not known;
    `last_output` the last lines that it wrote to stderr; `function` the name of what it ran; `tries` how often that was
    tried; `worker` and `host` where, the last time. `is_final` says that a task that it waited for was being run in its
    place (a task of a task), and that it is that one's `retries` which allow no other try. `piece_node` is
    which node of a piece of a graph it was at, as far as that is known.
    """

    def __init__(
        self,
        text: str = "",
        *,
        exit_code: int | None = None,
        signal_name: str | None = None,
        out_of_memory: bool = False,
        memory_peak: int = 0,
        last_output: str = "",
        function: str = "",
        tries: int = 0,
        worker: str = "",
        host: str = "",
        is_final: bool = False,
        piece_node: int | None = None,
    ) -> None:
        super().__init__(text)
        self.exit_code, self.signal_name, self.out_of_memory = exit_code, signal_name, out_of_memory
        self.memory_peak, self.last_output = memory_peak, last_output
        self.function, self.tries, self.worker, self.host = function, tries, worker, host
        self.is_final, self.piece_node = is_final, piece_node


class NoWorkerError(ScalerError):
    """No worker has room for the task."""


class DisconnectedError(ScalerError, ConnectionError):
    """The connection to the scheduler is gone."""


class DeserializeObjectError(ScalerError):
    """A function, an argument or a result could not be unpickled where it was needed.

    `libraries` has versions that the worker has of what had to do with it, by name; "" for what is not installed there.
    """

    libraries: dict[str, str] = {}  # set where it is raised


class MissingObjects(ScalerError):
    """A reference names an object that is no longer there."""


class ClientCancelledException(ScalerError):
    """The client cancelled the work."""


class ClientQuitException(ScalerError):
    """The client is disconnected; make a new one."""


class ClientShutdownException(ClientQuitException):
    """The client is disconnected, since it has shut the scheduler down."""


class TaskRefusedError(ScalerError):
    """The scheduler did not accept the task."""


class RefusedError(ScalerError):
    """The scheduler does not want this client or cluster; its sentence says why and what to do."""


class TaskTimeoutError(ScalerError, concurrent.futures.TimeoutError):
    """The task ran longer than it may, and was stopped.

    That is something else than waiting too long in `result(timeout)`, which raises a plain TimeoutError.
    """


class NoStackError(ScalerError):
    """There is no stack of this task to be shown; the text says why."""


class TaskCancelled(BaseException):
    """Raised inside a task that is stopped: nobody waits for its result any more, or it ran longer than it may.

    No ScalerError and no Exception, so that a task that swallows its own errors does not go on. A task that catches it
    may tidy up for the grace period; then the worker is killed.
    """

    def __init__(self, text: str = "nobody waits for this task any more, or it ran longer than it may") -> None:
        super().__init__(text)


class RemoteError(ScalerError):
    """Stands for a remote exception that cannot be carried here; has its type's name, message and traceback."""


class EngineError(ScalerError):
    """The engine that was to run the task could not, and why (scaler_engine, scaler_symphony_cluster)."""


class SchedulerTimeoutError(ScalerError, concurrent.futures.TimeoutError):
    """Nobody answered at the scheduler's address in time."""


class AddressError(ScalerError, ValueError):
    """A text is no address, or no address for what is wanted."""


class ListenError(ScalerError, OSError):
    """A scheduler cannot listen at its address."""


class AddressInUseError(ListenError):
    """Another program listens there."""


class LimitError(ScalerError, OSError, RuntimeError):
    """The operating system gives this process no more threads, processes or descriptors. The text names the limit."""


class OptionError(ScalerError, ValueError):
    """An option does not exist or has a value that it cannot have."""


class KeysError(ScalerError, ValueError):
    """Keys are missing, not whole, or could be read by others. The text says which file, and what to do."""


class RemoteTraceback(Exception):
    """The traceback of the worker, shown as the cause of the exception a task raised."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return "\n" + self.text


class LargeArgumentWarning(UserWarning):
    """Each call of a function ships the same large argument; the text says which, and what to do instead."""

"""Tasks that fork and whose child comes back. Each returns how the child ended, or what it wrote."""

import atexit
import ctypes
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from scaler import Client, current_client
from scaler.worker import context


def worker_after(seconds: float) -> tuple[str, int]:
    time.sleep(seconds)
    assert context.here is not None
    return context.here.name, os.getpid()


def code_of(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def come_back(how: str) -> Any:
    """In the child: come back this way, with something else than the parent returns."""
    print("written by the child")
    if how == "raise":
        raise ValueError("raised in the child")
    if how.startswith("exit"):
        sys.exit({"exit": None, "exit 7": 7, "exit text": "the child says why"}[how])
    return "the child's result"


def fork_and_tell(how: str) -> tuple[int, str, str]:
    """The child's exit code, and what it wrote to stdout and stderr."""
    pipes = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        for target, (_, write_end) in enumerate(pipes, 1):
            os.dup2(write_end, target)
        return come_back(how)
    texts = []
    for read_end, write_end in pipes:
        os.close(write_end)
        with open(read_end) as file:
            texts.append(file.read())
    out, err = texts
    return code_of(pid), out, err


def fork_and_return(number: int = 0) -> tuple[int, int]:
    pid = os.fork()
    return (number, -1) if pid == 0 else (number, code_of(pid))


def fork_by_c(number: int = 0) -> tuple[int, int]:
    pid = ctypes.CDLL(None).fork()
    return (number, -1) if pid == 0 else (number, code_of(pid))


def fork_at(number: int, when: int) -> tuple[int, int]:
    return fork_and_return(number) if number == when else (number, 0)


def fork_in_place() -> tuple[int, int]:
    """The task that forks runs on the stack of this one."""
    number, code = current_client().submit(fork_and_return, 3).result(20)
    return number + 1, code


def fork_in_a_map_in_place() -> list[tuple[int, int]]:
    return current_client().map(fork_at, [(i, 5) for i in range(10)])


def fork_in_thread() -> list[int]:
    codes = []
    thread = threading.Thread(target=lambda: codes.append(fork_and_return()[1]))
    thread.start()
    thread.join()
    return codes


async def fork_in_coroutine(how: str) -> int:
    pid = os.fork()
    return come_back(how) if pid == 0 else code_of(pid)


async def fork_in_nested_coroutine(how: str) -> int:
    """It runs in place of being waited for, on a thread of its own, since this thread's event loop runs."""
    return current_client().submit(fork_in_coroutine, how).result(20)


def child_says(call: Callable[[], object]) -> str:
    """What this returns or raises in a forked child."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            said = str(call())
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
        os.write(write_end, said.encode())
        return said
    os.close(write_end)
    with open(read_end) as file:
        said = file.read()
    return f"{said} ({code_of(pid)})"


def child_asks_for_the_current_client() -> str:
    current_client()
    return child_says(current_client)


def child_uses_the_client(client: Client) -> str:
    client.submit(abs, -1).result(20)
    return child_says(lambda: client.submit(abs, -1))


def child_makes_a_client(address: str) -> str:
    def use() -> int:
        with Client(address, timeout_seconds=20) as client:
            return client.submit(abs, -7).result(20)

    return child_says(use)


class ForksWhen:
    """It forks when it is pickled, unpickled, or goes; the pid of the child is in `path`."""

    def __init__(self, when: str, path: str) -> None:
        self.when, self.path = when, path

    def fork(self) -> None:
        pid = os.fork()
        if pid:
            with open(self.path, "a") as file:
                print(code_of(pid), file=file)

    def __reduce__(self) -> tuple[Any, ...]:
        if self.when == "pickled" and "SCALER_FORKS_HERE" in os.environ:
            self.fork()
        return make_forks_when, (self.when, self.path)

    def __del__(self) -> None:
        if self.when == "gone":
            self.fork()


def make_forks_when(when: str, path: str) -> ForksWhen:
    made = ForksWhen(when, path)
    if when == "unpickled":
        made.fork()
    return made


def take(thing: object) -> int:
    return os.getpid()


def make_pickled(path: str) -> ForksWhen:
    os.environ["SCALER_FORKS_HERE"] = "1"
    return ForksWhen("pickled", path)


def make_gone(path: str) -> int:
    ForksWhen("gone", path)
    return 1


def fork_at_the_end(path: str) -> int:
    """The worker forks when its interpreter ends."""

    def fork() -> None:
        pid = os.fork()
        if pid:
            with open(path, "w") as file:
                file.write(str(code_of(pid)))

    atexit.register(fork)
    return os.getpid()


def fork_twice() -> list[int]:
    """A child that forks, too."""
    pid = os.fork()
    if pid == 0:
        grandchild = os.fork()
        if grandchild:
            os._exit(40 + code_of(grandchild))
        return []
    return [code_of(pid)]

"""Tasks that write, in many ways; and the program whose client wants to see it: `python written.py ADDRESS WAY`."""

import ctypes
import os
import subprocess
import sys
import threading
from importlib import import_module
from typing import Any

from scaler import Client


def say(text: str) -> str:
    print(text)
    return text


def say_in_every_way(number: int) -> None:
    print(f"{number} print")
    print(f"{number} error", file=sys.stderr)
    os.write(1, f"{number} descriptor\n".encode())
    ctypes.CDLL(None).printf(f"{number} C\n".encode())
    subprocess.run(["echo", f"{number} process"], check=True)
    thread = threading.Thread(target=print, args=(f"{number} thread\n",), kwargs={"end": ""})
    thread.start()
    thread.join()
    sys.stdout.write(f"{number} no end")


def say_many(number: int, count: int) -> int:
    sys.stdout.write("".join(f"{number}:{line}\n" for line in range(count)))
    return count


def say_and_die(text: str) -> None:
    print(text, flush=True)
    os.kill(os.getpid(), 9)


def say_below(client: Any, depth: int) -> int:
    print(f"depth {depth}")
    if depth:
        futures = [client.submit(say_below, client, depth - 1) for _ in range(2)]
        return sum(future.result() for future in futures) + 1
    return 1


def say_behind(text: str) -> None:
    """A process that goes on writing when the task is over."""
    subprocess.Popen(["sh", "-c", f"sleep 0.5; echo {text}; sleep 1"])


def main(address: str, way: str) -> None:
    if way == "many":
        with Client(address, stream_output=True) as client:
            futures = [client.submit(say_many, number, 12_500) for number in range(16)]
            print(sum(future.result() for future in futures))
    elif way == "tqdm":
        tqdm = import_module("tqdm").tqdm
        with Client(address, stream_output=True) as client:
            for future in tqdm([client.submit(say, f"line {number}") for number in range(50)]):
                future.result()


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A process that answers as a worker does, with threads that come, go and compute: `busy_child.py FD KEY WAY`."""

import signal
import sys
import threading
import time

from scaler.program.stack_dump import STACK_SIGNAL, answer_when_asked


def compute() -> None:
    while True:
        [number * number for number in range(50)]


def raise_and_catch() -> None:
    def fall(depth: int) -> None:
        if not depth:
            raise ValueError
        fall(depth - 1)

    while True:
        try:
            fall(20)
        except ValueError:
            pass


def start_threads() -> None:
    while True:
        thread = threading.Thread(target=lambda: sum(number for number in range(100)))
        thread.start()
        thread.join()


def block_the_signal() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [STACK_SIGNAL])
    time.sleep(60)


if __name__ == "__main__":
    answer_when_asked(int(sys.argv[1]), sys.argv[2])
    print("ready", flush=True)
    if sys.argv[3] == "blocks":
        block_the_signal()
    for target in (raise_and_catch, start_threads):
        threading.Thread(target=target, daemon=True).start()
    compute()

"""An engine that does everything wrong which one can."""

import os
from typing import Any


class OddEngine:
    HOW = {"submit": "wrongly"}

    def submit(self, n: int) -> list[int]:
        return [0] * n

    def map(self, calls: list[tuple[int]]) -> list[int]:
        print("this is not for the parent")
        os.system("echo nor this")
        return [i for (i,) in calls]

    def call(self, x: int) -> int:
        return x

    def read(self, array: Any, n: int) -> list[int]:
        raise ValueError("no such thing\nin two lines")

    def fetch(self, n: int, n_bytes: int, value: int) -> list[int]:
        print("my last words", flush=True)
        os._exit(3)

    def close(self) -> None:
        pass


def open_engine() -> OddEngine:
    return OddEngine()

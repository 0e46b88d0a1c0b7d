"""What tasks are run with in tests, as a worker's main module puts it together."""

import pickle

from scaler._native import TaskRunner
from scaler.values import payload
from scaler.values.reference import load_given, loads


def make_runner() -> TaskRunner:
    return TaskRunner(
        loads=pickle.loads, loads_parcel=loads, load_input=load_given, dumps=payload.dumps_result,
        describe=payload.describe,
    )  # fmt: skip

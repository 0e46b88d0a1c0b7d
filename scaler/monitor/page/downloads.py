"""Downloads: any view's table as CSV or JSON, whole and as it is just now.

Rule 1: a text that a spreadsheet would take for a formula is written with a ' before it: names are anybody's.
"""

import csv
import io
import json
import math
from array import array
from collections.abc import Iterable
from typing import Any

import numpy as np

from scaler.monitor.page.message import Columns, View, clean

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def rows_of(columns: Columns) -> Iterable[tuple[Any, ...]]:
    """The table by rows, with values as JSON has them."""
    return zip(*(_values(name, column) for name, column in columns.items()), strict=True)


def _values(name: str, column: Any) -> list[Any]:
    if not isinstance(column, array | np.ndarray):
        return [clean(text) for text in column]
    if name == "task":
        return [f"{task:016x}" if task else "" for task in np.asarray(column, np.uint64).tolist()]
    values: list[Any] = np.asarray(column).tolist()
    return [None if isinstance(value, float) and not math.isfinite(value) else value for value in values]


def as_csv(view: View) -> str:
    """The view's first table."""
    columns = next(iter(view.tables.values()), {})
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    for row in rows_of(columns):
        writer.writerow(f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell for cell in row)
    return out.getvalue()


def as_json(view: View) -> str:
    """All of the view: its values, and of each table a list of rows."""
    tables = {
        name: [dict(zip(columns, row, strict=True)) for row in rows_of(columns)]
        for name, columns in view.tables.items()
    }
    return json.dumps({**view.data, **tables}, indent=1)

"""Neutral payloads: the arguments, result or failure of a named function, as JSON, which every language reads.

    arguments   [x, y]                                    or {"args": [x, y], "kwargs": {"name": z}}
    result      any JSON value
    failure     {"type": "ValueError", "message": "...", "traceback": "...", "pickle": "..."}

A failure's `pickle`, in base64, is what the failure of any other function is: (exception, traceback's text). A worker
in another language leaves it out; a client in another language passes it over. It is left out, too, where it is large.

Rule 1: no JSON text begins with the byte 0x80, every pickle of ours does (protocol 5). So whoever reads a result or a
        failure sees which of the two it is.
Rule 2: what JSON does not have is an error with a sentence, where it is written: bytes, nan, a set, an object.
Not here: which functions have names (named), how a failure is made an exception (payload).
"""

import base64
import json
from typing import Any, NamedTuple

MOST_PICKLE_BYTES = 4096
_PICKLE = 0x80
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_decode = json.JSONDecoder().decode


class Failure(NamedTuple):
    """What is said of an exception; `pickled` is empty if it is said in words only."""

    kind: str
    message: str
    traceback: str
    pickled: bytes = b""


def is_neutral(raw: Any) -> bool:
    """Whether these bytes are a neutral payload, and no pickle."""
    return len(raw) > 0 and raw[0] != _PICKLE


def dumps(value: Any) -> bytes:
    """TypeError or ValueError for what JSON does not have."""
    try:
        return _encode(value).encode()
    except (TypeError, ValueError, RecursionError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"a named function takes and returns what JSON has: {error}") from None


def loads(raw: Any) -> Any:
    """ValueError if these bytes are no JSON."""
    return _decode(bytes(raw).decode())


def dumps_arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    return dumps({"args": args, "kwargs": kwargs} if kwargs else args)


def loads_arguments(raw: Any) -> tuple[list[Any], dict[str, Any]]:
    """ValueError if these bytes are no arguments."""
    read = loads(raw)
    if type(read) is list:
        return read, {}
    if type(read) is dict and read.keys() <= {"args", "kwargs"}:
        args, kwargs = read.get("args", []), read.get("kwargs", {})
        if type(args) is list and type(kwargs) is dict:
            return args, kwargs
    raise ValueError("the arguments of a named function are an array, or an object of args and kwargs")


def dumps_failure(failure: Failure) -> bytes:
    said = {"type": failure.kind, "message": failure.message, "traceback": failure.traceback}
    if 0 < len(failure.pickled) <= MOST_PICKLE_BYTES:
        said["pickle"] = base64.b64encode(failure.pickled).decode()
    return json.dumps(said).encode()  # in ASCII, since a message may have what UTF-8 has no bytes for


def loads_failure(raw: Any) -> Failure:
    """ValueError if these bytes are none."""
    said = loads(raw)
    if type(said) is not dict:
        raise ValueError("no object")
    kind, message, text, pickled = (said.get(key, "") for key in ("type", "message", "traceback", "pickle"))
    if not all(type(each) is str for each in (kind, message, text, pickled)):
        raise ValueError("no texts")
    return Failure(kind, message, text, base64.b64decode(pickled, validate=True))

"""FunctionNumbers: which number of this client stands for which callable.

A callable is pickled and announced once. Functions, classes, builtins, partials and methods that a module offers are
known again by identity (`is`, held weakly), never by `==`: two bound methods may be equal and still differ. What they
are made of is watched: if it is another at the next submit, they are pickled again (scaler.client.callables). Anything
else is pickled each time, and known again by its bytes.

A function stays announced as long as this client has it: the callable itself if that is known by identity, else the
call that uses its number, be it a whole map. Besides these the last MOST_UNUSED stay, with at most MOST_UNUSED_BYTES in
objects, since the next bound method may well be equal to the last. What falls out is forgotten: used again, it is
announced anew under a new number, as no number is used twice.

Forgetting goes through the ring of the tasks, so that it comes after those that name the function, and waits with them
while the scheduler has more of this client than it wants. (By way of the control ring the pump would have to take all
tasks first, whatever the client may have queued, for each function again.)

Calls that ask for resources (scaler.values.resources) name their function by a number of its own, which says what they
ask for: `numbers_for(request)` gives these.

Rule 1: a number is never forgotten while somebody may submit under it. The handler of a signal may submit in the midst
        of this thread's announcing, so what is about to be forgotten is first made impossible to find.
Rule 2: any thread, in the middle of anything, may be the one that notices that a callable has gone, or a number. It
        only notes that; what follows happens in `tend` and when the next function is announced.
"""

import functools
import logging
import threading
import types
import weakref
from collections import OrderedDict, deque
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

from scaler._native import (
    FLAG_NAMED,
    FLAG_OBJECTS,
    FLAG_REQUEST,
    KnownFunction,
    KnownFunctions,
    Watch,
    add_request,
    split_places,
)
from scaler.client.callables import Examined, examine
from scaler.client.chunk_sizes import Pace
from scaler.client.import_environment import list_places, list_reloads
from scaler.client.parcel import Packed, Parcel
from scaler.client.serializer import SerializedCall
from scaler.values.by_name import find_home, modules_by_value
from scaler.values.named import IsNamed, NamedFunction, digest_of
from scaler.values.pieces import Filled, PieceRunner, Placed
from scaler.values.sent_function import FRESH, KEPT, Reloads, pack

_log = logging.getLogger(__name__)

MOST_UNUSED = 1000
MOST_UNUSED_BYTES = 128 << 20  # the last one stays whatever its size
MOST_ASKING = 1000  # different things that calls ask for, of which it is known which functions were called so
MUCH_STATE_BYTES = 1 << 20  # of a function, made anew for each call: its user is told
_BY_NAME = -1  # in place of an environment: a name is the same in all
_WRAPPERS = (SerializedCall, Placed, Filled)
_BY_IDENTITY = (types.FunctionType, type, functools.partial)


class FunctionNumbers:
    """`number_of(function)` gives the number to submit under; native/client/watch.pyx has it.

    `announce(number, digest, payload, flags)` sends a function that the scheduler has not had from this client.

    `forget(number)` takes that back; false if it cannot just now. `begin()` gives the parcel that a function is packed
    with; its payload may have `most_bytes`. `check()` raises if nothing can be submitted any more. `owner` is what no
    other client has: functions that travel by value are this client's alone.
    """

    def __init__(
        self,
        begin: Callable[[], Parcel],
        announce: Callable[[int, bytes, bytes, int], None],
        forget: Callable[[int], bool],
        most_bytes: int,
        check: Callable[[], None] = lambda: None,
        owner: bytes = b"",
    ) -> None:
        self._check, self._owner = check, owner
        self._begin, self._announce, self._forget, self._most_bytes = begin, announce, forget, most_bytes
        self._plain = _Numbers(self, b"")
        self.number_of = self._plain.number_of
        self._asking: OrderedDict[bytes, _Numbers] = OrderedDict()  # by what calls ask for, the last one at the end
        self._environment = (b"", -1)
        self._places: tuple[str, ...] = ()
        self._reloads: Reloads = ()
        # By digest of the pickle, environment, and what calls ask for.
        self._by_content: dict[tuple[bytes, int, bytes], _Announced] = {}
        self._by_number: dict[int, _Announced] = {}
        self._unused: OrderedDict[int, _Announced] = OrderedDict()  # the one used last at the end
        self._unused_bytes = 0
        self._last_number = 0
        self._gone: deque[int] = deque()  # numbers of which a user has gone, each noted once
        self._unsaid: deque[int] = deque()  # numbers that are to be forgotten and for which there was no room
        self._lock = threading.RLock()  # a signal's handler may submit while this thread waits for room

    def __len__(self) -> int:
        """How many are announced."""
        return len(self._by_number)

    def numbers_for(self, request: bytes) -> Callable[[Callable[..., Any]], int]:
        """`number_of` for calls that ask for this."""
        if not request:
            return self.number_of
        with self._lock:
            numbers = self._asking.get(request)
            if numbers is None:
                numbers = self._asking[request] = _Numbers(self, request)
                if len(self._asking) > MOST_ASKING:
                    self._asking.popitem(last=False)
            else:
                self._asking.move_to_end(request)
        return numbers.find_number

    def name_of(self, number: int) -> str:
        """What people call the function of this number; nothing if it has been forgotten."""
        announced = self._by_number.get(number)
        return "" if announced is None else announced.name

    def pace_of(self, number: int) -> Pace:
        """How long its calls take. What pickles alike shares it, as equal partials and methods do."""
        announced = self._by_number.get(number)
        return Pace() if announced is None else announced.pace

    def tend(self) -> None:
        """Forget what is to be forgotten, as far as there is room. Waits for nothing."""
        if (self._gone or self._unsaid) and self._lock.acquire(blocking=False):
            try:
                self._settle()
            finally:
                self._lock.release()

    def on_fork(self) -> None:
        """In a forked child: a lock that is held is held by a thread of the parent."""
        self._lock = threading.RLock()

    def number_of_new(self, function: Callable[..., Any], known: KnownFunctions, request: bytes) -> int:
        """The number of a callable that is not known, or is not what it was, for calls that ask for this."""
        if type(function) is NamedFunction:
            raise IsNamed(function)
        if not callable(function):
            raise TypeError(f"the first argument must be callable, not {type(function).__name__}: {function!r}")
        self._check()
        modules_by_value()  # sees which modules there are, and those that are new are a change of the environment
        environment = known.environment
        parcel = self._begin()
        is_known = _is_known_by_identity(function)
        about = examine(function) if is_known else None  # before it is pickled: it may change meanwhile
        data = parcel.dumps(function)
        digest = parcel.digest(data)
        with self._lock:
            self._settle()
            announced = self._by_content.get((digest, environment, request))
            if announced is None:
                if about is None:
                    about = examine(function)
                announced = self._send((digest, environment, request), parcel, data, about, callable_name(function))
            number = self._use(announced)
            if is_known and about is not None:
                _know(known, function, number, about.watch, environment)
            return number

    def number_of_named(self, name: str, request: bytes = b"") -> int:
        """The number of a function that workers know by this name, for calls that ask for this."""
        data = name.encode()
        with self._lock:
            self._settle()
            announced = self._by_content.get((data, _BY_NAME, request))
            if announced is None:
                self._check()
                announced = self._new((data, _BY_NAME, request), name)
                self._announce_asking(announced, digest_of(name), data, FLAG_NAMED)
                announced = self._note(announced)
            return self._use(announced)

    def _look_around(self, environment: tuple[bytes, int]) -> None:
        """See where modules are found, and which were loaded anew, if that has changed."""
        if environment != self._environment:
            self._places, self._reloads, self._environment = list_places(), list_reloads(self._owner), environment

    def _use(self, announced: "_Announced") -> "_Use":
        """A number to submit under, which is not forgotten as long as any caller has it."""
        number = _Use(announced.number)
        announced.users += 1
        if self._unused.pop(announced.number, None) is not None:
            self._unused_bytes -= announced.object_bytes
        number.gone = self._gone
        return number

    def _settle(self) -> None:
        """See which users of functions have gone, and forget the functions that have had none for longest."""
        unused = self._unused
        while self._gone:
            announced = self._by_number[self._gone.popleft()]
            announced.users -= 1
            if not announced.users:
                unused[announced.number] = announced
                self._unused_bytes += announced.object_bytes
        while len(unused) > MOST_UNUSED or (self._unused_bytes > MOST_UNUSED_BYTES and len(unused) > 1):
            number, announced = next(iter(unused.items()))
            if self._by_content.get(announced.content) is announced:
                del self._by_content[announced.content]
            if unused.pop(number, None) is not None:  # else it was found just before that
                self._unused_bytes -= announced.object_bytes
                del self._by_number[number]
                self._unsaid.append(number)
        while self._unsaid and self._forget(self._unsaid[0]):
            self._unsaid.popleft()

    def _send(
        self, content: tuple[bytes, int, bytes], parcel: Parcel, data: bytes, about: Examined, name: str
    ) -> "_Announced":
        is_kept, is_by_name = about.is_kept, about.is_by_name
        _, environment, request = content
        self._look_around((request, environment))
        if not is_kept and len(data) > MUCH_STATE_BYTES:
            _log.warning(
                "%s carries %.1f MB that a call may change, so each call has it unpickled anew: pass large values as "
                "arguments by Client.send_object, or keep them in arrays, or in a module that workers import",
                name, len(data) / 1e6,
            )  # fmt: skip
        if not is_by_name or self._places or self._reloads:
            owner = b"" if is_by_name else self._owner
            data = pack(KEPT if is_kept else FRESH, owner, self._places, self._reloads) + data
        packed = parcel.finish(data, self._most_bytes - len(add_request(b"", request)), may_hold=False)
        announced = self._new(content, name)
        if isinstance(packed, bytes):
            self._announce_asking(announced, blake2b(packed, digest_size=16).digest(), packed, 0)
        else:
            announced.object_bytes = sum(place[3] for place in split_places(packed.payload)[0])
            self._send_packed(announced, packed, self._owner)  # type: ignore[arg-type]  # a function has no inputs
        return self._note(announced)

    def _new(self, content: tuple[bytes, int, bytes], name: str) -> "_Announced":
        self._last_number += 1
        return _Announced(self._last_number, content, name)

    def _note(self, announced: "_Announced") -> "_Announced":
        """It has been announced: what this content is known as from now on."""
        meanwhile = self._by_content.get(announced.content)
        if meanwhile is not None:  # announced by a signal's handler: once is enough
            self._unsaid.append(announced.number)
            return meanwhile
        self._by_content[announced.content] = self._by_number[announced.number] = announced
        return announced

    def _announce_asking(self, announced: "_Announced", digest: bytes, payload: bytes, flags: int) -> None:
        request = announced.content[2]
        if request:
            payload, flags = add_request(payload, request), flags | FLAG_REQUEST
        self._announce(announced.number, digest, payload, flags)

    def _send_packed(self, announced: "_Announced", packed: Packed, owner: bytes) -> None:
        digest, environment, _ = announced.content
        try:
            # What the objects hold has been hashed already: it need not be read a second time.
            name = blake2b(digest + environment.to_bytes(8, "little") + owner, digest_size=16).digest()
            self._announce_asking(announced, name, packed.payload, FLAG_OBJECTS)
            packed.is_written = True
        finally:
            packed.end()


class _Numbers:
    """Which callables are known for calls that ask for one thing."""

    def __init__(self, owner: FunctionNumbers, request: bytes) -> None:
        self._owner, self._request = weakref.ref(owner), request
        self._known = KnownFunctions(weakref.ref(self))
        self.number_of = self._known.number_of

    def find_number(self, function: Callable[..., Any]) -> int:
        """`number_of`, which keeps this here as long as the caller has it."""
        number: int = self.number_of(function)
        return number

    def _number_of_new(self, function: Callable[..., Any]) -> int:
        owner = self._owner()
        assert owner is not None
        return owner.number_of_new(function, self._known, self._request)


def _know(
    known: KnownFunctions, function: Callable[..., Any], number: int, watch: Watch | None, environment: int
) -> None:
    """From now on it is known by identity."""
    key, by_id = id(function), known.by_id

    def on_gone(reference: Any) -> None:
        one = by_id.get(key)
        if one is not None and one.reference is reference:
            del by_id[key]

    try:
        reference = weakref.ref(function, on_gone)
    except TypeError:
        return
    by_id[key] = KnownFunction(reference, number, watch, environment)


def _is_known_by_identity(function: Any) -> bool:
    if isinstance(function, types.BuiltinFunctionType | types.MethodType):  # it changes with its object: {}.get
        owner = function.__self__
        return owner is None or isinstance(owner, types.ModuleType) or find_home(function) is not None
    return isinstance(function, _BY_IDENTITY)


def callable_name(function: Any) -> str:
    """What people call it: what a partial or a wrapper calls, in the end."""
    if type(function) is PieceRunner:
        return function.name
    for _ in range(8):
        inner = getattr(function, "func", None) if isinstance(function, functools.partial) else None
        inner = getattr(function, "function", None) if isinstance(function, _WRAPPERS) else inner
        if inner is None:
            break
        function = inner
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    module = getattr(function, "__module__", None)
    return f"{module}.{name}" if isinstance(module, str) and module not in ("builtins", "__main__") else str(name)


class _Announced:
    """What has been announced, and how many hold it: callables, and calls that use its number."""

    __slots__ = ("content", "name", "number", "object_bytes", "pace", "users")

    def __init__(self, number: int, content: tuple[bytes, int, bytes], name: str) -> None:
        self.number, self.content, self.name = number, content, name
        self.object_bytes = self.users = 0
        self.pace = Pace()


class _Use(int):
    """A number of a callable: as long as any caller has it, the function stays."""

    gone: "deque[int] | None" = None

    def __del__(self) -> None:
        if self.gone is not None:
            self.gone.append(int(self))

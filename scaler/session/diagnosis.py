"""Diagnosis: why no scheduler answers at an address, found out with a plain socket.

ZeroMQ tells of a name that nobody knows, of a closed port and of a web server in the same way: nothing happens. So what
waits for an answer that does not come looks for itself, and says what it has seen: at once what will not get better by
waiting, and the rest when it gives up.

What listens is told apart by what it says first. ZeroMQ begins with a signature, mail and shell servers with a
greeting, a web server with nothing, until it is asked for something.

Rule 1: a scheduler is not disturbed: it is connected to and hung up on, and what says that it speaks ZeroMQ is asked
        nothing.
Rule 2: `is_final` is only what no scheduler that starts a little later would change. A closed port may be opened yet, a
        silent one may be forwarded to where nothing listens yet, and so may one where a gateway says that it reaches
        nobody.
Not here: when to look, and what is done about it (dealer).
"""

import errno
import re
import socket
from typing import NamedTuple

from scaler.address import Address

GREETING_S = 0.3  # for servers that greet first
LEAST_S = 0.05
LOOK_S = 1.5  # at most, but for a name server that does not answer
_SIGNATURE = re.compile(rb"\xff.{8}\x7f", re.DOTALL)
_GATEWAY = re.compile(rb"HTTP/[0-9.]+ 50[234]")
_QUESTION = b"HEAD / HTTP/1.0\r\n\r\n"
_KNOWN = (
    (b"HTTP/", "a web server"), (b"<", "a web server"), (b"SSH-", "an SSH server"), (b"220", "a mail or FTP server"),
    (b"\x15\x03", "a server that speaks TLS"), (b"-ERR", "a Redis server"),
)  # fmt: skip
NAME_UNKNOWN = tuple(getattr(socket, name) for name in ("EAI_NONAME", "EAI_NODATA") if hasattr(socket, name))


class Trouble(NamedTuple):
    """What was seen, as the end of a sentence."""

    text: str
    is_final: bool = False
    is_about_name: bool = False  # of the host: it may yet be given to one, where hosts come and go


NOT_ZEROMQ = "something accepts connections there and says nothing: no scheduler, or one that is stopped"
NO_ANSWER = "what listens there speaks ZeroMQ but does not answer: no scheduler, one of scaler 1 or 2, or a busy one"


def look(address: Address, most_s: float) -> Trouble:
    """Connect there, and see, in so much time."""
    most_s = max(LEAST_S, min(most_s, LOOK_S))
    if address.is_ipc:
        return _look_at_path(address.path, most_s)
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError as error:
        if error.errno in NAME_UNKNOWN:
            return Trouble(f"no host is known by the name {address.host!r} ({error.strerror})", True, True)
        return Trouble(f"the name {address.host!r} could not be looked up: {error.strerror}", False, True)
    trouble = Trouble("")
    for family, kind, protocol, _, place in found:
        try:
            with socket.socket(family, kind, protocol) as probe:
                probe.settimeout(most_s)
                probe.connect(place)
                return _listen_to(probe, most_s)
        except OSError as error:
            trouble = _why_not_connected(error)
    return trouble


def _look_at_path(path: str, most_s: float) -> Trouble:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(most_s)
            probe.connect(f"\0{path[1:]}" if path.startswith("@") else path)
            return _listen_to(probe, most_s)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return Trouble("there is no socket at that path, so no scheduler listens there")
        if error.errno == errno.EACCES:
            return Trouble("this user may not connect to the socket at that path, which is another user's", True)
        return _why_not_connected(error)


def _why_not_connected(error: OSError) -> Trouble:
    if error.errno == errno.ECONNREFUSED:
        return Trouble("nothing listens there (connection refused)")
    if isinstance(error, TimeoutError):
        return Trouble("the host does not answer: it is down or cannot be reached, or a firewall is in between")
    return Trouble(f"it cannot be connected to: {error.strerror or error}")


def _listen_to(probe: socket.socket, most_s: float) -> Trouble:
    """What this connection leads to."""
    try:
        said = _receive(probe, min(GREETING_S, most_s))
        if said is None:
            probe.sendall(_QUESTION)
            said = _receive(probe, max(LEAST_S, most_s - GREETING_S))
    except OSError:  # it has hung up
        said = None
    if not said:
        return Trouble(NOT_ZEROMQ)
    if _SIGNATURE.match(said):
        return Trouble(NO_ANSWER)
    if _GATEWAY.match(said):
        return Trouble(f"a gateway listens there, which reaches no scheduler: it says {said[:40]!r}")
    what = next((what for words, what in _KNOWN if said.startswith(words)), "another program")
    return Trouble(f"{what} listens there and no scheduler: it says {said[:40]!r}", True)


def _receive(probe: socket.socket, timeout_s: float) -> bytes | None:
    """What it says; None if it says nothing in time; nothing if it hangs up."""
    probe.settimeout(timeout_s)
    try:
        return probe.recv(64)
    except TimeoutError:
        return None

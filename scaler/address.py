"""Address: where a scheduler can be reached, `tcp://host:port` or `ipc://path`, as the user writes it. Endpoint: where
another host serves objects, `host:port`, as that host says it.

Both are checked here, before ZeroMQ or the C library sees them. ZeroMQ takes port 80000 for 14464 and says of most
mistakes "Invalid argument"; Python's look-up of a name raises UnicodeError, which is no OSError, for a label that is
empty or has more than 63 characters.

Rule 1: an address is loopback only if that is plain from its text: `localhost`, 127.0.0.0/8, ::1, and every ipc path. A
        host name is not looked up for this, since what it means may change between the question and the answer.
Rule 2: what another host says is read by `Endpoint.parse` where its frame comes in, and by nothing else. It names one
        host and one port to connect to: no star, no unspecified address, no interface of the speaker's (`%eth0`).
Rule 3: a host's name is one of RFC 1123: labels of 1 to 63 letters, digits and hyphens, 253 characters in all.
        Underscores are let pass, since the names of many containers have some.
Not here: listening and connecting.
"""

import ipaddress
import os
import re
from dataclasses import dataclass
from typing import NamedTuple

from scaler.exceptions import AddressError

EXAMPLES = "tcp://127.0.0.1:2345, tcp://[::1]:2345 or ipc:///tmp/scaler"
MOST_PORT = 65535
MOST_PATH_BYTES = 107  # what the kernel takes for an AF_UNIX address
MONITOR_STEP = 2
MOST_HOST_CHARACTERS = 253
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")  # as the C library reads one: 0x7f000001 is 127.0.0.1
_INTERFACE = re.compile(r"[A-Za-z0-9_.:-]{1,15}")
_ANY_HOST = "*"


@dataclass(frozen=True)
class Address:
    """Either `host` and `port` (0: any free one) of tcp, or `path` of ipc. Made by `Address.parse`."""

    host: str = ""
    port: int = 0
    path: str = ""

    @classmethod
    def parse(cls, text: str) -> "Address":
        """The address that this text is. AddressError says what is wrong with it."""
        if not isinstance(text, str):
            raise AddressError(f"an address is a text such as {EXAMPLES}, not {text!r}")
        scheme, separator, rest = text.strip().partition("://")
        if not separator:
            raise AddressError(f"{text!r} is no address: write {EXAMPLES}")
        if scheme == "ipc":
            return cls(path=_checked_path(rest, text))
        if scheme != "tcp":
            raise AddressError(f"{text!r} begins with {scheme}://, but only tcp:// and ipc:// are known")
        host, port = _split(rest, text)
        return cls(_checked_host(host, text), _checked_port(port, text))

    def __str__(self) -> str:
        if self.is_ipc:
            return f"ipc://{self.path}"
        host = f"[{self.host}]" if self.is_ipv6 else self.host
        return f"tcp://{host}:{self.port}"

    @property
    def is_ipc(self) -> bool:
        return bool(self.path)

    @property
    def is_ipv6(self) -> bool:
        return ":" in self.host

    @property
    def is_loopback(self) -> bool:
        """Only processes of this machine can get there."""
        if self.is_ipc or self.host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.partition("%")[0]).is_loopback
        except ValueError:
            return False

    def check_connectable(self) -> "Address":
        """This address, if one can connect to it; AddressError if one can only listen there."""
        if not self.is_ipc and self.port == 0:
            raise AddressError(f"{self} leaves the port to whoever listens: connect to the one it says it has got")
        if self.host == _ANY_HOST:
            raise AddressError(f"{self} is for listening at every interface: connect to the name of the host")
        return self

    def default_monitor(self) -> "Address":
        """Where this scheduler's snapshots are published unless told otherwise: two ports on, or beside the path.

        Any free port if there is none two ports on.
        """
        if self.is_ipc:
            return Address(path=_checked_path(f"{self.path}.monitor", f"{self}.monitor"))
        port = self.port + MONITOR_STEP
        return Address(self.host, port if self.port and port <= MOST_PORT else 0)


class Endpoint(NamedTuple):
    """One host and one port of it, as another host has named them. Made by `Endpoint.parse`."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Endpoint":
        """The place that this text is, `host:port` or `[IPv6 address]:port`. AddressError says what is wrong."""
        if len(text) > MOST_HOST_CHARACTERS + len("[]:65535"):
            raise AddressError(f"a text of {len(text)} characters is no host and port")
        host, port = _split(text, text, "a host and a port, such as [::1]:2345")
        if "%" in host:
            raise AddressError(f"{text!r} names an interface, which means nothing on another host")
        checked = cls(_checked_host(host, text), _checked_port(port, text))
        if not checked.port or checked.host == _ANY_HOST or _is_unspecified(checked.host):
            raise AddressError(f"{text!r} names no host and port that one could connect to")
        return checked

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _split(rest: str, text: str, examples: str = EXAMPLES) -> tuple[str, str]:
    """Host and port, both as written."""
    if rest.startswith("["):
        host, bracket, after = rest[1:].partition("]")
        if not bracket or not after.startswith(":"):
            raise AddressError(f"{text!r} is no address: with IPv6 it looks like tcp://[::1]:2345")
        return f"[{host}", after[1:]
    host, colon, port = rest.rpartition(":")
    if not colon:
        raise AddressError(f"{text!r} has no port: write {examples}")
    if ":" in host:
        raise AddressError(f"{text!r}: an IPv6 address stands in brackets, as in tcp://[::1]:2345")
    return host, port


def _checked_host(host: str, text: str) -> str:
    if host.startswith("["):
        return _checked_ipv6(host[1:], text)
    if not host:
        raise AddressError(f"{text!r} has no host: write {EXAMPLES}, or tcp://*:2345 to listen everywhere")
    if host == _ANY_HOST:
        return host
    if re.fullmatch(r"[0-9.]+", host):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise AddressError(f"{text!r}: {host!r} is no IPv4 address") from None
    name = host.removesuffix(".")
    if len(name) > MOST_HOST_CHARACTERS:
        raise AddressError(f"{text!r}: a host's name has at most {MOST_HOST_CHARACTERS} characters, not {len(name)}")
    labels = name.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels) or _NUMBER.fullmatch(labels[-1]):
        raise AddressError(
            f"{text!r}: {host!r} is no name of a host: labels of 1 to 63 letters, digits, hyphens, the last no number"
        )
    return host


def _checked_ipv6(host: str, text: str) -> str:
    address, percent, interface = host.partition("%")
    try:
        ipaddress.IPv6Address(address)
    except ValueError:
        raise AddressError(f"{text!r}: {host!r} is no IPv6 address") from None
    if percent and not _INTERFACE.fullmatch(interface):
        raise AddressError(f"{text!r}: {interface!r} is no name of an interface")
    return host


def _is_unspecified(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _checked_port(port: str, text: str) -> int:
    if port == _ANY_HOST:
        return 0
    if not (port.isascii() and port.isdigit()) or len(port) > 5 or int(port) > MOST_PORT:
        raise AddressError(f"{text!r}: a port is a number from 0 to {MOST_PORT}, not {port!r}")
    return int(port)


def _checked_path(path: str, text: str) -> str:
    if path in ("", "*", "@"):
        raise AddressError(f"{text!r} has no path: write for instance ipc:///tmp/scaler")
    if "\0" in path:
        raise AddressError(f"{text!r}: a path cannot have a null character")
    if len(os.fsencode(path)) > MOST_PATH_BYTES:
        raise AddressError(f"{text!r}: the path has {len(os.fsencode(path))} bytes, more than {MOST_PATH_BYTES}")
    return path

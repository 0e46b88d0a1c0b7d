"""Which scheduler, and with which keys: what a program finds when it was told nothing, or not all.

An address is what was given, else SCALER_ADDRESS, else that of this user's newest scheduler of this machine. Keys are
those of the folder that was given, else of SCALER_KEYS, else those in the connection file of the scheduler at that
address, else none.

Rule 1: keys are looked up at each attempt to connect, since a scheduler that was started again may have others.
Rule 2: what was named and cannot be read is an error. What is merely not there is none.
"""

import os

from scaler.address import Address
from scaler.exceptions import AddressError
from scaler.keys.connection_file import Connection, connections_folders, find_connection, living
from scaler.keys.folder import PeerKeys, has_keys, peer_keys

ADDRESS_VARIABLE, KEYS_VARIABLE = "SCALER_ADDRESS", "SCALER_KEYS"
_LOCAL = ("127.0.0.1", "::1", "localhost")


def find_address(given: str | None) -> str:
    """The scheduler's address. AddressError says what could have named one."""
    address = given or os.environ.get(ADDRESS_VARIABLE)
    if address:
        return address
    connection = find_connection()
    if connection is None:
        raise AddressError(_nothing())
    return connection.address


def find_monitor_address(given: str | None) -> str:
    """The monitor address of the scheduler that `find_address` would find. AddressError if there is none."""
    if given:
        return given
    named = os.environ.get(ADDRESS_VARIABLE)
    connection = find_connection() if not named else _at(Address.parse(named))
    if connection is None or not connection.monitor_address:
        raise AddressError(_nothing() if not named else f"the scheduler at {named} has no file here: name its monitor")
    return connection.monitor_address


def find_keys(address: Address, role: str, folder: str | None = None) -> PeerKeys | None:
    """What a peer of this role shows to the scheduler at this address; None if nothing says that it wants keys."""
    folder = folder or os.environ.get(KEYS_VARIABLE)
    if folder:
        return peer_keys(folder, role)
    connection = _at(address)
    if connection is None:
        return None
    if not connection.keys_folder:
        return connection.peer_keys(role)
    # The scheduler's may be the part of a folder in which there is nothing for others.
    return peer_keys(connection.keys_folder, role) if has_keys(connection.keys_folder, role) else None


def find_viewer_keys(address: Address, folder: str | None = None) -> PeerKeys | None:
    """What a viewer shows to the monitor address of a scheduler: a monitor's key, else that of another role."""
    folder = folder or os.environ.get(KEYS_VARIABLE)
    for role in ("monitor", "client", "worker"):
        if folder is None or has_keys(folder, role):
            return find_keys(address, role, folder)
    return find_keys(address, "monitor", folder)


def _nothing() -> str:
    return (
        f"no address was given, {ADDRESS_VARIABLE} names none, and no scheduler of this user has left a file in "
        f"{' or '.join(map(str, connections_folders()))}: start one with `scaler_scheduler tcp://127.0.0.1:0`, or name "
        "its address"
    )


def _at(address: Address) -> Connection | None:
    """The scheduler of this machine that listens there, or whose monitor is there, however the host is written."""
    if not address.is_loopback:
        return None
    for connection in living():
        for text in (connection.address, connection.monitor_address):
            if text and _is_same(Address.parse(text), address):
                return connection
    return None


def _is_same(one: Address, other: Address) -> bool:
    return one == other or (one.port == other.port and not one.is_ipc and {one.host, other.host} <= set(_LOCAL))

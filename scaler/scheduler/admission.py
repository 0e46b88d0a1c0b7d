"""Admission: with which keys a scheduler listens, and what it leaves for this user's programs to find it by.

| it listens | keys |
| --- | --- |
| with a folder of keys (`--keys`, SCALER_KEYS) | those of the folder |
| at tcp of this machine, where every user can connect | fresh ones, in its connection file; none without one |
| at an ipc path, which has this user's permissions | none |
| with `--insecure` | none |

Not here: what keys are (scaler.keys), what is beyond this machine without any (config.table refuses it).
"""

import logging
import os
import socket
import time
from dataclasses import dataclass, replace

from scaler.config.table import SchedulerConfig
from scaler.exceptions import KeysError
from scaler.keys.connection_file import Connection, Published, fresh_keys, usable_folder
from scaler.keys.find import KEYS_VARIABLE
from scaler.keys.folder import SchedulerKeys, scheduler_keys

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Admission:
    """What `admit` has decided: the keys, if any, and the file that is to be published once the address is known."""

    keys: SchedulerKeys | None
    connection: Connection

    def publish(self, address: str, monitor_address: str = "") -> Published | None:
        """Let this user's programs find the scheduler. KeysError if they could not get in without that."""
        try:
            return Published(replace(self.connection, address=address, monitor_address=monitor_address))
        except KeysError as error:
            if self.connection.pairs:
                raise
            _log.info("programs must be told the address of this scheduler: %s", error)
            return None


def admit(config: SchedulerConfig) -> Admission:
    """With which keys this scheduler listens. KeysError if the folder that was named is not as it must be."""
    connection = Connection("", pid=os.getpid(), host=socket.gethostname(), started_s=time.time())
    folder = None if config.insecure else config.keys or os.environ.get(KEYS_VARIABLE)
    if folder:
        return Admission(scheduler_keys(folder), replace(connection, keys_folder=os.path.abspath(folder)))
    if config.insecure or config.address.is_ipc:
        return Admission(None, connection)
    try:
        usable_folder()
    except KeysError as error:
        _log.warning("every user of this machine can connect to this scheduler, as it is to have no keys: %s", error)
        return Admission(None, connection)
    keys, public, pairs = fresh_keys()
    return Admission(keys, replace(connection, scheduler_key=public, pairs=pairs))

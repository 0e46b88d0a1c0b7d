"""The doorbell of a client or worker: what its scheduler or relay rings when there is something in its rings.

A datagram socket that is connected to itself, so that one descriptor is both what is rung and what is listened to, as
an eventfd is. Not an eventfd, since both sides have the same one, and with it its flags: a peer could make it block,
fill it, and so stop the scheduler. A datagram can be sent without waiting whatever the flags say.

Not here: ringing and hearing it (native/shm/bell.pyx), how it is handed over (colocation.handshake).
"""

import socket


def new_doorbell() -> int:
    """A descriptor, for its maker to close."""
    bell = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        bell.bind("")  # the kernel chooses a name of its own
        bell.connect(bell.getsockname())
        return bell.detach()
    finally:
        bell.close()

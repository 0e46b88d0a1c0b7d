"""A child that reports what means nothing, some of it with descriptors, and then waits for its creator to go."""

import socket

from scaler.program.creator import Creator


def main(creator: Creator) -> int:
    link = creator.link
    link.send(b"no json")
    socket.send_fds(link, [b"{}"], [0, 1])
    link.send(b'{"said in a version to come": 1}')
    socket.send_fds(link, [b"[]"], [0])
    link.recv(1)
    return 0

"""A child that reports what means nothing, some of it with descriptors, and then waits for its creator to go."""

import socket
import sys

if __name__ == "__main__":
    link = socket.socket(fileno=int(sys.argv[1]))
    link.send(b"no json")
    socket.send_fds(link, [b"{}"], [0, 1])
    link.send(b'{"said in a version to come": 1}')
    socket.send_fds(link, [b"[]"], [0])
    link.recv(1)

"""Bytes that are written whole, packets that come whole or not at all, and descriptors that no other program gets."""

import fcntl
import os
import socket
import threading

import pytest

from scaler.program.descriptors import close_all, has_packet, message_in, receive_packet, write_all
from tests.processes import open_descriptors


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        yield ours, theirs


def test_what_comes_from_another_process_no_program_that_is_started_here_gets(pair):
    socket.send_fds(pair[0], [b"{}"], [0, 1])
    packet, descriptors = receive_packet(pair[1], 100, 2)
    assert packet == b"{}"
    assert [os.get_inheritable(each) for each in descriptors] == [False, False]
    close_all(descriptors)


@pytest.mark.parametrize(("size", "count"), [(101, 0), (101, 2), (100, 3), (5, 250)])
def test_a_packet_that_does_not_come_whole_is_none_and_leaves_nothing(pair, size, count):
    before = open_descriptors()
    if count:
        socket.send_fds(pair[0], [b"x" * size], [0] * count)
    else:
        pair[0].send(b"x" * size)
    with pytest.raises(ValueError, match="more than 100 bytes or 2 descriptors"):
        receive_packet(pair[1], 100, 2)
    assert open_descriptors() == before


def test_descriptors_that_come_with_no_bytes_are_closed(pair):
    before = open_descriptors()
    socket.send_fds(pair[0], [b""], [0, 0])
    assert receive_packet(pair[1], 100, 4) == (b"", [])
    assert open_descriptors() == before


def test_a_hang_up_is_no_bytes(pair):
    pair[0].shutdown(socket.SHUT_RDWR)
    assert has_packet(pair[1], 0)
    assert receive_packet(pair[1], 100, 2) == (b"", [])


def test_a_socket_of_any_number_can_be_waited_for(pair):
    number = fcntl.fcntl(pair[1], fcntl.F_DUPFD_CLOEXEC, 1500)
    with socket.socket(fileno=number) as high:
        assert not has_packet(high, 0.01)
        pair[0].send(b"x")
        assert has_packet(high, 20)


@pytest.mark.parametrize(
    "packet", [b"", b"x", b"[]", b"3", b"null", b"\xff", b"[" * 60_000, b'{"a":' * 30_000, b'{"a": 1}{}', b"NaN"]
)
def test_what_is_no_object_of_json_says_nothing(packet):
    with pytest.raises(ValueError):
        message_in(packet)


def test_half_of_a_surrogate_pair_becomes_a_question_mark():
    assert message_in(b'{"\\ud800": ["\\udc00", {"x": "\\ud83d\\ude00"}]}') == {"?": ["?", {"x": "\U0001f600"}]}


@pytest.mark.parametrize("blocks", [True, False])
def test_all_is_written_however_little_there_is_room_for(blocks):
    reader, writer = os.pipe()
    os.set_blocking(writer, blocks)
    data = os.urandom(1 << 20)

    def write():
        write_all(writer, data)
        os.close(writer)

    thread = threading.Thread(target=write)
    thread.start()
    with open(reader, "rb") as file:
        assert file.read() == data
    thread.join()


def test_nobody_to_read_it_is_an_error():
    reader, writer = os.pipe()
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        write_all(writer, b"x")
    os.close(writer)

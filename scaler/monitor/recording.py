"""Recordings: the reports that a viewer has seen, in a file, to be opened later without a scheduler.

A file begins with one line that says what it is. Each report follows as its length and its CRC-32 (u32 each,
little-endian) and its bytes as they came. So a recording whose writer was killed is readable up to there, and what is
damaged is noticed before it is decoded.

Rule 1: a recording is opened for reading up to its last whole report; `problem` says what is wrong with the rest.
Not here: what is drawn from it (each viewer).
"""

import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from struct import Struct
from struct import error as struct_error
from typing import BinaryIO

from scaler.exceptions import ScalerError
from scaler.monitor.codec import REPORT_LIMIT_BYTES, ReportError, decode, label_of
from scaler.monitor.report import Report

FIRST_LINE = b"scaler recording 1\n"
_HEAD = Struct("<II")


class RecordingError(ScalerError, ValueError):
    """This file is no recording that can be read here; the message says why."""


class Recorder:
    """Writes a recording: `add` the bytes of each report as it came."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        try:
            self._file: BinaryIO = self.path.open("xb")
        except FileExistsError:
            raise RecordingError(f"{self.path} is there already: give another name, or remove it first") from None
        except OSError as error:
            raise RecordingError(f"{self.path} cannot be written: {error.strerror}") from None
        self._file.write(FIRST_LINE)

    def add(self, data: bytes) -> None:
        """At once in the file as far as the operating system is concerned, so that a kill loses nothing."""
        self._file.write(_HEAD.pack(len(data), zlib.crc32(data)) + data)
        self._file.flush()

    def close(self) -> None:
        """Idempotent."""
        self._file.close()

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def is_recording(path: str | os.PathLike[str]) -> bool:
    """Whether there is a file of this name that begins as a recording does."""
    try:
        with open(path, "rb") as file:
            return file.read(len(FIRST_LINE)) == FIRST_LINE
    except OSError:
        return False


class Recording:
    """Reads a recording: iterate over it for its reports, oldest first."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.problem = ""
        """Why the iteration ended before the file did, in a sentence; known after it."""
        try:
            with self.path.open("rb") as file:
                first = file.read(len(FIRST_LINE))
        except OSError as error:
            raise RecordingError(f"{self.path} cannot be read: {error.strerror}") from None
        if first != FIRST_LINE:
            kind = "of another version of scaler" if first.startswith(b"scaler recording ") else "no recording"
            raise RecordingError(f"{self.path} is {kind}: `--record FILE` of scaler_top and scaler_ui makes one")

    def __iter__(self) -> Iterator[Report]:
        for _, data in self._pieces():
            try:
                report = decode(data)
            except ReportError as error:
                self.problem = f"{self.path}: {error}"
                return
            yield report

    def index(self) -> Iterator[tuple[int, int, int, str]]:
        """Of each report: where `read_at` finds it, and its epoch, number and topic."""
        for at, data in self._pieces():
            try:
                label = label_of(data)
            except ReportError as error:
                self.problem = f"{self.path}: {error}"
                return
            yield at, *label

    def read_at(self, at: int) -> Report:
        """The report there. RecordingError if the file has changed since."""
        try:
            with self.path.open("rb") as file:
                file.seek(at)
                size, checksum = _HEAD.unpack(file.read(_HEAD.size))
                data = file.read(min(size, REPORT_LIMIT_BYTES))
                if zlib.crc32(data) == checksum:
                    return decode(data)
        except (OSError, struct_error, ReportError):
            pass
        raise RecordingError(f"{self.path} has changed while it was read")

    def _pieces(self) -> Iterator[tuple[int, bytes]]:
        """Where each report begins, and its bytes."""
        self.problem = ""
        with self.path.open("rb") as file:
            file.seek(len(FIRST_LINE))
            while head := file.read(_HEAD.size):
                at = file.tell() - len(head)
                if len(head) < _HEAD.size:
                    self._end(at)
                    return
                size, checksum = _HEAD.unpack(head)
                data = file.read(size) if size <= REPORT_LIMIT_BYTES else b""
                if len(data) < size or zlib.crc32(data) != checksum:
                    self._end(at)
                    return
                yield at, data

    def _end(self, at: int) -> None:
        self.problem = f"{self.path} is cut or damaged after {at} bytes: what came before is shown"

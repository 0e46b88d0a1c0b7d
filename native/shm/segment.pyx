# Segment: shared memory with a name, made and opened in this one place.
#
# Why not multiprocessing.shared_memory: up to Python 3.12 attaching registers the segment with a tracker process that
# unlinks it when the attaching process exits; it keeps two descriptors open; and it only truncates, so that a full
# /dev/shm kills with SIGBUS at the first touch. The names are readable by it all the same.
#
# Rule 1: pages are allocated before the first write, so a full /dev/shm is a clean OSError (ENOSPC) here. Of what comes
#         over a wire they are allocated as it comes, since nobody is to have much memory set aside by a few bytes.
# Rule 2: no descriptor stays open. Rule 3: memory is unmapped when the last view is gone, never before.

import errno as _errno
import os as _os
import _thread
from libc.stdint cimport int64_t
from libc.string cimport memcpy, memmove, memset, memcmp, strlen
from libc.stdlib cimport malloc, free, realloc, calloc
from cpython.buffer cimport PyBuffer_FillInfo
from cpython.exc cimport PyErr_SetFromErrno, PyErr_CheckSignals
from libc.errno cimport errno, EINTR, EAGAIN

cdef extern from "<sys/mman.h>" nogil:
    void *mmap(void *addr, size_t length, int prot, int flags, int fd, long offset)
    int munmap(void *addr, size_t length)
    int shm_unlink(const char *name)
    int PROT_READ, PROT_WRITE, MAP_SHARED, MAP_PRIVATE, MAP_ANONYMOUS
    void *MAP_FAILED

cdef extern from "<fcntl.h>" nogil:
    int posix_fallocate(int fd, int64_t offset, int64_t size)

cdef enum:
    PIECE_BYTES = 1 << 22    # so much is allocated at a time: a signal in the midst of a piece has the kernel begin it anew


cdef int have_pages(int fd, size_t offset, size_t size) except -1:
    """See to it that these bytes of a file have pages. OSError if there is no room for them.

    Unlike os.posix_fallocate this runs no handlers of signals: the maker of an object lets in no other code (store).
    """
    cdef size_t end = offset + size
    cdef size_t piece
    cdef int error = 0
    while offset < end:
        piece = min(end - offset, <size_t>PIECE_BYTES)
        with nogil:
            error = posix_fallocate(fd, <int64_t>offset, <int64_t>piece)
        if error == 0:
            offset += piece
        elif error != EINTR:
            raise OSError(error, _os.strerror(error))
    return 0


cdef class Segment:
    """Named shared memory, mapped writable. `name` is as multiprocessing.shared_memory would take it.

    A name that begins with a slash is a file instead, for hosts whose /dev/shm has no room.
    """
    cdef char *start
    cdef readonly size_t size
    cdef readonly str name

    def __dealloc__(self):
        if self.start != NULL:
            unpoison(self.start, self.size)
            munmap(self.start, self.size if self.size else 1)

    @staticmethod
    def private(size_t size):
        """Memory of this process only: for tests, and for a relay in the client's own process."""
        cdef Segment self = Segment.__new__(Segment)
        self.start = <char *>mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        if <void *>self.start == MAP_FAILED:
            self.start = NULL
            raise MemoryError(f"no memory for {size} bytes of rings")
        self.size = size
        self.name = ""
        return self

    @staticmethod
    def create(str name, size_t size, bint grows=False):
        """Make a segment of `size` bytes. OSError if it exists or there is no room for it.

        One that `grows` has no pages yet: `allocate` comes before the first write to each.
        """
        fd = _os.open(segment_path(name), _os.O_RDWR | _os.O_CREAT | _os.O_EXCL | _os.O_CLOEXEC, 0o600)
        try:
            if size:
                room = _os.fstatvfs(fd)
                if room.f_blocks and room.f_bfree * room.f_frsize < size:    # else all there is would be filled first
                    raise OSError(_errno.ENOSPC, _os.strerror(_errno.ENOSPC), segment_path(name))
                if grows:
                    _os.ftruncate(fd, size)
                else:
                    have_pages(fd, 0, size)
            return Segment.map(name, fd, size)
        except BaseException:
            Segment.unlink(name)
            raise
        finally:
            _os.close(fd)

    cdef int allocate(self, size_t offset, size_t size) except -1:
        """See to it that these bytes have pages. OSError if there is no room for them."""
        fd = _os.open(segment_path(self.name), _os.O_RDWR | _os.O_CLOEXEC | _os.O_NOFOLLOW)
        try:
            have_pages(fd, offset, size)
        finally:
            _os.close(fd)
        return 0

    @staticmethod
    def open(str name):
        """Map an existing segment. FileNotFoundError if there is none of that name."""
        fd = _os.open(segment_path(name), _os.O_RDWR | _os.O_CLOEXEC | _os.O_NOFOLLOW)
        try:
            return Segment.map(name, fd, _os.fstat(fd).st_size)
        finally:
            _os.close(fd)

    @staticmethod
    def map(str name, int fd, size_t size):
        """Map `size` bytes of an open descriptor, which the caller closes."""
        cdef Segment self = Segment.__new__(Segment)
        self.start = <char *>mmap(NULL, size if size else 1, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
        if <void *>self.start == MAP_FAILED:
            self.start = NULL
            PyErr_SetFromErrno(OSError)
        self.size = size
        self.name = name
        return self

    @staticmethod
    def exists(str name):
        """Whether the name is still there."""
        return _os.path.exists(segment_path(name))

    cdef bint rename(self, str name) except -1:
        """Give it this name. False if its own is gone."""
        try:
            _os.rename(segment_path(self.name), segment_path(name))
        except OSError:
            return False
        self.name = name
        return True

    @staticmethod
    def unlink(str name):
        """Remove the name; mappings live on. False if it was gone already."""
        try:
            _os.unlink(segment_path(name))
        except FileNotFoundError:
            return False
        return True

    def __getbuffer__(self, Py_buffer *view, int flags):
        unpoison(self.start, self.size)               # the owner of a view may write anywhere, as a hostile peer does
        PyBuffer_FillInfo(view, self, self.start, self.size, 0, flags)


cdef str segment_path(str name):
    if name.startswith("/"):
        return name
    if "/" in name or not name:
        raise ValueError(f"not a segment name: {name!r}")
    return "/dev/shm/" + name

# Mappings: the segments that a process reads, and what it keeps of them for the next time.
#
# A segment is mapped once per process, read-only, and the mapping kept while it is of use: reading through an old
# mapping costs nothing, through a new one a fault per page. A large object that must be writable is mapped once more,
# copy-on-write; that mapping is kept too: the pages that were written are given back (the kernel tells which),
# whereupon it shows the stored bytes again, and those of the slot's next object later.
#
# Rule 1: what a place says is checked against the segment's real size before anything is mapped.
# Rule 2: a private mapping is used again only if it is known which of its pages were written, and for its own slot.
# Rule 3: what is called when a Loan ends allocates nothing that the collector knows: that may be in the middle of
#         anything.
# Not here: what is looked at (loan), making segments (store).

cdef extern from "<fcntl.h>" nogil:
    int c_open "open"(const char *path, int flags)
    int O_RDONLY, O_CLOEXEC, O_NOFOLLOW

cdef extern from "<unistd.h>" nogil:
    ssize_t c_pread "pread"(int fd, void *to, size_t size, long offset)

cdef extern from "<sys/mman.h>" nogil:
    int madvise(void *start, size_t size, int advice)
    int MADV_DONTNEED

cdef enum:
    PRIVATE_MAP_BYTES = 1 << 20       # a writable object from here on is mapped, a smaller one copied
    MOST_SPARE = 256                  # private mappings that are kept for the next object of their slots
    PAGES_AT_ONCE = 512               # of which the kernel is asked

cdef uint64_t MAPPING_NS = 60000000000   # a mapping that was of no use for so long is given up: as long as pools keep


cdef class Mapping:
    """A whole segment, read-only."""
    cdef char *start
    cdef size_t size
    cdef uint64_t segment
    cdef str name
    cdef uint64_t used_ns

    def __dealloc__(self):
        if self.start != NULL:
            munmap(self.start, self.size)


cdef struct PrivateMapping:
    # A slot, copy-on-write.
    char *start
    size_t size
    uint64_t segment
    size_t offset
    uint64_t used_ns
    PrivateMapping *next           # of those that are spare, or in use
    PrivateMapping *previous       # of those in use


cdef int pages_tell = -1              # whether the kernel says which pages of a private mapping were written; -1: unknown


cdef inline bint is_own_page(uint64_t entry) noexcept nogil:
    """Whether this page is there or swapped out, and is neither a file's nor shared: bits of /proc/pid/pagemap."""
    return entry >> 62 != 0 and not entry >> 61 & 1


cdef bint give_written_back(char *start, size_t size) noexcept nogil:
    """Have a private mapping show its file again everywhere. False if it is not known where it does not."""
    cdef uint64_t[PAGES_AT_ONCE] entries
    cdef size_t pages = (size + PAGE - 1) // PAGE
    cdef size_t first = <size_t>start // PAGE
    cdef size_t done = 0
    cdef size_t count, i, run
    cdef bint known = True
    # Opened each time: a descriptor kept over fork() would tell of the parent's memory.
    cdef int fd = c_open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC)
    if fd < 0:
        return False
    while known and done < pages:
        count = min(pages - done, <size_t>PAGES_AT_ONCE)
        if c_pread(fd, entries, count * 8, <long>((first + done) * 8)) != <ssize_t>(count * 8):
            known = False
            break
        i = 0
        while i < count:
            run = i
            while i < count and is_own_page(entries[i]):
                i += 1
            if i > run and madvise(start + (done + run) * PAGE, (i - run) * PAGE, MADV_DONTNEED):
                known = False
            i += 1
        done += count
    c_close(fd)
    return known


cdef int try_pages(str name) except -1:
    """Find out whether the kernel tells written pages from others, with one of this segment."""
    global pages_tell
    cdef char *start = map_file(name, 0, 1, PROT_READ | PROT_WRITE, MAP_PRIVATE, NULL)
    cdef uint64_t[2] entries
    cdef int fd = c_open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC)
    cdef long at = <long>(<size_t>start // PAGE * 8)
    cdef volatile char *byte = start
    cdef char was = byte[0]
    pages_tell = fd >= 0 and c_pread(fd, &entries[0], 8, at) == 8
    byte[0] = was
    pages_tell = pages_tell and c_pread(fd, &entries[1], 8, at) == 8
    pages_tell = pages_tell and entries[0] >> 61 & 5 == 5 and is_own_page(entries[1])
    if fd >= 0:
        c_close(fd)
    munmap(start, 1)
    return 0


cdef class IdList:
    """Ids that wait to be said."""
    cdef uint64_t *ids
    cdef size_t length
    cdef size_t room

    def __dealloc__(self):
        free(self.ids)

    cdef void add(self, uint64_t id) noexcept:
        cdef uint64_t *ids
        if self.length == self.room:
            ids = <uint64_t *>realloc(self.ids, (self.room * 2 + 64) * sizeof(uint64_t))
            if ids == NULL:
                return               # the object stays until this process ends
            self.ids = ids
            self.room = self.room * 2 + 64
        self.ids[self.length] = id
        self.length += 1

    cdef void drop_first(self, size_t count) noexcept:
        memmove(self.ids, self.ids + count, (self.length - count) * sizeof(uint64_t))
        self.length -= count


cdef class Mappings:
    """The segments that this process reads, and the ids of objects that it need not read any more."""
    cdef str epoch, folder
    cdef dict by_segment
    cdef IdList given_back
    cdef PrivateMapping *in_use          # by a Loan
    cdef PrivateMapping *spare           # the one used last first
    cdef size_t spares
    cdef uint64_t loans              # that there ever were
    cdef uint64_t forked_loans       # up to this one a forked child may look at those that are shared
    cdef uint64_t old_loans          # up to this one they are of a scheduler that is gone: nobody wants them back
    cdef bint has_left               # nobody keeps its word towards this process any more
    cdef readonly uint64_t open_loans    # that somebody looks at, and has to be told when they end
    cdef readonly uint64_t unread_loans  # of these, those that were never opened

    def __init__(self, str epoch not None, str folder not None):
        self.epoch, self.folder = epoch, folder
        self.by_segment = {}
        self.given_back = IdList()

    def __dealloc__(self):
        drop_mappings(self.spare)

    cdef Mapping find(self, uint64_t segment):
        cdef Mapping mapping = self.by_segment.get(segment)
        cdef str epoch = self.epoch
        if mapping is None:
            mapping = Mapping.__new__(Mapping)
            mapping.segment = segment
            mapping.name = area_name(self.epoch, self.folder, segment)
            mapping.start = map_file(mapping.name, 0, 0, PROT_READ, MAP_SHARED, &mapping.size)
            if self.epoch is epoch:                     # another may have begun while other threads ran
                self.by_segment[segment] = mapping
        mapping.used_ns = now_ns()
        return mapping

    cdef PrivateMapping *map_private(self, Place *place, Mapping mapping) except NULL:
        """The slot at this place, to be written to by one who has it alone."""
        cdef PrivateMapping **at = &self.spare
        cdef PrivateMapping *found
        cdef size_t skipped = place.offset % PAGE
        cdef size_t offset = place.offset - skipped
        # All of the slot, so that it will do for whatever comes to lie there.
        cdef size_t size = min(skipped + slot_bytes_for(place.size), mapping.size - offset)
        while at[0] != NULL:
            found = at[0]
            if found.segment == place.segment and found.offset == offset and found.size >= skipped + place.size:
                at[0] = found.next
                self.spares -= 1
                self.note_in_use(found)
                return found
            at = &found.next
        if pages_tell < 0:
            try_pages(mapping.name)
        found = <PrivateMapping *>malloc(sizeof(PrivateMapping))
        if found == NULL:
            raise MemoryError("no memory for a mapping")
        try:
            found.start = map_file(mapping.name, offset, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, NULL)
        except BaseException:
            free(found)
            raise
        found.size, found.segment, found.offset = size, place.segment, offset
        self.note_in_use(found)
        return found

    cdef void note_in_use(self, PrivateMapping *mapping) noexcept:
        mapping.previous = NULL
        mapping.next = self.in_use
        if self.in_use != NULL:
            self.in_use.previous = mapping
        self.in_use = mapping

    cdef void make_own(self) noexcept:
        """Have the kernel copy whatever is still the slots' of what is in use: 25,000 pages per 100 MB, some 40 ms."""
        cdef PrivateMapping *mapping = self.in_use
        cdef size_t at
        while mapping != NULL:
            for at in range(0, mapping.size, PAGE):
                touch(mapping.start + at)
            mapping = mapping.next

    cdef void put_aside(self, PrivateMapping *mapping) noexcept:
        """Nobody looks at this any more."""
        if mapping.previous != NULL:
            mapping.previous.next = mapping.next
        else:
            self.in_use = mapping.next
        if mapping.next != NULL:
            mapping.next.previous = mapping.previous
        mapping.next = NULL
        if pages_tell != 1 or self.spares >= MOST_SPARE or not give_written_back(mapping.start, mapping.size):
            drop_mappings(mapping)
            return
        mapping.used_ns = now_ns()
        mapping.next = self.spare
        self.spare = mapping
        self.spares += 1

    cdef Loan lend(self, Place *place, bint is_counted):
        """The object at this place; with `is_counted` its id is noted when nobody looks at it any more."""
        cdef Loan loan = Loan.__new__(Loan)
        self.loans += 1
        loan.number = self.loans
        loan.place = place[0]
        loan.mappings = self
        if is_counted:
            loan.count()
        return loan

    def lend_at(self, place, bint is_counted=True):
        """The same for a place as a tuple (object, segment, offset, size, flags)."""
        cdef Place at
        memset(&at, 0, sizeof(Place))
        at.object, at.segment, at.offset, at.size, at.flags = place
        return self.lend(&at, is_counted)

    def begin_epoch(self, str epoch not None, str folder not None):
        """There is another scheduler, and names are others. What is looked at stays as it is; nobody is told of its end."""
        self.epoch, self.folder = epoch, folder
        self.by_segment.clear()
        self.trim_spare()
        self.given_back.length = 0
        self.old_loans = self.loans

    def on_fork(self):
        """This process forks: what it looks at now, its child does too, and nobody hears when it does not any more."""
        self.make_own()
        self.forked_loans = self.loans

    def leave(self, bint goes_on_looking=True):
        """What is looked at stays as it is, though it may be freed from here on; what is not yet open never will be."""
        self.has_left = True
        if goes_on_looking:
            self.make_own()

    def give_back(self, uint64_t object):
        """This process holds the object no more."""
        self.given_back.add(object)

    def take_given_back(self):
        """The ids to be said, which are forgotten here."""
        ids = [self.given_back.ids[i] for i in range(self.given_back.length)]
        self.given_back.length = 0
        return ids

    def trim(self, uint64_t now):
        """Give up mappings that have not been of use for a while, or whose segment is gone."""
        cdef Mapping mapping
        for mapping in list(self.by_segment.values()):      # other threads map more while a name is looked up
            if now > mapping.used_ns + MAPPING_NS or not Segment.exists(mapping.name):
                self.by_segment.pop(mapping.segment, None)
        self.trim_spare()

    cdef int trim_spare(self) except -1:
        """Give up the private mappings of segments that are not mapped any more, and so have not been of use either."""
        cdef PrivateMapping *left = self.spare
        cdef PrivateMapping *old = NULL
        cdef PrivateMapping *mapping
        cdef PrivateMapping **end
        self.spare = NULL
        self.spares = 0
        end = &self.spare
        while left != NULL:
            mapping = left
            left = mapping.next
            if mapping.segment in self.by_segment:
                mapping.next = NULL
                end[0] = mapping
                end = &mapping.next
                self.spares += 1
            else:
                mapping.next = old
                old = mapping
        drop_mappings(old)
        return 0

    def __len__(self):
        """Segments that are mapped."""
        return len(self.by_segment)


cdef void drop_mappings(PrivateMapping *mapping) noexcept nogil:
    """Unmap this one and all after it."""
    cdef PrivateMapping *next
    while mapping != NULL:
        next = mapping.next
        munmap(mapping.start, mapping.size)
        free(mapping)
        mapping = next


cdef char *map_file(str name, size_t offset, size_t size, int protection, int flags, size_t *real_size) except NULL:
    """Map a segment; with size 0 all of it. OSError if it is not there or shorter than that."""
    cdef void *start
    cdef size_t length
    cdef int fd = -1
    path = segment_path(name)
    encoded = path.encode()
    fd = c_open(encoded, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
    if fd < 0:
        raise OSError(errno, _os.strerror(errno), path)
    try:
        length = _os.fstat(fd).st_size
        if offset + size > length or length == 0:
            raise ValueError(f"segment {path} has {length} bytes, not {offset + size}")
        if size == 0:
            size = length
        start = mmap(NULL, size, protection, flags, fd, offset)
        if start == MAP_FAILED:
            raise OSError(errno, _os.strerror(errno), path)
    finally:
        c_close(fd)
    if real_size != NULL:
        real_size[0] = size
    return <char *>start

# Directory: where a client's numbers lead: its tasks' to rows, its functions' to functions.
#
# Numbers count up, so they are looked up in pages of consecutive ones, and most look-ups find the page that the one
# before has found. The pages stand in a hash table, since what is open need not be one short run of numbers: a client may
# have a few tasks that are very old beside millions that are done, and a hostile one may leave any gaps. A page is small,
# so that a task with no other near it costs no more than a second row would.
#
# A walk visits all pages in the order in which they were made. It can be left off after any page and gone on with later,
# whatever comes and goes meanwhile, so that a million tasks are cleared in pieces.
#
# Rule 1: a page is here if and only if one of its numbers leads somewhere. One empty page is kept for the next.
# Rule 2: the table is never more than half full. Where a page stands in it depends on a number that its owner cannot
#         know, so nobody can choose numbers that make others long to find.
# Not here: what the numbers mean (clients).

cdef enum:
    LEAST_SLOTS = 16
    MOST_EMPTY_SLOTS = 1024      # a table of more than so many goes with its last page

cdef struct Page:
    uint64_t key                 # its numbers without their last PAGE_SHIFT bits
    Page *next                   # in the order of their making
    Page *previous
    uint32_t used                # numbers that lead somewhere
    uint32_t target[PAGE_NUMBERS]    # 0: nowhere

cdef struct Directory:
    Page **slots
    uint64_t slot_count          # a power of two
    uint64_t multiplier          # odd
    uint64_t pages
    Page *recent                 # the one that was found last
    Page *first
    Page *last
    Page *walk                   # the page to be visited next; NULL: there is no walk
    Page *walk_end               # the page to be visited last
    Page *spare


cdef uint64_t DIRECTORY_PAGE_BYTES = sizeof(Page) + 4 * sizeof(Page *)    # with its share of the slots


cdef inline void directory_begin(Directory *directory, uint64_t multiplier) noexcept nogil:
    """Make it empty. `multiplier` is any number that nobody can guess."""
    memset(directory, 0, sizeof(Directory))
    directory.multiplier = multiplier | 1


cdef inline uint64_t directory_slot(Directory *directory, uint64_t key) noexcept nogil:
    """Where the page is looked for first: the high bits of a product depend on all bits of both."""
    return (key * directory.multiplier >> 32) & (directory.slot_count - 1)


cdef inline Page *directory_page(Directory *directory, uint64_t key) noexcept nogil:
    """The page with this key; NULL if there is none. Tasks come on the last one while others end on the one found last."""
    if directory.recent != NULL and directory.recent.key == key:
        return directory.recent
    if directory.last != NULL and directory.last.key == key:
        return directory.last
    return directory_search(directory, key)


cdef Page *directory_search(Directory *directory, uint64_t key) noexcept nogil:
    cdef uint64_t slot
    cdef Page *page
    if directory.pages == 0:
        return NULL
    slot = directory_slot(directory, key)
    while True:
        page = directory.slots[slot]
        if page == NULL:
            return NULL
        if page.key == key:
            directory.recent = page
            return page
        slot = (slot + 1) & (directory.slot_count - 1)


cdef inline uint32_t directory_find(Directory *directory, uint64_t number) noexcept nogil:
    """Where this number leads; 0 if nowhere."""
    cdef Page *page = directory_page(directory, number >> PAGE_SHIFT)
    return 0 if page == NULL else page.target[number & (PAGE_NUMBERS - 1)]


cdef void directory_put(Directory *directory, Page *page) noexcept nogil:
    cdef uint64_t slot = directory_slot(directory, page.key)
    while directory.slots[slot] != NULL:
        slot = (slot + 1) & (directory.slot_count - 1)
    directory.slots[slot] = page


cdef bint directory_grow(Directory *directory) noexcept nogil:
    cdef uint64_t count = max(directory.slot_count * 2, <uint64_t>LEAST_SLOTS)
    cdef Page **slots = <Page **>calloc(count, sizeof(Page *))
    cdef Page *page = directory.first
    if slots == NULL:
        return False
    free(directory.slots)
    directory.slots, directory.slot_count = slots, count
    while page != NULL:
        directory_put(directory, page)
        page = page.next
    return True


cdef Page *directory_add(Directory *directory, uint64_t key) noexcept nogil:
    """A new page; NULL if there is no memory."""
    cdef Page *page
    if 2 * (directory.pages + 1) > directory.slot_count and not directory_grow(directory):
        return NULL
    page = directory.spare if directory.spare != NULL else <Page *>malloc(sizeof(Page))
    directory.spare = NULL
    if page == NULL:
        return NULL
    memset(page, 0, sizeof(Page))
    page.key = key
    page.previous = directory.last
    if directory.last != NULL:
        directory.last.next = page
    else:
        directory.first = page
    directory.last = page
    directory.pages += 1
    directory_put(directory, page)
    return page


cdef bint directory_note(Directory *directory, uint64_t number, uint32_t target) noexcept nogil:
    """This number, which led nowhere, leads to `target` from now on. False if there is no memory."""
    cdef Page *page = directory_page(directory, number >> PAGE_SHIFT)
    if page == NULL:
        page = directory_add(directory, number >> PAGE_SHIFT)
        if page == NULL:
            return False
    page.target[number & (PAGE_NUMBERS - 1)] = target
    page.used += 1
    return True


cdef void directory_forget(Directory *directory, uint64_t number) noexcept nogil:
    """This number leads nowhere any more."""
    cdef Page *page = directory_page(directory, number >> PAGE_SHIFT)
    page.target[number & (PAGE_NUMBERS - 1)] = 0
    page.used -= 1
    if page.used == 0:
        directory_drop(directory, page)


cdef void directory_drop(Directory *directory, Page *page) noexcept nogil:
    """Nothing is on this page any more."""
    cdef uint64_t mask = directory.slot_count - 1
    cdef uint64_t hole = directory_slot(directory, page.key)
    cdef uint64_t slot
    cdef Page *other
    while directory.slots[hole] != page:
        hole = (hole + 1) & mask
    # Whatever stands behind it may have been put there for want of this place, and is looked for from before it.
    slot = (hole + 1) & mask
    while directory.slots[slot] != NULL:
        other = directory.slots[slot]
        if ((slot - directory_slot(directory, other.key)) & mask) >= ((slot - hole) & mask):
            directory.slots[hole] = other
            hole = slot
        slot = (slot + 1) & mask
    directory.slots[hole] = NULL
    if directory.walk == page:
        directory.walk = NULL if directory.walk_end == page else page.next
    if directory.walk_end == page:
        directory.walk_end = page.previous
    if page.previous != NULL:
        page.previous.next = page.next
    else:
        directory.first = page.next
    if page.next != NULL:
        page.next.previous = page.previous
    else:
        directory.last = page.previous
    if directory.recent == page:
        directory.recent = NULL
    directory.pages -= 1
    if directory.spare == NULL:
        directory.spare = page
    else:
        free(page)
    if directory.pages == 0 and directory.slot_count > MOST_EMPTY_SLOTS:
        free(directory.slots)
        directory.slots, directory.slot_count = NULL, 0


cdef inline void directory_walk(Directory *directory) noexcept nogil:
    """Begin a walk over all pages that there are now, in place of one that is under way."""
    directory.walk, directory.walk_end = directory.first, directory.last


cdef inline bint directory_step(Directory *directory, uint64_t *number) noexcept nogil:
    """The first number of the next page of the walk. False if it is over."""
    cdef Page *page = directory.walk
    if page == NULL:
        return False
    number[0] = page.key << PAGE_SHIFT
    directory.walk = NULL if page == directory.walk_end else page.next
    return True


cdef void directory_free(Directory *directory) noexcept nogil:
    """Nothing is found in it any more."""
    cdef Page *page = directory.first
    cdef Page *next
    while page != NULL:
        next = page.next
        free(page)
        page = next
    free(directory.spare)
    free(directory.slots)
    directory_begin(directory, directory.multiplier)

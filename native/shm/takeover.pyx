# Takeover: a worker's rings get another owner, since the scheduler that held their other end is gone.
#
# The rings stay, and so does what is in them: unread results are read by the next owner. What the worker has not
# claimed is taken back, which needs nothing from the worker: it may be in the midst of a task that runs for hours. What
# it has claimed and not answered is what it runs. The page tells the worker from which position on tasks and
# announcements are the new owner's: numbers of functions mean something else there.
#
# Rule 1: the positions stand in the page before `epoch`, which the worker looks at, and `epoch` before anything is
#         written.
# Not here: how the rings get to the next owner (scaler.colocation.handover), what becomes of what the worker runs
# (survivors).


cdef tuple take_over(Segment memory, uint64_t epoch, RunningTask running, Ring results, Ring down):
    """The rings in this segment are ours from now on. (task, attempt) that the worker runs; None if it runs nothing."""
    cdef PeerPage *page = <PeerPage *>memory.start
    cdef Record *record
    page.takeover_tasks = running.tasks.head
    page.takeover_down = down.head
    page.takeover_results = results.tail
    store_release(&page.epoch, epoch)                   # SYNC POINT takeover
    full_fence()
    running.take_back_all()
    record = running.find_claimed()
    return None if record == NULL else (record.task, record.attempt)


cdef set unread_objects(Ring results, uint64_t position):
    """The objects of results in the producer's own ring from this position on; None if they are not all there any more."""
    cdef Walk walk = results.walk_from(position)
    cdef Record *record
    cdef int64_t i
    cdef set found = set()
    if results.head - position > results.capacity:
        return None
    record = results.next_of(&walk)
    while record != NULL:
        if record.kind == KIND_RESULT and record.flags & FLAG_OBJECTS:
            for i in range(places_in(payload_of(record), walk.record_bytes - RECORD_HEADER_BYTES)):
                found.add(place_at(payload_of(record), i).object)
        record = results.next_of(&walk)
    return None if results.broken else found

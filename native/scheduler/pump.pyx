# Pump: the scheduler's side of all rings, driven until nothing is left to do.
#
# One wake-up drains every ring that has news, lets the core place and deliver, and goes on until a pass finds nothing;
# only then does it arm the bell and return, so that an event loop's cost is paid per wake-up and not per task.
#
# Rule 1: the bitmap of news is a hint; `look_everywhere` drains every ring, after a time-out or a death. So does a pass
#         when LOOK_AGAIN_NS have gone by since: a peer that clears the bits of others and rings all the time would keep
#         the time-out from ever coming.
# Rule 2: one peer gets a turn of MOST_RECORDS units per pass, so nobody waits for another's flood. A unit is one for
#         a record, more for a long one and for a control record, whatever the peer does to its rings meanwhile. What is
#         left over is taken in the next pass, after everybody else's turn.
# Rule 3: the core hands on what it is given, and may do so to other hosts. So a record that no reader takes (bounds) does
#         not get into the core: the peer that has written it is shut out.

cdef enum:
    UNIT_BYTES = 1024        # a record costs one unit more for each of these
    CONTROL_UNITS = 8        # what a control record costs: it becomes an object, and is more work than a task
    MOST_CHILDREN = 256      # that are taken in one pass
    LOOK_AGAIN_NS = 100000000    # between two looks at every ring, at most, while there are passes at all

cdef class Peer:
    """A co-located client or worker: its rings and its index in the core."""
    cdef readonly Ring tasks, results, up, down
    cdef readonly bint is_worker
    cdef readonly uint32_t index
    cdef readonly uint32_t slot
    cdef readonly uint64_t tag     # of the objects it makes
    cdef readonly RunningTask running    # of a worker
    cdef readonly bint broken
    cdef uint64_t held_back        # what the next submit costs, which has to wait for room in the quota; 0: nothing has
    cdef uint64_t announces_later  # bytes of the function that is next in its control ring and has to wait; 0: none has
    cdef set unwanted              # tasks that were cancelled while they had to wait in the submit ring
    cdef uint64_t unwanted_to      # the position in it up to which they are
    cdef uint64_t cleared_to       # the position up to which tasks wait that were cleared, with numbers
    cdef uint64_t cleared_before   # below this one
    cdef bint is_catching_up       # the next control record waits until the submits before it have been taken
    cdef uint64_t catch_up_to      # the position in the submit ring up to which that is
    cdef Children children         # of a worker's own client; else None
    cdef uint32_t *sleeping
    cdef int doorbell


cdef uint64_t announced_bytes(said) except? 0:
    """What the function that a client announces with this counts for, beside FUNCTION_BYTES."""
    return len(said.payload) + (REQUEST_BYTES if said.flags & FLAG_REQUEST else 0)


cdef class Pump:
    """Drains the rings of all co-located peers into the core."""
    cdef readonly SchedulerCore core
    cdef readonly uint64_t epoch       # of the scheduler, as workers see it in their pages
    cdef Segment bell_memory
    cdef BellPage *bell
    cdef readonly int eventfd
    cdef list peers                   # by slot; None where free
    cdef list held_back
    cdef list nested                  # peers with children
    cdef set survivors                # workers that still run what another scheduler gave them
    cdef readonly list controls       # (peer, RecordCopy) that the shell has to look at
    cdef readonly list stops          # (peer, task, attempt) that are to be stopped if they run: for the shell
    cdef public uint32_t ticks        # since the shell last looked for tasks that run too long
    cdef readonly list broken         # peers whose rings were found to make no sense: the shell shuts them out
    cdef readonly uint64_t passes, wakes, missed
    cdef char[CHILD_SLOT_BYTES] child_space
    cdef uint64_t[MOST_RECORD_WORDS] record_space   # where a peer's record is looked at
    cdef uint64_t next_look_ns
    cdef int64_t units                # what is left of the turn of the peer that is drained now

    def __init__(self, SchedulerCore core not None, Segment bell_memory not None, int eventfd, uint64_t epoch=1):
        self.core = core
        self.epoch = epoch
        self.bell_memory = bell_memory
        self.bell = <BellPage *>bell_memory.start
        self.eventfd = eventfd
        self.next_look_ns = now_ns() + LOOK_AGAIN_NS
        self.peers = []
        self.held_back = []
        self.nested = []
        self.survivors = set()
        self.controls = []
        self.broken = []
        self.stops = []

    def add(self, Segment memory not None, bint is_worker, int doorbell, *, uint32_t client_bits=0, uint32_t queue_size=1000,
            uint64_t tag=0, uint64_t worker_tag=0, bytes supply not None=b""):
        """Take up a peer whose segment has been checked. The Peer; its slot is its bit in the news.

        With a `tag` it is a worker that has come over from another scheduler, and is known by that. A client with
        `worker_tag` is that worker's own: of the tasks that run in it. `supply` is what a worker has (resources).
        """
        cdef Peer peer = Peer.__new__(Peer)
        cdef uint32_t slot = 0
        rings = peer_rings(memory)
        peer.tasks, peer.results, peer.up, peer.down = rings
        peer.is_worker = is_worker
        peer.doorbell = doorbell
        peer.sleeping = &(<PeerPage *>memory.start).sleeping
        while slot < len(self.peers) and self.peers[slot] is not None:
            slot += 1
        if slot >= NEWS_WORDS * 64:
            raise ValueError(f"more than {NEWS_WORDS * 64} peers on one host")
        control = RingOutlet(peer.down, memory, SLEEPING_OFFSET, doorbell)
        if is_worker:
            peer.running = RunningTask(memory, peer.tasks)
            peer.running.report_to(self.bell_memory, slot)
            tasks = RingOutlet(peer.tasks, memory, SLEEPING_OFFSET, doorbell, stops=self.stops, owner=peer)
            peer.index = self.core.on_worker_joined(tasks, control, queue_size, tag=tag, now=now_ns(),
                                                    supply=supply)
            peer.tag = self.core.worker_tag(peer.index)
            self.core.pool.workers[peer.index].in_place_at = &(<PeerPage *>memory.start).in_place
        else:
            peer.children = Children(memory) if worker_tag else None
            peer.index = self.core.on_client_joined(client_bits, RingOutlet(peer.results, memory, SLEEPING_OFFSET, doorbell),
                                                    control, worker_tag, now_ns())
            peer.tag = client_bits
            if worker_tag:
                self.nested.append(peer)
        peer.slot = slot
        if slot == len(self.peers):
            self.peers.append(peer)
        else:
            self.peers[slot] = peer
        if tag:
            self.take_over(peer, memory)
            note_news(self.bell, slot)
        elif is_worker:
            (<PeerPage *>memory.start).epoch = self.epoch
        return peer

    cdef int take_over(self, Peer peer, Segment memory) except -1:
        cdef tuple runs = take_over(memory, self.epoch, peer.running, peer.results, peer.down)
        self.core.on_survivor(peer.index, runs)
        if runs is not None:
            self.survivors.add(peer)
        return 0

    cdef int look_after_survivors(self) except -1:
        """Of what workers were given by another scheduler, see what has ended with no result to be read here."""
        cdef Peer peer
        cdef tuple runs
        for peer in list(self.survivors):
            runs = self.core.survivor_runs(peer.index)
            if runs is not None and peer.running.is_it(*runs):
                continue
            self.survivors.remove(peer)
            self.drain(peer, now_ns())
            if runs is not None and not peer.broken:  # else it may be at it still, and will be shut out
                self.core.on_survivor_idle(peer.index, *runs)
        return 0

    def remove(self, Peer peer not None, bytes facts not None=b"{}", bint more_comes=False):
        """The peer is gone: drain what it left, then tell the core. Names of segments in its store that are still of use.

        `facts` and `more_comes` are for the core, about a worker's death.
        """
        cdef object names
        if peer.slot >= len(self.peers) or self.peers[peer.slot] is not peer:
            return []
        self.drain_all(peer)
        self.peers[peer.slot] = None
        self.survivors.discard(peer)
        if peer in self.held_back:
            self.held_back.remove(peer)
        if peer.children is not None:
            self.nested.remove(peer)
        if peer.is_worker:
            names = self.core.on_worker_left(peer.index, now_ns(), (), facts, more_comes)
        else:
            names = self.core.on_client_left(peer.index, now_ns())
        self.core.flush()
        return names

    def answer_for(self, Peer peer not None, RecordRun run not None):
        """Give the core the one record of `run`, as if this worker had said it after all that it has said."""
        cdef Record *record = run.peek()
        self.drain_all(peer)
        if record != NULL:
            self.core.on_result(peer.index, record, now_ns())

    cdef int drain_all(self, Peer peer) except -1:
        """Take all that is there. What a peer that lives writes from now on is not followed."""
        cdef Ring ring = peer.results if peer.is_worker else peer.tasks
        cdef uint64_t end = ring.tail + min(ring.unread_bytes(), <uint64_t>ring.capacity)
        cdef uint64_t up_end = peer.up.tail + min(peer.up.unread_bytes(), <uint64_t>peer.up.capacity)
        while (ring.tail < end or peer.up.tail < up_end) and self.drain(peer, now_ns()):
            pass
        return 0

    cdef inline bint has_turn(self) noexcept nogil:
        """Whether there is anything left of the turn of the peer that is drained now."""
        return self.units > 0

    cdef inline void note_taken(self, Record *record) noexcept nogil:
        self.units -= 1 + record.record_bytes // UNIT_BYTES

    cdef uint32_t drain(self, Peer peer, uint64_t now):
        """Take what is in the peer's rings, for one turn. How many records there were."""
        cdef uint32_t n
        self.units = MOST_RECORDS
        n = self.drain_control(peer)
        if peer.is_worker:
            n += self.drain_results(peer, now)
        else:
            n += self.drain_submits(peer, False, now)
        if peer.tasks.broken or peer.results.broken or peer.up.broken:
            self.shut_out(peer)
        return n

    cdef int shut_out(self, Peer peer) except -1:
        """What it has written makes no sense."""
        if not peer.broken:
            peer.broken = True
            self.broken.append(peer)
        return 0

    cdef inline bint may_submit(self, Record *record) noexcept nogil:
        return record_error(KIND_TASK, record.flags, 0, options_of(record), payload_of(record), payload_bytes_of(record)) == NULL

    cdef uint32_t drain_results(self, Peer peer, uint64_t now):
        cdef Record *record
        cdef uint32_t n = 0
        peer.tasks.expect_writes()             # a worker that answers is given tasks next, and its ring is in no cache
        while self.has_turn():
            record = peer.results.look(<char *>self.record_space)
            if record == NULL:
                break
            if record.kind == KIND_RESULT:
                if record_error(KIND_RESULT, record.flags, record.status, 0, payload_of(record), payload_bytes_of(record)) != NULL:
                    peer.results.broken = True
                    break
                self.core.on_result(peer.index, record, now)
            elif record.kind == KIND_RELEASE:
                self.core.objects.release(peer.tag, payload_of(record), payload_bytes_of(record))
            self.note_taken(record)
            peer.results.step_over_peeked()
            n += 1
        if n and peer.results.recycle():
            ring_doorbell(peer.sleeping, peer.doorbell)
        self.core.has_room(peer.index)         # it may be that which it had to say
        return n

    cdef uint32_t drain_submits(self, Peer peer, bint everything, uint64_t now):
        """Take new tasks; with `everything`, all up to `catch_up_to`, be it more than the client may have queued.

        `everything` is for what a control record refers to, so it ends at a function that comes after that.
        """
        cdef Record *record
        cdef uint64_t position
        cdef uint32_t n = 0
        while self.has_turn() and not (everything and peer.tasks.tail >= peer.catch_up_to):
            record = peer.tasks.look(<char *>self.record_space)
            if record == NULL:
                break
            if record.kind != KIND_RELEASE and record.kind != KIND_FORGET and not self.has_room_for(peer, record):
                break
            if record.kind == KIND_RELEASE or not self.core.knows_function(peer.index, record.function):
                if everything and record.kind != KIND_RELEASE:
                    break
                position = peer.tasks.tail
                if not everything:
                    self.drain_control(peer)          # what it names, or names what it releases, was announced before that
                    if peer.tasks.tail != position:
                        continue                      # taken meanwhile; of the next one more may have been announced since
                    if not self.has_turn():
                        break                         # more may have been announced than there was time to read
                    if peer.announces_later and not self.can_do_without(peer, record):
                        break
            if record.kind == KIND_RELEASE:
                self.core.objects.release(peer.tag, payload_of(record), payload_bytes_of(record))
                self.note_taken(record)
                peer.tasks.step_over_peeked()
                n += 1
                continue
            self.note_taken(record)
            if record.kind == KIND_FORGET:
                self.core.on_forget(peer.index, record.function)
            elif self.may_submit(record):
                self.core.on_submit(peer.index, record, now)
                if peer.unwanted_to and self.is_unwanted(peer, record.task):
                    self.core.on_cancel(peer.index, record.task, now)
            else:
                peer.tasks.broken = True
                break
            peer.tasks.step_over_peeked()
            n += 1
        if n and peer.tasks.recycle():
            ring_doorbell(peer.sleeping, peer.doorbell)
        return n

    cdef inline bint has_room_for(self, Peer peer, Record *record):
        """Whether the core takes this task now. Else the peer is held back."""
        cdef uint64_t cost = cost_of(record)
        if not self.core.has_to_wait(peer.index, cost):
            return True
        self.hold_back(peer)
        peer.held_back = cost
        return False

    cdef inline int hold_back(self, Peer peer) except -1:
        """Look again at this peer when there may be room."""
        if not peer.held_back and not peer.announces_later:
            self.held_back.append(peer)
        return 0

    cdef bint has_to_announce_later(self, Peer peer, uint64_t n_bytes) except -1:
        """Whether the announcement that is next has to wait for room, after all that was submitted before. Then the peer is
        held back."""
        if not self.core.has_to_announce_later(peer.index, n_bytes):
            return False
        self.hold_back(peer)
        peer.announces_later = max(n_bytes, <uint64_t>1)
        return True

    cdef bint can_do_without(self, Peer peer, Record *record) except -1:
        """Whether this record is to be taken though a function waits to be announced, which it may name."""
        if record.kind == KIND_RELEASE or record.kind == KIND_FORGET:
            return False
        return self.core.knows_function(peer.index, record.function) or cost_of(record) == 0

    cdef bint release_held_back(self) except -1:
        """Look again at clients that had too much queued. True if one of them may go on."""
        cdef Peer peer
        cdef bint found = False
        cdef bint goes_on
        for peer in list(self.held_back):
            goes_on = False
            if peer.held_back and not self.core.has_to_wait(peer.index, peer.held_back):
                peer.held_back = 0
                goes_on = True
            if peer.announces_later and not self.core.has_to_announce_later(peer.index, peer.announces_later):
                peer.announces_later = 0
                goes_on = True
            if not peer.held_back and not peer.announces_later:
                self.held_back.remove(peer)
            if goes_on:
                note_news(self.bell, peer.slot)
                found = True
        return found

    cdef bint catch_up(self, Peer peer) except -1:
        """Take the tasks that were submitted before the control record that is next. False if that takes another turn."""
        if not peer.is_catching_up:
            peer.is_catching_up = True
            peer.catch_up_to = peer.tasks.tail + min(peer.tasks.unread_bytes(), <uint64_t>peer.tasks.capacity)
        self.drain_submits(peer, True, now_ns())
        if peer.tasks.tail < peer.catch_up_to and not self.has_turn() and not peer.tasks.broken:
            return False
        peer.is_catching_up = False
        return True

    cdef bint note_unwanted(self, Peer peer, int kind, int flags, uint64_t task) except -1:
        """A control record refers to tasks that wait for room in the quota: what they are to hear of it once they are
        taken. Else a ring of tasks would be let in with each such record. False if it has to wait with them."""
        if kind == KIND_FUNCTION or kind == KIND_WAIT or (kind == KIND_CANCEL and flags & CANCEL_UNBEGUN):
            return False                              # these may have brought an object for it; they are to be answered
        if kind == KIND_CANCEL and not self.core.clients.find_row(peer.index, task):
            if peer.unwanted is None:
                peer.unwanted = set()
            if <size_t>len(peer.unwanted) < MOST_UNWANTED:
                peer.unwanted.add(task)
        elif kind == KIND_CLEAR:
            peer.cleared_to, peer.cleared_before = peer.catch_up_to, NUMBER_MASK + 1
            if task != <uint64_t>-1:
                peer.cleared_before = task & NUMBER_MASK
        peer.unwanted_to = peer.catch_up_to
        return True

    cdef bint is_unwanted(self, Peer peer, uint64_t task) except -1:
        """Whether the task that has just been taken was cancelled before."""
        cdef bint found = (peer.tasks.tail < peer.cleared_to and task & NUMBER_MASK < peer.cleared_before
                           or peer.unwanted is not None and task in peer.unwanted)
        if peer.tasks.tail >= peer.unwanted_to:
            peer.unwanted_to = 0
            peer.unwanted = None
        return found

    cdef bint take_children(self, uint64_t now) except -1:
        """Give idle workers what tasks have submitted and not begun themselves. True if there was any.

        While a worker is idle still `hungry` is set, and a client that offers a child rings the bell.
        """
        cdef int left = MOST_CHILDREN
        cdef Peer peer
        cdef Record *record = <Record *>self.child_space
        cdef bint found = False
        cdef bint any_taken = True
        store_release32(&self.bell.hungry, 0)
        while any_taken and self.core.ready.levels == 0 and self.core.pool.has_idle():
            any_taken = False
            for peer in self.nested:
                if left == 0:
                    return True                       # the others have their turn first
                left -= 1
                if not self.core.may_take(peer.index, CHILD_SLOT_BYTES + sizeof(Row) + DIRECTORY_PAGE_BYTES):
                    continue                          # its own worker runs them
                if peer.children.take_oldest(self.child_space):
                    if not self.core.knows_function(peer.index, record.function):
                        self.units = MOST_RECORDS + CONTROL_UNITS * <int64_t>(peer.up.capacity // RECORD_HEADER_BYTES)
                        self.drain_control(peer)
                    if self.may_submit(record):
                        self.core.on_submit(peer.index, record, now)
                    else:
                        self.shut_out(peer)
                    self.core.dispatch(now)
                    any_taken = found = True
                    if not self.core.pool.has_idle():
                        break
            if not any_taken and not load_acquire32(&self.bell.hungry):
                store_release32(&self.bell.hungry, 1)
                full_fence()                          # SYNC POINT hungry
                any_taken = True                      # look once more
        return found

    cdef uint32_t drain_control(self, Peer peer):
        cdef uint32_t n = 0
        if not peer.up.has_news():
            return 0
        while self.has_turn():
            said = peer.up.read(stays=True)
            if said is None:
                break
            if not peer.is_worker and self.refers_to_submits(peer, said):
                if not self.catch_up(peer):
                    n += 1
                    break
                if (peer.held_back and peer.tasks.tail < peer.catch_up_to
                        and not self.note_unwanted(peer, said.kind, said.flags, said.task)):
                    break                             # it has to wait with them
                if said.kind == KIND_FUNCTION and self.has_to_announce_later(peer, announced_bytes(said)):
                    break
            peer.up.step_over()
            self.units -= CONTROL_UNITS + len(said.payload) // UNIT_BYTES
            n += 1
            if not self.hear(peer, said):
                peer.up.broken = True
                break
        if peer.up.take_producer_waits():
            ring_doorbell(peer.sleeping, peer.doorbell)
        return n

    cdef bint refers_to_submits(self, Peer peer, said) except -1:
        """Whether tasks that this control record of a client refers to, or that have brought what it names, may have been
        submitted just before it."""
        cdef int kind = said.kind
        return (kind == KIND_CANCEL or kind == KIND_CLEAR or kind == KIND_WAIT
                or kind == KIND_FUNCTION and (said.flags & FLAG_OBJECTS
                                              or not self.core.has_room_for_function(peer.index, announced_bytes(said))))

    cdef bint hear(self, Peer peer, said) except -1:
        """Act on a control record, or leave it to the shell. False if it makes no sense."""
        cdef int kind = said.kind
        if peer.is_worker:
            self.controls.append((peer, said))
        elif kind == KIND_FUNCTION:
            if function_error(said.flags, len(said.payload)) != NULL:
                return False
            self.core.on_function(peer.index, said.function, said.payload[:DIGEST_BYTES], said.flags,
                                  said.payload[DIGEST_BYTES:])
        elif kind == KIND_CANCEL and said.flags & CANCEL_UNBEGUN:
            self.core.on_recall(peer.index, said.task, now_ns())
        elif kind == KIND_CANCEL:
            self.core.on_cancel(peer.index, said.task, now_ns())
        elif kind == KIND_CLEAR:
            self.core.on_clear(peer.index, now_ns(), said.task)
        elif kind == KIND_WAIT:
            self.core.on_wait(peer.index, said.task, now_ns())
        elif kind == KIND_RETURN:
            self.core.on_return(peer.index, said.task, not said.flags, now_ns())
        else:
            self.controls.append((peer, said))
        return True

    def run(self, bint look_everywhere=False, uint64_t limit_ns=2000000):
        """Drain until a pass finds nothing, then arm the bell. True if it stopped at the time limit with work left."""
        cdef uint64_t now = now_ns()
        cdef uint64_t end = now + limit_ns
        cdef uint32_t words = news_words(len(self.peers))
        cdef bint found
        cdef bint was_silent = look_everywhere         # what is found now, nobody has said
        store_release32(&self.bell.sleeping, 0)
        if look_everywhere or now >= self.next_look_ns:
            look_everywhere = True
            self.next_look_ns = now + LOOK_AGAIN_NS
        while True:
            found = self.drain_news(words, look_everywhere, was_silent, now)
            look_everywhere = was_silent = False
            self.passes += 1
            if self.held_back and self.release_held_back():
                found = True
            if self.core.has_unfinished():
                self.core.go_on(now)
                self.core.flush()
                found = True
            if self.nested and self.take_children(now):
                self.core.flush()
                found = True
            if found:
                now = now_ns()
                if now > end:
                    return True
            elif arm_bell(self.bell, words):
                return False

    cdef bint drain_news(self, uint32_t words, bint look_everywhere, bint was_silent, uint64_t now) except -1:
        """One pass over the peers that have news, each for one turn. Whether there was any record."""
        cdef NewsWalk walk = walk_news(self.bell, words, look_everywhere)
        cdef uint32_t slot = 0
        cdef uint32_t n, delivered
        cdef uint32_t unflushed = 0
        cdef bint found = False
        cdef Peer peer
        while next_news(&walk, &slot) and slot < <uint32_t>len(self.peers):
            peer = self.peers[slot]
            if peer is None:
                continue
            delivered = 0 if peer.is_worker else self.core.deliver_waiting(peer.index)
            n = self.drain(peer, now)
            if n:
                found = True
                if was_silent and not is_hinted(&walk, slot):
                    self.missed += 1                   # nobody had said so: a wake-up was lost
                if not self.has_turn():
                    note_news(self.bell, slot)
            elif not (delivered or is_hinted(&walk, slot)):
                continue                               # it may say merely that there is room again
            self.core.dispatch(now)
            unflushed += n + delivered + 1
            if unflushed >= FLUSH_RECORDS:
                self.core.flush()
                unflushed = 0
        if unflushed:
            self.core.flush()
        return found

    def control(self, Peer peer not None, int kind, uint64_t task=0, bytes payload=b"", uint32_t items=0):
        """Write one control record to a peer and wake it. False if its control ring is full."""
        if peer.down.write(kind, task, payload, items=items) is None:
            return False
        ring_doorbell(peer.sleeping, peer.doorbell)
        return True

    @property
    def needs_ticks(self):
        """Whether anything is due without anybody saying something. A scheduler with nothing to do sleeps."""
        return self.core.has_work()

    def tick(self):
        """Time has passed: let the core see to tasks that wait behind a long one, and to survivors."""
        self.ticks += 1
        self.look_after_survivors()
        self.core.on_tick(now_ns())

    def hush(self):
        """The bell was heard: empty its eventfd."""
        self.wakes += 1
        quiet_bell(self.eventfd)

# Relay: the scheduler's end of the rings of one host's peers, when the scheduler is on another.
#
# It collects what they say into runs, writes what comes for them into their rings, and does the scheduler's
# compare-and-swaps when told to.
#
# Rule 1: no Python object per record, but for payloads with objects, which go aside as copies: those travel in chunks.
# Rule 2: a full ring is never waited for; what does not fit waits here, in order, for that peer alone.
# Rule 3: on the wire a peer has a number that counts up and is never another's, so what is still under way to or from
#         one that has left means nobody. Its slot, a bit in the bell page, is the next one's: of a bit that it has left
#         there, or sets as it ends, nothing comes but a look at rings without news.
# Not here: frames, sockets, objects in chunks (session.session_at_relay).

import collections as _collections

cdef uint64_t NO_TASK = <uint64_t>-1      # larger than any task's id

cpdef enum:
    MOST_NUMBERS = 15 << 20   # of one relay: each is in the tag of a worker's store, and those have 24 bits


cdef class RelayPeer:
    """A peer on the relay's host."""
    cdef readonly Ring tasks, results, up, down
    cdef readonly uint32_t number         # on the wire
    cdef readonly uint32_t slot           # its bit in the news
    cdef readonly RecordRun collected     # what it said, for the next batch
    cdef readonly list claimed            # (task, attempt) of what it was running when it left
    cdef RecordRun pending                # what did not fit into its ring
    cdef object untold                    # the same for control records: a RecordCopy each. What is pending comes after these
    cdef Ring inward, outward
    cdef uint32_t *sleeping
    cdef int doorbell
    cdef bint touched
    cdef readonly RunningTask running     # of a worker
    cdef uint32_t functions               # the highest number that a client has announced so far
    cdef readonly bint broken
    cdef Segment memory


cdef class Relay:
    """Drains and fills the rings of the peers of one host; `is_client` says what they are."""
    cdef Segment bell_memory
    cdef BellPage *bell
    cdef readonly int eventfd
    cdef readonly bint is_client
    cdef list peers                   # by slot; None where one has left
    cdef list free_slots
    cdef dict by_number
    cdef RelayPeer found              # the last one: the records of a batch come peer by peer
    cdef uint32_t next_number
    cdef readonly list asides         # (number, RecordCopy or RecordRun), in order: what goes before the next batch
    cdef readonly list broken         # peers whose rings were found to make no sense: to be shut out
    cdef public bint inputs_wait      # tasks wait for their objects to be sent: those that may need their results, too
    cdef bint holding                 # take no more tasks from the client for now
    cdef bint any_untold              # some peer has control records that wait for room
    cdef readonly bint armed          # the last run left nothing behind: a peer with news will ring
    cdef uint64_t next_look_ns        # when every ring is looked at next, with news or without
    cdef uint64_t[MOST_RECORD_WORDS] record_space   # where a peer's record is looked at

    def __init__(self, Segment bell_memory not None, int eventfd, bint is_client):
        self.bell_memory = bell_memory
        self.bell = <BellPage *>bell_memory.start
        self.eventfd = eventfd
        self.is_client = is_client
        self.peers = []
        self.free_slots = []
        self.by_number = {}
        self.asides = []
        self.broken = []

    def add(self, Segment memory not None, int doorbell, uint64_t epoch=0):
        """Take up a peer. A worker finds the `epoch` of its scheduler in its page."""
        cdef RelayPeer peer = RelayPeer.__new__(RelayPeer)
        if not self.free_slots and len(self.peers) >= NEWS_WORDS * 64:
            raise ValueError(f"more than {NEWS_WORDS * 64} workers on one host")
        if self.next_number >= MOST_NUMBERS:
            raise ValueError(f"{MOST_NUMBERS} workers have been started here: start the cluster anew")
        peer.memory = memory
        peer.tasks, peer.results, peer.up, peer.down = peer_rings(memory)
        peer.inward, peer.outward = (peer.tasks, peer.results) if self.is_client else (peer.results, peer.tasks)
        peer.collected = RecordRun()
        peer.pending = RecordRun()
        peer.untold = _collections.deque()
        peer.claimed = []
        peer.doorbell = doorbell
        peer.sleeping = &(<PeerPage *>memory.start).sleeping
        if not self.is_client:
            store_release(&(<PeerPage *>memory.start).epoch, epoch)
            peer.running = RunningTask(memory, peer.tasks)
        peer.number = self.next_number
        self.next_number += 1
        self.by_number[peer.number] = peer
        self.seat(peer)
        if peer.running is not None:
            peer.running.report_to(self.bell_memory, peer.slot)
        return peer

    cdef int seat(self, RelayPeer peer) except -1:
        """Give it a slot: one that was used before, if there is one."""
        if self.free_slots:
            peer.slot = self.free_slots.pop()
            self.peers[peer.slot] = peer
        else:
            peer.slot = <uint32_t>len(self.peers)
            self.peers.append(peer)
        return 0

    cpdef RelayPeer find_peer(self, uint32_t number):
        """The peer with this number; None if it has left."""
        if self.found is None or self.found.number != number:
            self.found = self.by_number.get(number)
        return self.found

    def remove(self, RelayPeer peer not None):
        """The peer has gone: collect the last it said. The run of that, to be sent before it is said to have left.

        Its `claimed` says from now on what it was running.
        """
        self.drain_all(peer)
        del self.by_number[peer.number]
        self.found = None
        self.peers[peer.slot] = None
        self.free_slots.append(peer.slot)
        peer.claimed = peer.tasks.claimed()
        if peer.tasks.broken and peer.running is not None:
            peer.running.add_noted(peer.claimed)
        return peer.collected

    def take_over(self, uint64_t epoch):
        """There is another scheduler, whose epoch this is: take back what workers have not begun, and what only the one
        before can have meant. (peer, what it runs: (task, attempt) or None) of each."""
        cdef RelayPeer peer
        cdef list found = []
        self.inputs_wait = False
        self.hold(False)
        self.asides[:] = [(number, said) for number, said in self.asides
                          if isinstance(said, RecordRun) or said.kind == KIND_RESULT]
        for peer in self.peers:
            if peer is not None:
                peer.pending = RecordRun()
                peer.untold = _collections.deque(said for said in peer.untold if said.kind == KIND_FREED)
                found.append((peer, take_over(peer.memory, epoch, peer.running, peer.results, peer.down)))
                note_news(self.bell, peer.slot)
        self.armed = False
        return found

    def run(self, bint look_everywhere=False):
        """Collect what the peers say until there is nothing more, then arm the bell. How many records there were."""
        cdef uint32_t n
        cdef uint32_t total = 0
        cdef uint32_t words = news_words(len(self.peers))
        cdef uint64_t now = now_ns()
        store_release32(&self.bell.sleeping, 0)
        if look_everywhere or now >= self.next_look_ns:       # the bits are a hint, as in the pump
            look_everywhere = True
            self.next_look_ns = now + LOOK_AGAIN_NS
        if self.any_untold:
            self.tell_untold()
        while True:
            n = self.drain_news(words, look_everywhere)
            total += n
            look_everywhere = False
            if n == 0 or total >= MOST_RECORDS:
                break
        self.armed = arm_bell(self.bell, words) and n == 0
        return total

    cdef uint32_t drain_news(self, uint32_t words, bint look_everywhere):
        """One pass over the peers that have news. How many records there were."""
        cdef NewsWalk walk = walk_news(self.bell, words, look_everywhere)
        cdef uint32_t slot = 0
        cdef uint32_t n
        cdef uint32_t total = 0
        while next_news(&walk, &slot) and slot < <uint32_t>len(self.peers):
            if self.peers[slot] is None:
                continue
            n = self.drain(self.peers[slot])
            total += n
            if n >= MOST_RECORDS:
                note_news(self.bell, slot)
        return total

    def hold(self, bint holding):
        """Take no more tasks from the client, or go on."""
        cdef uint32_t slot
        if self.holding and not holding:
            self.armed = False                # what was noted meanwhile was passed over
            for slot in range(<uint32_t>len(self.peers)):
                note_news(self.bell, slot)
        self.holding = holding

    @property
    def has_pending(self):
        """A task or result did not fit into a peer's ring."""
        return any(peer is not None and (<RecordRun>(<RelayPeer>peer).pending).used for peer in self.peers)

    def ring(self):
        """Wake the thread that waits for this relay's bell."""
        cdef uint64_t one = 1
        with nogil:             # a worker can have filled it: the relay's own thread empties it
            c_write(self.eventfd, &one, 8)

    def quiet(self):
        """The bell was heard: empty its eventfd."""
        quiet_bell(self.eventfd)

    cdef uint32_t drain(self, RelayPeer peer):
        """Collect what the peer has said, up to the bound. How many records there were."""
        cdef uint32_t n
        if (<RecordRun>peer.pending).used:
            self.deliver_pending(peer)
        n = self.drain_control(peer)
        if not self.holding:
            n += self.drain_records(peer, 0)
        if peer.tasks.broken or peer.results.broken or peer.up.broken:
            self.shut_out(peer)
        return n

    cdef int shut_out(self, RelayPeer peer) except -1:
        """What this peer has written makes no sense: the session hangs up on it."""
        if not peer.broken:
            peer.broken = True
            self.broken.append(peer)
        return 0

    cdef int drain_all(self, RelayPeer peer) except -1:
        """Collect all that is there, while holding, too: it is at most a ring, and nobody looks there again.

        A peer that lives and goes on writing is not followed for ever.
        """
        cdef Ring ring = peer.inward
        cdef uint64_t end = ring.tail + min(ring.unread_bytes(), <uint64_t>ring.capacity)
        self.drain_control(peer)
        while ring.tail < end and self.drain_records(peer, 0):
            pass
        return 0

    cdef uint32_t drain_control(self, RelayPeer peer):
        cdef int kind
        cdef uint32_t n = 0
        cdef uint64_t end = peer.up.tail + min(peer.up.unread_bytes(), <uint64_t>peer.up.capacity)
        while peer.up.tail < end:                     # what it writes meanwhile is for the next turn
            said = peer.up.read()
            if said is None:
                break
            kind = said.kind
            if self.is_client and kind == KIND_FUNCTION:
                if said.flags & FLAG_OBJECTS:         # a task before it may have brought what it names
                    n += self.drain_records(peer, NO_TASK)
                peer.functions = max(peer.functions, <uint32_t>said.function)
            if self.is_client and (kind == KIND_CANCEL or kind == KIND_CLEAR or kind == KIND_WAIT):
                n += self.drain_records(peer, said.task if kind == KIND_CLEAR else said.task + 1)
            self.set_aside(peer, said)
            n += 1
        if peer.up.take_producer_waits():
            ring_doorbell(peer.sleeping, peer.doorbell)
        return n

    cdef set_aside(self, RelayPeer peer, record):
        """What was collected before this record goes out before it."""
        if len(peer.collected):
            self.asides.append((peer.number, peer.collected))
            peer.collected = RecordRun()
        self.asides.append((peer.number, record))

    cdef uint32_t drain_records(self, RelayPeer peer, uint64_t before):
        """Collect what is in the peer's inward ring by now; with `before`, only ids below it."""
        cdef Record *record
        cdef Ring ring = peer.inward
        cdef uint64_t end = ring.tail + min(ring.unread_bytes(), <uint64_t>ring.capacity)
        cdef uint32_t n = 0
        while ring.tail < end and (n < MOST_RECORDS or before):
            record = ring.look(<char *>self.record_space)
            if record == NULL or (before and record.task >= before):
                break
            if before == NO_TASK and (record.kind == KIND_FORGET
                                      or record.kind == KIND_TASK and record.function > peer.functions):
                break                                 # what it names is announced later, or may be
            if not self.may_say(peer, record):
                ring.broken = True
                break
            if (record.flags & FLAG_OBJECTS or record.kind == KIND_RELEASE or record.kind == KIND_FORGET
                    or (record.flags & FLAG_INPUTS and (self.inputs_wait or self.asides))):
                self.set_aside(peer, copy_of(record))
            elif not peer.collected.append(record):
                break
            ring.step_over_peeked()
            n += 1
        if n and ring.recycle():
            ring_doorbell(peer.sleeping, peer.doorbell)
        return n

    cdef bint may_say(self, RelayPeer peer, Record *record) noexcept nogil:
        """Whether the scheduler would take this from such a peer: if not, it would end the session of the whole host."""
        cdef char *payload = payload_of(record)
        cdef uint32_t size = payload_bytes_of(record)
        if size > peer.inward.largest_payload():
            return False
        if record.kind == KIND_RELEASE:
            return size != 0 and size % 8 == 0
        if self.is_client:
            return record.kind == KIND_FORGET or (
                record.kind == KIND_TASK and record_error(KIND_TASK, record.flags, 0, options_of(record), payload, size) == NULL)
        return (record.kind == KIND_RESULT
                and record_error(KIND_RESULT, record.flags, record.status, 0, payload, size) == NULL
                and (not record.flags & FLAG_OBJECTS or brings_one(payload, size, MOST_TAG - 1 - peer.number)))

    # towards the peers

    def deliver(self, RecordBatch batch not None):
        """Write a batch into the rings. (number, RecordCopy) of those whose payload names objects: for deliver_one."""
        cdef Record *record
        cdef RelayPeer peer
        cdef uint32_t number = 0
        cdef list large = []
        while True:
            record = batch.peek(&number)
            if record == NULL:
                break
            peer = self.find_peer(number)
            if peer is not None:
                if record.flags & FLAG_OBJECTS:
                    large.append((number, copy_of(record)))
                else:
                    self.put(peer, record)
            batch.step(record)
        self.flush()
        return large

    def deliver_one(self, uint32_t number, RecordRun run not None):
        """Write the one record of `run` into a peer's ring."""
        cdef Record *record = run.peek()
        cdef RelayPeer peer = self.find_peer(number)
        if record != NULL and peer is not None:
            self.put(peer, record)
            self.flush_one(peer)

    def tell(self, uint32_t number, int kind, bytes payload=b"", *, uint64_t task=0, uint32_t function=0, int flags=0,
             uint32_t items=0, bint waits=True):
        """Write a control record to a peer, as soon as there is room; a worker's tasks that come later are behind it.

        Without `waits` it is dropped if there is none now. A peer whose own ring is too small for what the protocol
        allows has made it so: nothing more is exchanged with it.
        """
        cdef RelayPeer peer = self.find_peer(number)
        if peer is None or peer.broken:
            return
        if <size_t>len(payload) > peer.down.largest_payload():
            self.shut_out(peer)
            return
        said = RecordCopy(kind, task, payload, function, flags, items=items)
        if not peer.untold and self.tell_now(peer, said):
            ring_doorbell(peer.sleeping, peer.doorbell)
        elif waits:
            peer.untold.append(said)
            self.any_untold = True

    cdef bint tell_now(self, RelayPeer peer, said) except -1:
        """Write a control record into the peer's ring. False if there is no room."""
        return peer.down.write(said.kind, said.task, said.payload, function=said.function, flags=said.flags,
                               items=said.items) is not None

    cdef int tell_untold(self) except -1:
        """Write what waits for room in control rings, and then what waits for that."""
        cdef RelayPeer peer
        self.any_untold = False
        for peer in self.peers:
            if peer is None or not peer.untold:
                continue
            while peer.untold:
                if not self.tell_now(peer, peer.untold[0]):
                    self.any_untold = True
                    break
                peer.untold.popleft()
            ring_doorbell(peer.sleeping, peer.doorbell)
            self.deliver_pending(peer)
        return 0

    cdef inline bint may_write(self, RelayPeer peer):
        """A worker's tasks come after the functions that they name; a client's results wait for nothing."""
        return self.is_client or not peer.untold

    cdef int put(self, RelayPeer peer, Record *record) except -1:
        if self.may_write(peer) and not (<RecordRun>peer.pending).used and copy_into(peer.outward, record):
            peer.touched = True
        elif not peer.pending.append(record):
            raise MemoryError("no memory for records that wait for a ring")
        return 0

    cdef deliver_pending(self, RelayPeer peer):
        cdef Record *record
        while self.may_write(peer):
            record = peer.pending.peek()
            if record == NULL or not copy_into(peer.outward, record):
                break
            peer.pending.step(record)
            peer.touched = True
        self.flush_one(peer)

    cdef flush(self):
        for peer in self.peers:
            if peer is not None:
                self.flush_one(peer)

    cdef flush_one(self, RelayPeer peer):
        if peer.touched:
            peer.touched = False
            ring_doorbell(peer.sleeping, peer.doorbell)

    def withdraw(self, uint32_t number, uint64_t task, uint64_t attempt):
        """Take back a record that its worker has not claimed. True if it will not run."""
        cdef RelayPeer peer = self.find_peer(number)
        cdef uint64_t position
        if peer is None:
            return False
        if peer.outward.find(task, attempt, &position):
            return peer.outward.withdraw(position)
        if peer.outward.broken:
            note_news(self.bell, peer.slot)                 # so that it is found out
        return withdraw_from_run(peer.pending, task, attempt)

    def take_back_all(self, uint32_t number):
        """Take back all that its worker has not claimed: (task, attempt) each."""
        cdef RelayPeer peer = self.find_peer(number)
        cdef list found = []
        if peer is not None:
            found = peer.running.take_back_all()
            take_back_from_run(peer.pending, found)
        return found


cdef int take_back_from_run(RecordRun run, list found) except -1:
    cdef size_t offset = run.cursor
    cdef Record *record
    while offset < run.used:
        record = <Record *>(run.data + offset)
        if record.kind == KIND_TASK and run.withdraw(run.base + offset):
            found.append((record.task, record.attempt))
        offset += padded(record.record_bytes)
    return 0


cdef bint copy_into(Ring ring, Record *record) noexcept nogil:
    """Write a copy. False if the ring is full; then its reader says when there is room."""
    cdef uint32_t size = payload_bytes_of(record)
    cdef Record *made = ring.reserve(size)
    if made == NULL:
        store_release32(&ring.header.waiting_for_room, 1)
        full_fence()
        made = ring.reserve(size)
        if made == NULL:
            return False
    copy_record(made, record, size)
    ring.commit()
    return True


cdef bint withdraw_from_run(RecordRun run, uint64_t task, uint64_t attempt) noexcept nogil:
    cdef size_t offset = run.cursor
    cdef Record *record
    while offset < run.used:
        record = <Record *>(run.data + offset)
        if record.task == task and record.attempt == attempt:
            return run.withdraw(run.base + offset)
        offset += padded(record.record_bytes)
    return False

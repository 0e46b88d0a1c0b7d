# SchedulerCore: every decision of the scheduler, and no I/O.
#
# Events come in as methods `on_<event>`; records go out into the peers' outlets; `now` is an argument. The state of one
# task has one owner, its row: READY -> PLACED -> gone, with three side rooms: CANCELLED (placed, nobody waits for it),
# ANSWERED (its client has no room for the result yet), HELD (delivered, its segment not yet mapped).
#
# Rule 1: each accepted task is answered exactly once, unless its client cancelled it or left.
# Rule 2: a result counts only with the attempt the row holds.
# Rule 3: an outgoing ring is never waited for: what does not fit waits in the rows of that client, and none of its
#         tasks is placed until that has gone out.
# Rule 4: the work per event does not depend on how many tasks or workers there are.
# Not here: sockets, clocks, processes (the shell), what the bytes mean (payload).

cdef enum:
    TASK_NUMBER_BITS = 40
    TURN_TRIES = 8
    MOST_DEATHS = 3
    MOST_ESTIMATE_NS = 2000000000

cdef uint64_t NUMBER_MASK = ((<uint64_t>1) << 40) - 1

cdef struct Client:
    bint present
    bint leaving           # gone, but workers still hold tasks of it
    bint dirty             # results written since the last flush: it hangs in the list of those
    uint32_t next_dirty    # index + 1
    void *outlet
    void *control
    uint64_t bits          # its 24 bits, in place
    uint64_t open_tasks
    uint64_t queued_bytes
    Directory directory
    uint32_t waiting_head  # rows in ROW_ANSWERED, oldest first
    uint32_t waiting_tail
    uint32_t *functions    # its numbers -> ours + 1
    uint32_t function_room


cdef class SchedulerCore:
    """The scheduler without its sockets."""
    cdef readonly TaskTable table
    cdef readonly ReadyQueue ready
    cdef readonly WorkerPool pool
    cdef Client *clients
    cdef uint32_t client_room
    cdef uint32_t client_length
    cdef uint32_t dirty_clients       # first of the list, index + 1
    cdef ClientBits client_bits       # of those who are here, or leaving
    cdef Function *functions
    cdef uint32_t function_room
    cdef uint32_t function_length
    cdef list function_payloads       # (digest, flags, payload)
    cdef dict function_of             # digest -> index
    cdef list outlets                 # keeps the outlets of all peers alive
    cdef readonly list unlink         # segment names nobody needs any more: the shell drains this
    cdef uint64_t life                # the high half of every attempt
    cdef readonly uint64_t accepted, refused, answered, dropped, withdrawn, late
    cdef readonly uint64_t turned_away # because no worker had room and enough were waiting
    cdef public uint64_t client_queue_bytes
    cdef public int64_t most_waiting   # tasks that no worker has room for; -1: any number

    def __cinit__(self, uint32_t life=1):
        self.table = TaskTable()
        self.ready = ReadyQueue(self.table)
        self.pool = WorkerPool()
        self.client_bits = ClientBits()
        self.function_payloads = []
        self.function_of = {}
        self.outlets = []
        self.unlink = []
        self.life = (<uint64_t>life) << 32
        self.client_queue_bytes = 1 << 30
        self.most_waiting = -1

    def __dealloc__(self):
        cdef uint32_t i
        cdef uint64_t page
        for i in range(self.client_length):
            for page in range(self.clients[i].directory.length):
                free(self.clients[i].directory.pages[page])
            free(self.clients[i].directory.pages)
            free(self.clients[i].functions)
        free(self.clients)
        free(self.functions)

    # peers

    def on_client_joined(self, uint32_t client_bits, Outlet results not None, Outlet control not None):
        """A client with its 24 random bits. Its index; ValueError if the bits are in use."""
        cdef uint32_t place = 0
        cdef Client *clients
        cdef bint dirty
        cdef uint32_t next_dirty
        if not 0 < client_bits < 1 << 24:
            raise ValueError(f"a client's number has 24 bits, not {client_bits}")
        if self.client_bits.find(client_bits):
            raise ValueError(f"client number {client_bits} is in use")
        while place < self.client_length and (self.clients[place].present or self.clients[place].leaving):
            place += 1
        if place == self.client_length:
            if self.client_length == self.client_room:
                clients = <Client *>realloc(self.clients, (self.client_room * 2 + 8) * sizeof(Client))
                if clients == NULL:
                    raise MemoryError("no memory for another client")
                self.clients = clients
                self.client_room = self.client_room * 2 + 8
            self.client_length += 1
            memset(&self.clients[place], 0, sizeof(Client))
        if not self.ready.add_client(place):
            raise MemoryError("no memory for another client")
        self.client_bits.note(client_bits, place)
        dirty, next_dirty = self.clients[place].dirty, self.clients[place].next_dirty
        memset(&self.clients[place], 0, sizeof(Client))
        # The one that had this place may have left before the next flush, and hang in the list still.
        self.clients[place].dirty, self.clients[place].next_dirty = dirty, next_dirty
        self.clients[place].present = True
        self.clients[place].bits = (<uint64_t>client_bits) << TASK_NUMBER_BITS
        self.clients[place].outlet = <void *>results
        self.clients[place].control = <void *>control
        self.outlets += [results, control]
        return place

    def has_client(self, uint32_t client_bits):
        """Whether a client with these bits is here, or has left tasks that still run."""
        return self.client_of((<uint64_t>client_bits) << TASK_NUMBER_BITS) != 0

    def on_worker_joined(self, Outlet tasks not None, Outlet control not None, uint32_t queue_size=1000):
        """A worker that may be given tasks. Its index."""
        cdef int index = self.pool.add(queue_size)
        self.pool.workers[index].tasks = <void *>tasks
        self.pool.workers[index].control = <void *>control
        self.outlets += [tasks, control]
        return index

    def on_worker_left(self, uint32_t index, uint64_t now):
        """A worker is gone, and its result ring is drained. Its tasks go elsewhere, the one it had begun included."""
        cdef Worker *worker = &self.pool.workers[index]
        cdef Outlet tasks = <Outlet>worker.tasks
        cdef uint32_t row_index = worker.tail
        cdef uint32_t previous
        cdef int taken
        cdef Row *row
        self.pool.remove(index)
        while row_index:                       # from the youngest, so that the front of the queue ends up in order
            row = self.table.row(row_index)
            previous = row.previous
            taken = tasks.withdraw(row.task, self.life | row.placements, row.position)
            # Elsewhere nobody can look into the ring any more: what came first is what ran.
            if taken == TOO_LATE or (taken == ASKED and row_index == worker.head):
                row.deaths += 1
            if row.state == ROW_CANCELLED:
                self.end(row_index)
            elif row.deaths > MOST_DEATHS:
                self.answer_text(row_index, STATUS_WORKER_DIED, b"the worker process died while it ran this task")
            else:
                self.ready.push(row_index, True)
            row_index = previous
        worker.head = worker.tail = worker.held = 0
        worker.load_ns = 0
        self.forget_outlets(<Outlet>worker.tasks, <Outlet>worker.control)
        worker.tasks = worker.control = NULL
        self.dispatch(now)

    def on_client_left(self, uint32_t index, uint64_t now):
        """A client is gone: nobody waits for its tasks any more."""
        cdef Client *client = &self.clients[index]
        client.present = False
        client.leaving = True
        self.cancel_all(index, NUMBER_MASK)
        self.forget_outlets(<Outlet>client.outlet, <Outlet>client.control)
        client.outlet = client.control = NULL
        self.release_client(client)
        self.dispatch(now)

    cdef forget_outlets(self, Outlet first, Outlet second):
        self.outlets = [outlet for outlet in self.outlets if outlet is not first and outlet is not second]

    cdef release_client(self, Client *client):
        if client.leaving and client.open_tasks == 0:
            client.leaving = False
            self.client_bits.forget(<uint32_t>(client.bits >> TASK_NUMBER_BITS))
            free(client.directory.pages)
            client.directory.pages = NULL
            free(client.functions)
            client.functions = NULL

    # from a client

    cdef inline bint knows_function(self, uint32_t index, uint32_t number) noexcept nogil:
        return number < self.clients[index].function_room and self.clients[index].functions[number] != 0

    cdef inline bint is_over_quota(self, uint32_t index) noexcept nogil:
        """Whether this client has so much queued that its submits stay where they are."""
        cdef Client *client = &self.clients[index]
        return client.queued_bytes + client.open_tasks * sizeof(Row) > self.client_queue_bytes

    cdef void on_submit(self, uint32_t index, Record *record, uint64_t now) noexcept nogil:
        cdef Client *client = &self.clients[index]
        cdef uint32_t row_index
        cdef Row *row
        if (record.task & ~NUMBER_MASK) != client.bits or record.kind != KIND_TASK:
            self.refused += 1
            return
        if not self.knows_function(index, record.function):
            self.refuse(client, record, b"the task names a function that was never announced")
            return
        if directory_find(&client.directory, record.task & NUMBER_MASK):
            self.refused += 1
            return
        row_index = self.table.take()
        if row_index == 0:
            self.refuse(client, record, b"the scheduler has no memory left")
            return
        row = self.table.row(row_index)
        if (not self.table.set_payload(row, payload_of(record), payload_bytes_of(record))
                or not directory_note(&client.directory, record.task & NUMBER_MASK, row_index)):
            self.table.give_back(row_index)
            self.refuse(client, record, b"the scheduler has no memory left, or the task's id is out of range")
            return
        row.task = record.task
        row.client = index
        row.function = client.functions[record.function] - 1
        row.items = record.items
        row.flags = record.flags
        row.placements = 0
        row.deaths = 0
        row.level = LEVEL_PLAIN
        client.open_tasks += 1
        client.queued_bytes += row.payload_bytes
        self.accepted += 1
        self.ready.push(row_index, False)
        if self.most_waiting >= 0 and self.ready.size > <uint64_t>self.most_waiting and client.waiting_head == 0:
            self.turn_away(row_index, now)

    cdef void turn_away(self, uint32_t row_index, uint64_t now) noexcept nogil:
        """More tasks wait than may: unless a worker has room after all, the newcomer is answered with that."""
        self.dispatch(now)
        if self.ready.size <= <uint64_t>self.most_waiting or self.table.row(row_index).state != ROW_READY:
            return
        self.turned_away += 1
        self.ready.remove(row_index)
        self.answer_text(row_index, STATUS_NO_WORKER, b"no worker has room for it, and no more tasks may wait")

    cdef void refuse(self, Client *client, Record *record, const char *text) noexcept nogil:
        cdef Record *answer
        cdef uint32_t size = <uint32_t>strlen(text)
        self.refused += 1
        answer = (<Outlet>client.outlet).reserve(size)
        if answer == NULL:
            return
        fill_record(answer, KIND_RESULT, 0, STATUS_REFUSED, record.function, record.task, 0, record.items, 0)
        memcpy(payload_of(answer), text, size)
        (<Outlet>client.outlet).commit()
        self.note_dirty(<uint32_t>(client - self.clients))

    def on_function(self, uint32_t index, uint32_t number, bytes digest not None, int flags, bytes payload not None):
        """A client announces a function under a number of its own. Equal functions of all clients are one here."""
        cdef Client *client = &self.clients[index]
        cdef uint32_t room = client.function_room
        cdef uint32_t *numbers
        cdef Function *functions
        if number > room + (1 << 20):
            self.refused += 1
            return
        known = self.function_of.get(digest)
        if known is None:
            if self.function_length == self.function_room:
                functions = <Function *>realloc(self.functions, (self.function_room * 2 + 64) * sizeof(Function))
                if functions == NULL:
                    raise MemoryError("no memory for another function")
                self.functions = functions
                self.function_room = self.function_room * 2 + 64
            known = self.function_length
            memset(&self.functions[self.function_length], 0, sizeof(Function))
            self.functions[self.function_length].limit = 1
            self.function_length += 1
            self.function_payloads.append((digest, flags, payload))
            self.function_of[digest] = known
        elif flags & FLAG_SEGMENT and payload != self.function_payloads[known][2]:
            self.unlink.append(payload[8:].decode("ascii", "replace"))       # we have these bytes already
        if number >= room:
            numbers = <uint32_t *>realloc(client.functions, (number * 2 + 64) * sizeof(uint32_t))
            if numbers == NULL:
                raise MemoryError("no memory for another function")
            client.functions = numbers
            memset(numbers + room, 0, (number * 2 + 64 - room) * sizeof(uint32_t))
            client.function_room = number * 2 + 64
        client.functions[number] = <uint32_t>known + 1

    def on_cancel(self, uint32_t index, uint64_t task, uint64_t now):
        """The client does not want this task any more. Unknown tasks are no error: they may just have ended."""
        cdef Client *client = &self.clients[index]
        cdef uint32_t row_index
        if (task & ~NUMBER_MASK) != client.bits:
            self.refused += 1
            return
        row_index = directory_find(&client.directory, task & NUMBER_MASK)
        if row_index:
            self.cancel(row_index)
            self.dispatch(now)

    def on_clear(self, uint32_t index, uint64_t now, uint64_t before=-1):
        """The client wants none of its tasks any more, up to the id `before`: later ones it has submitted since."""
        self.cancel_all(index, before & NUMBER_MASK)
        self.dispatch(now)

    def on_mapped(self, uint32_t index, uint64_t task):
        """The client has mapped the segment of this task's result."""
        cdef Client *client = &self.clients[index]
        cdef uint32_t row_index
        if (task & ~NUMBER_MASK) != client.bits:
            self.refused += 1
            return
        row_index = directory_find(&client.directory, task & NUMBER_MASK)
        if row_index and self.table.row(row_index).state == ROW_HELD:
            self.end(row_index)

    cdef cancel_all(self, uint32_t index, uint64_t before):
        cdef Directory *directory = &self.clients[index].directory
        cdef uint64_t first = directory.base
        cdef uint64_t last = directory.base + directory.length
        cdef uint64_t number
        cdef uint32_t row_index
        for number in range(first << 12, min(last << 12, before)):
            row_index = directory_find(directory, number)
            if row_index:
                self.cancel(row_index)

    cdef cancel(self, uint32_t row_index):
        cdef Row *row = self.table.row(row_index)
        cdef uint32_t state = row.state
        if state == ROW_READY:
            self.ready.remove(row_index)
            self.end(row_index)
        elif state == ROW_PLACED:
            if (<Outlet>self.pool.workers[row.worker].tasks).withdraw(row.task, self.life | row.placements, row.position) == WITHDREW:
                self.unplace(row_index)
                self.end(row_index)
            else:
                row.state = ROW_CANCELLED
        elif state == ROW_ANSWERED:
            self.stop_waiting(row_index)
            self.end(row_index)
        elif state == ROW_HELD:
            self.end(row_index)

    # from a worker

    def on_withdrawn(self, uint32_t worker_index, uint64_t task, uint64_t attempt, bint took, uint64_t now):
        """The answer of a relay that was asked to take a record back: it will not run (took), or runs or has run."""
        cdef uint32_t client_index = self.client_of(task)
        cdef uint32_t row_index = 0
        cdef Row *row
        if client_index:
            row_index = directory_find(&self.clients[client_index - 1].directory, task & NUMBER_MASK)
        if row_index == 0:
            return
        row = self.table.row(row_index)
        if (row.state != ROW_PLACED and row.state != ROW_CANCELLED) or row.worker != worker_index \
                or attempt != (self.life | row.placements):
            return
        row.asked = False
        if not took:
            return
        self.withdrawn += 1
        self.unplace(row_index)
        if row.state == ROW_CANCELLED:
            self.end(row_index)
        else:
            self.ready.push(row_index, True)
        self.dispatch(now)

    cdef void on_result(self, uint32_t worker_index, Record *record, uint64_t now) noexcept nogil:
        cdef uint32_t client_index = self.client_of(record.task)
        cdef Client *client
        cdef Row *row
        cdef Function *function
        cdef uint32_t row_index
        if client_index == 0:
            self.late += 1
            return
        client = &self.clients[client_index - 1]
        row_index = directory_find(&client.directory, record.task & NUMBER_MASK)
        if row_index == 0:
            self.late += 1
            return
        row = self.table.row(row_index)
        if (row.state != ROW_PLACED and row.state != ROW_CANCELLED) or row.worker != worker_index \
                or record.attempt != (self.life | row.placements):
            self.late += 1
            return
        function = &self.functions[row.function]
        note_duration(function, record.duration_ns // (row.items if row.items else 1))
        self.unplace(row_index)
        self.pool.workers[worker_index].since_ns = now
        if row.state == ROW_CANCELLED:
            self.dropped += 1
            if record.flags & FLAG_SEGMENT:
                self.add_unlink(payload_of(record), payload_bytes_of(record))
            self.end(row_index)
            return
        self.answer(row_index, record)

    cdef void answer(self, uint32_t row_index, Record *result) noexcept nogil:
        """Send the result, or keep it in the row until its client has room."""
        cdef Row *row = self.table.row(row_index)
        cdef Client *client = &self.clients[row.client]
        cdef Record *record
        cdef uint32_t size = payload_bytes_of(result)
        client.queued_bytes -= row.payload_bytes
        if row.flags & FLAG_SEGMENT:
            self.add_unlink(self.table.payload(row), row.payload_bytes)
        record = NULL
        if client.waiting_head == 0:
            record = (<Outlet>client.outlet).reserve(size)
        if record != NULL:
            memcpy(<char *>record + 4, <char *>result + 4, RECORD_HEADER_BYTES - 4)
            memcpy(payload_of(record), payload_of(result), size)
            (<Outlet>client.outlet).commit()
            self.note_dirty(row.client)
            self.answered += 1
            self.table.drop_payload(row)
            if result.flags & FLAG_SEGMENT:
                self.table.set_payload(row, payload_of(result), size)
                row.flags = FLAG_SEGMENT
                row.state = ROW_HELD
                client.queued_bytes += row.payload_bytes
            else:
                row.flags = 0
                self.end(row_index)
            return
        # The row keeps the whole record: header and payload, to be copied out later.
        self.table.set_payload(row, <char *>result, RECORD_HEADER_BYTES + size)
        client.queued_bytes += row.payload_bytes
        row.flags = result.flags
        row.state = ROW_ANSWERED
        row.next = 0
        row.previous = client.waiting_tail
        if client.waiting_tail:
            self.table.row(client.waiting_tail).next = row_index
        else:
            client.waiting_head = row_index
        client.waiting_tail = row_index
        self.ready.hold(row.client, True)

    cdef void answer_text(self, uint32_t row_index, int status, const char *text) noexcept nogil:
        """End a task without a worker's result."""
        cdef char space[512]
        cdef Record *record = <Record *>space
        cdef Row *row = self.table.row(row_index)
        cdef uint32_t size = <uint32_t>strlen(text)
        record.record_bytes = RECORD_HEADER_BYTES + size
        fill_record(record, KIND_RESULT, 0, status, row.function, row.task, self.life | row.placements, row.items, 0)
        memcpy(payload_of(record), text, size)
        self.answer(row_index, record)

    cdef void stop_waiting(self, uint32_t row_index) noexcept nogil:
        cdef Row *row = self.table.row(row_index)
        cdef Client *client = &self.clients[row.client]
        if row.previous:
            self.table.row(row.previous).next = row.next
        else:
            client.waiting_head = row.next
        if row.next:
            self.table.row(row.next).previous = row.previous
        else:
            client.waiting_tail = row.previous
        if client.waiting_head == 0:
            self.ready.hold(row.client, False)

    cdef void deliver_waiting(self, uint32_t index) noexcept nogil:
        """Send what did not fit before, oldest first, as far as there is room now."""
        cdef Client *client = &self.clients[index]
        cdef uint32_t row_index
        cdef Row *row
        cdef Record *kept
        cdef Record *record
        cdef uint32_t size
        while client.waiting_head:
            row_index = client.waiting_head
            row = self.table.row(row_index)
            kept = <Record *>self.table.payload(row)
            size = row.payload_bytes - RECORD_HEADER_BYTES
            record = (<Outlet>client.outlet).reserve(size)
            if record == NULL:
                return
            memcpy(<char *>record + 4, <char *>kept + 4, row.payload_bytes - 4)
            (<Outlet>client.outlet).commit()
            self.note_dirty(row.client)
            self.answered += 1
            self.stop_waiting(row_index)
            if row.flags & FLAG_SEGMENT:
                # What the row keeps from here on is the segment's name alone.
                client.queued_bytes -= RECORD_HEADER_BYTES
                self.table.payload_bytes -= RECORD_HEADER_BYTES
                memmove(self.table.payload(row), self.table.payload(row) + RECORD_HEADER_BYTES, size)
                row.payload_bytes = size
                row.state = ROW_HELD
            else:
                self.end(row_index)

    cdef void end(self, uint32_t row_index) noexcept nogil:
        """The row's task is over: forget it. It is in no list any more."""
        cdef Row *row = self.table.row(row_index)
        cdef Client *client = &self.clients[row.client]
        cdef uint32_t skip = RECORD_HEADER_BYTES if row.state == ROW_ANSWERED else 0
        if row.flags & FLAG_SEGMENT and row.payload_bytes > skip:
            self.add_unlink(self.table.payload(row) + skip, row.payload_bytes - skip)
        client.queued_bytes -= row.payload_bytes
        client.open_tasks -= 1
        directory_forget(&client.directory, row.task & NUMBER_MASK)
        self.table.give_back(row_index)
        if client.leaving and client.open_tasks == 0:
            with gil:
                self.release_client(client)

    cdef void add_unlink(self, char *payload, uint32_t size) noexcept nogil:
        with gil:
            self.unlink.append(payload[8:size].decode("ascii", "replace"))

    cdef inline uint32_t client_of(self, uint64_t task) noexcept nogil:
        """Index + 1 of the client whose bits these are."""
        return self.client_bits.find(<uint32_t>(task >> TASK_NUMBER_BITS))

    # placing

    cdef void dispatch(self, uint64_t now) noexcept nogil:
        """Give ready tasks to workers with credit: clients in turn, the least loaded worker first."""
        cdef uint32_t tries
        cdef uint32_t first
        cdef uint32_t level
        cdef uint32_t client_index
        cdef uint32_t worker_index
        cdef uint32_t placed = 1
        while placed and self.ready.levels:
            placed = 0
            level = self.ready.best_level()
            first = self.ready.turn[level]
            for tries in range(TURN_TRIES):
                if tries and self.ready.turn[level] == first:
                    break                      # all clients have been tried
                client_index = self.ready.turn[level] - 1
                self.ready.turn[level] = self.ready.next_of(client_index, level) + 1
                worker_index = self.pool.least_loaded()
                if worker_index == 0:
                    return
                if self.place(self.ready.clients[client_index].at[level].head, worker_index - 1, now):
                    placed = 1
                    break

    cdef bint place(self, uint32_t row_index, uint32_t worker_index, uint64_t now) noexcept nogil:
        cdef Row *row = self.table.row(row_index)
        cdef Worker *worker = &self.pool.workers[worker_index]
        cdef Function *function = &self.functions[row.function]
        cdef uint64_t estimate = function.mean_ns * (row.items if row.items else 1)
        cdef Record *record
        cdef uint32_t size = row.payload_bytes
        if not self.pool.has_credit(worker, function) or (worker.held and worker.load_ns + estimate > CREDIT_NS):
            return False
        if not self.worker_knows(worker, row.function):
            return False
        record = (<Outlet>worker.tasks).reserve(size)
        if record == NULL:
            return False
        row.placements += 1
        fill_record(record, KIND_TASK, row.flags, 0, row.function, row.task, self.life | row.placements, row.items, 0)
        memcpy(payload_of(record), self.table.payload(row), size)
        self.ready.remove(row_index)
        row.asked = False
        row.position = (<Outlet>worker.tasks).commit()
        row.state = ROW_PLACED
        row.worker = worker_index
        if estimate < LEAST_TASK_NS:
            estimate = LEAST_TASK_NS
        elif estimate > MOST_ESTIMATE_NS:
            estimate = MOST_ESTIMATE_NS
        row.estimate_ns = <uint32_t>estimate
        row.next = 0
        row.previous = worker.tail
        if worker.tail:
            self.table.row(worker.tail).next = row_index
        else:
            worker.head = row_index
            worker.since_ns = now
        worker.tail = row_index
        worker.held += 1
        worker.load_ns += row.estimate_ns
        self.pool.note_dirty(worker_index)
        self.pool.settle(worker_index)
        return True

    cdef void unplace(self, uint32_t row_index) noexcept nogil:
        """The row's worker holds it no longer; the row's state is for the caller to set."""
        cdef Row *row = self.table.row(row_index)
        cdef Worker *worker = &self.pool.workers[row.worker]
        if row.previous:
            self.table.row(row.previous).next = row.next
        else:
            worker.head = row.next
        if row.next:
            self.table.row(row.next).previous = row.previous
        else:
            worker.tail = row.previous
        worker.held -= 1
        worker.load_ns -= row.estimate_ns
        self.pool.settle(row.worker)

    cdef bint worker_knows(self, Worker *worker, uint32_t function) noexcept nogil:
        """Announce the function to the worker if it has not been. False while its control ring is full."""
        cdef uint8_t *knows
        cdef bint told
        if function + 1 == worker.last_function:
            return True
        if function >> 3 >= worker.knows_bytes:
            knows = <uint8_t *>realloc(worker.knows, function // 4 + 64)
            if knows == NULL:
                return False
            memset(knows + worker.knows_bytes, 0, function // 4 + 64 - worker.knows_bytes)
            worker.knows = knows
            worker.knows_bytes = function // 4 + 64
        if worker.knows[function >> 3] & (1 << (function & 7)):
            worker.last_function = function + 1
            return True
        with gil:
            told = self.announce(worker, function)
        if told:
            worker.knows[function >> 3] |= <uint8_t>(1 << (function & 7))
        return told

    cdef bint announce(self, Worker *worker, uint32_t function):
        cdef Outlet control = <Outlet>worker.control
        cdef bytes payload = self.function_payloads[function][0] + self.function_payloads[function][2]
        cdef Record *record = control.reserve(<uint32_t>len(payload))
        if record == NULL:
            return False
        fill_record(record, KIND_FUNCTION, self.function_payloads[function][1], 0, function, 0, 0, 0, 0)
        memcpy(payload_of(record), <char *>payload, len(payload))
        control.commit()
        full_fence()
        control.flush()
        return True

    def on_tick(self, uint64_t now):
        """Take back what waits behind a task that runs ten times longer than tasks of its kind do."""
        cdef uint32_t i
        cdef Worker *worker
        cdef Row *row
        for i in range(self.pool.length):
            worker = &self.pool.workers[i]
            if worker.present and worker.held > 1:
                row = self.table.row(worker.head)
                if now > worker.since_ns + 10 * <uint64_t>row.estimate_ns + 10000000:
                    self.take_back(i)
        self.dispatch(now)
        self.flush()

    cdef void take_back(self, uint32_t worker_index) noexcept nogil:
        cdef Worker *worker = &self.pool.workers[worker_index]
        cdef uint32_t row_index = worker.tail
        cdef uint32_t previous
        cdef int taken
        cdef Row *row
        while row_index != worker.head:
            row = self.table.row(row_index)
            previous = row.previous
            if row.state == ROW_PLACED and not row.asked:
                taken = (<Outlet>worker.tasks).withdraw(row.task, self.life | row.placements, row.position)
                if taken == WITHDREW:
                    self.withdrawn += 1
                    self.unplace(row_index)
                    self.ready.push(row_index, True)
                row.asked = taken == ASKED
            row_index = previous
        # What it runs now is charged as if it filled the credit, so that nothing is put behind it again.
        row = self.table.row(worker.head)
        if row.estimate_ns < CREDIT_NS:
            worker.load_ns += CREDIT_NS - row.estimate_ns
            row.estimate_ns = CREDIT_NS
            self.pool.settle(worker_index)

    cdef void flush(self) noexcept nogil:
        """Let every peer that was written to see it."""
        cdef Client *client
        full_fence()                                  # SYNC POINT sleep, for all of them
        self.pool.flush()
        while self.dirty_clients:
            client = &self.clients[self.dirty_clients - 1]
            self.dirty_clients = client.next_dirty
            client.dirty = False
            if client.present:
                (<Outlet>client.outlet).flush()

    cdef inline void note_dirty(self, uint32_t index) noexcept nogil:
        if not self.clients[index].dirty:
            self.clients[index].dirty = True
            self.clients[index].next_dirty = self.dirty_clients
            self.dirty_clients = index + 1

    # for tests and monitoring

    def step(self, uint64_t now):
        """Dispatch and flush: what the loop does after it has drained some rings."""
        self.dispatch(now)
        self.flush()

    def feed_client(self, uint32_t index, Ring submits not None, uint64_t now=0):
        """Take all that is in a client's submit ring."""
        cdef Record *record
        while True:
            record = submits.peek()
            if record == NULL:
                break
            self.on_submit(index, record, now)
            submits.step(record.record_bytes)
        submits.recycle()

    def feed_worker(self, uint32_t index, Ring results not None, uint64_t now):
        """Take all that is in a worker's result ring."""
        cdef Record *record
        while True:
            record = results.peek()
            if record == NULL:
                break
            self.on_result(index, record, now)
            results.step(record.record_bytes)
        results.recycle()

    def deliver(self, uint32_t index):
        """The client's outlet has room again: send what waited for it."""
        if self.clients[index].waiting_head:
            self.deliver_waiting(index)
            self.flush()

    def counts(self):
        """Tasks by where they are, for snapshots and tests."""
        return {"rows": self.table.used, "ready": self.ready.size, "workers": self.pool.present,
                "accepted": self.accepted, "answered": self.answered, "refused": self.refused,
                "dropped": self.dropped, "late": self.late, "withdrawn": self.withdrawn,
                "turned_away": self.turned_away}

# ResourceTable: what tasks ask for, what workers have, and which of it is taken.
#
# A *request* is what a task asks for beside a worker: {"gpu": 1, "mem": 8e9, "linux": no amount}. There are few different
# ones, so each is known by a number here; a function is announced with it (KIND_FUNCTION, FLAG_REQUEST), and a row has it
# from its function. 0 stands for none, and costs a task nothing.
#
# A *supply* is what a worker has. What has no amount (a tag) satisfies any request of that name, and nothing is taken of
# it. An amount is an *account*, and what is taken of it is missing until it is given back. Workers may share one: those
# of a host its memory, those that are pinned to a device that device. Workers with the same supply stand together, so
# that looking for one for a request means to look at few supplies, not at all workers.
#
# Amounts are whole numbers of thousandths, so that three times 0.333 is not more than 1, and nothing is lost by adding
# and taking away a million times.
#
#   a request as it travels      name | name=thousandths                 one a line, by name, each once
#   a supply                     name | name=thousandths@account         the same line is the same account, on one host
#
# Rule 1: what is free of an account, and what its workers hold of it, are together what there is (check).
# Rule 2: a request lives as long as a function has it, a supply and its accounts as long as a worker has them.
# Rule 3: whether a request fits a supply is found out when either is new, never when a task is placed.
# Not here: which task is next (ready), which worker takes it and what it then holds (claims), what users write
# (scaler.values.resources).

import re as _re

cpdef enum:
    MOST_RESOURCES = 16            # names in one request or supply
    MOST_RESOURCE_NAME_BYTES = 64
    MOST_REQUESTS = 1024           # of all clients at a time: each is looked at when something becomes free
    REQUEST_BYTES = 8192           # what a function with one counts for besides (quota): its lane, its fit to supplies
    RESOURCE_UNIT = 1000           # thousandths in one

cdef enum:
    UNFIT = 255                    # in place of a slot: the supply does not have that
    NOT_COUNTED = 254              # it does, and nothing is taken
    SUPPLY_BUCKETS = 34            # as many as the pool has

cdef struct Account:
    int64_t capacity
    int64_t free                   # below 0 while tasks that wait for each other have overdrawn it (claims)
    uint32_t users                 # supplies
    uint64_t kept_at               # at how many openings it was found to be kept for somebody

cdef struct Supply:
    uint32_t users                 # workers
    uint32_t count                 # of its accounts
    uint32_t accounts[16]
    uint64_t kept_at
    uint32_t heads[34]             # its workers that are open, by bucket, index + 1
    uint64_t buckets

cdef struct Request:
    uint32_t users                 # functions
    uint32_t count                 # of what it asks for
    int64_t amounts[16]            # 0: any
    uint8_t *slots                 # by supply and item: which of its accounts that is, or UNFIT, or NOT_COUNTED
    uint32_t next_supply           # where to begin to look

_REQUEST_LINE = _re.compile(rb"([^=@\n]{1,64})(?:=([1-9][0-9]{0,17}))?")
_SUPPLY_LINE = _re.compile(rb"([^=@\n]{1,64})(?:=([1-9][0-9]{0,17})@([^=@\n]{1,64}))?")


cdef list read_lines(bytes text, object line_of):
    """[(name, thousandths or 0, account or None)]; None if it makes no sense."""
    cdef list found = []
    cdef bytes before = b""
    cdef list lines = text.split(b"\n")
    if len(lines) > MOST_RESOURCES:
        return None
    for line in lines:
        match = line_of.fullmatch(line)
        if match is None or match[1] <= before:
            return None
        before = match[1]
        found.append((before, int(match[2] or 0), match[3] if line_of is _SUPPLY_LINE else None))
    return found


def is_request(bytes text not None):
    """Whether a scheduler takes this for what a task asks for."""
    return read_lines(text, _REQUEST_LINE) is not None


def is_supply(bytes text not None):
    """Whether a scheduler takes this for what a worker has."""
    return read_lines(text, _SUPPLY_LINE) is not None


cdef bint has_what_is_asked(bytes supply, bytes request) except -1:
    """Whether a worker with this supply could satisfy the request, if it held nothing."""
    cdef list wanted = read_lines(request, _REQUEST_LINE)
    cdef list there = read_lines(supply, _SUPPLY_LINE) if supply else []
    if wanted is None or there is None:
        return False
    has = {name: amount for name, amount, _ in there}
    return all([name in has and (not has[name] or amount <= has[name]) for name, amount, _ in wanted])


cdef tuple cut_request(bytes payload):
    """(what is announced, the request behind it) of a function with FLAG_REQUEST; the request is None if there is none."""
    cdef Py_ssize_t size = len(payload) - 2
    cdef Py_ssize_t n_bytes
    if size < 0:
        return payload, None
    n_bytes = <uint8_t>payload[size] | <uint8_t>payload[size + 1] << 8
    if n_bytes == 0 or n_bytes > size:
        return payload, None
    return payload[:size - n_bytes], payload[size - n_bytes:size]


def add_request(bytes payload not None, bytes request not None):
    """What a client announces a function with whose calls ask for this, beside FLAG_REQUEST."""
    return payload + request + bytes((len(request) & 255, len(request) >> 8))


@cython.final
cdef class ResourceTable:
    """Requests by number, supplies and accounts by index."""
    cdef ReadyQueue ready
    cdef Account *accounts
    cdef uint32_t account_room, account_length
    cdef list free_accounts
    cdef dict account_of           # (host, name, name of the account, capacity) -> index
    cdef list account_keys         # the other way round
    cdef Supply *supplies
    cdef uint32_t supply_room, supply_length
    cdef list free_supplies
    cdef dict supply_of            # (host, text) -> index
    cdef list supply_keys          # the other way round; None where there is none
    cdef list supply_items         # name -> thousandths, 0: not counted; and which slot
    cdef Request *requests
    cdef uint32_t request_room, request_length
    cdef list free_requests
    cdef dict request_of           # text -> number
    cdef list request_texts
    cdef list request_items        # [(name, thousandths)]
    cdef uint64_t changes          # how often a supply has come or gone

    def __cinit__(self, ReadyQueue ready):
        self.ready = ready
        self.account_of, self.supply_of, self.request_of = {}, {}, {}
        self.free_accounts, self.free_supplies, self.free_requests = [], [], []
        self.account_keys, self.supply_keys, self.supply_items = [], [], []
        self.request_texts, self.request_items = [None], [()]
        self.request_length = 1

    def __dealloc__(self):
        cdef uint32_t i
        for i in range(1, self.request_length):
            free(self.requests[i].slots)
        free(self.requests)
        free(self.supplies)
        free(self.accounts)

    # requests

    cdef object find_request(self, bytes text):
        """Its number, a new one if need be, that has to be used; None if it makes no sense, or there are too many."""
        cdef uint32_t number
        cdef list items
        cdef Request *requests
        cdef uint32_t supply
        known = self.request_of.get(text)
        if known is not None:
            return known
        items = read_lines(text, _REQUEST_LINE)
        if items is None or len(self.request_of) >= MOST_REQUESTS:
            return None
        number = self.free_requests.pop() if self.free_requests else self.request_length
        if number >= self.request_room:
            requests = <Request *>realloc(self.requests, (number + 16) * sizeof(Request))
            if requests == NULL:
                raise MemoryError("no memory for another request of resources")
            self.requests, self.request_room = requests, number + 16
        self.ready.add_lane(number)
        if number == self.request_length:
            self.request_length += 1
            self.request_texts.append(None)
            self.request_items.append(None)
        memset(&self.requests[number], 0, sizeof(Request))
        self.requests[number].count = <uint32_t>len(items)
        self.requests[number].slots = <uint8_t *>malloc(max(self.supply_room, <uint32_t>1) * len(items))
        if self.requests[number].slots == NULL:
            self.free_requests.append(number)
            raise MemoryError("no memory for another request of resources")
        for i, (_, amount, _) in enumerate(items):
            self.requests[number].amounts[<uint32_t>i] = amount
        self.request_texts[number] = text
        self.request_items[number] = [(name, amount) for name, amount, _ in items]
        self.request_of[text] = number
        for supply in range(self.supply_length):
            self.fit(number, supply)
        return number

    cdef inline void use_request(self, uint32_t number) noexcept nogil:
        self.requests[number].users += 1

    cdef int let_go_of_request(self, uint32_t number) except -1:
        """One function that has it is gone; with the last, so is the request."""
        self.requests[number].users -= 1
        return self.drop_unused(number)

    cdef int drop_unused(self, uint32_t number) except -1:
        """Forget it if no function has it."""
        if self.requests[number].users == 0 and self.request_texts[number] is not None:
            del self.request_of[self.request_texts[number]]
            self.request_texts[number] = self.request_items[number] = None
            free(self.requests[number].slots)
            memset(&self.requests[number], 0, sizeof(Request))
            self.ready.drop_lane(number)
            self.free_requests.append(number)
        return 0

    # supplies

    cdef uint32_t use_supply(self, uint32_t host, bytes text) except 0:
        """Index + 1 of what a new worker has. ValueError if the text makes no sense."""
        cdef uint32_t index
        cdef list items = read_lines(text, _SUPPLY_LINE)
        if items is None:
            raise ValueError("what a worker says that it has makes no sense")
        if not any([amount for _, amount, _ in items]):
            host = <uint32_t>-1                       # nothing is counted: it is the same wherever it is
        known = self.supply_of.get((host, text))
        if known is None:
            known = self.add_supply(host, text, items)
        index = known
        self.supplies[index].users += 1
        return index + 1

    cdef uint32_t add_supply(self, uint32_t host, bytes text, list items) except? 0:
        cdef uint32_t index = self.free_supplies[len(self.free_supplies) - 1] if self.free_supplies else self.supply_length
        cdef uint32_t account, request
        cdef dict has = {}
        if index >= self.supply_room:
            self.make_supply_room(index * 2 + 8)
        memset(&self.supplies[index], 0, sizeof(Supply))
        for name, amount, account_name in items:
            if not amount:
                has[name] = 0, <uint32_t>NOT_COUNTED
                continue
            account = self.use_account((host, name, account_name, amount), amount)
            has[name] = amount, self.supplies[index].count
            self.supplies[index].accounts[self.supplies[index].count] = account
            self.supplies[index].count += 1
        if index == self.supply_length:
            self.supply_length += 1
            self.supply_keys.append(None)
            self.supply_items.append(None)
        else:
            self.free_supplies.pop()
        self.supply_keys[index], self.supply_items[index] = (host, text), has
        self.supply_of[host, text] = index
        for request in range(1, self.request_length):
            if self.request_texts[request] is not None:
                self.fit(request, index)
        self.changes += 1
        return index

    cdef int make_supply_room(self, uint32_t room) except -1:
        cdef Supply *supplies
        cdef uint8_t *slots
        cdef uint32_t request
        for request in range(1, self.request_length):
            if self.request_texts[request] is not None:
                slots = <uint8_t *>realloc(self.requests[request].slots, room * self.requests[request].count)
                if slots == NULL:
                    raise MemoryError("no memory for another worker")
                self.requests[request].slots = slots
        supplies = <Supply *>realloc(self.supplies, room * sizeof(Supply))
        if supplies == NULL:
            raise MemoryError("no memory for another worker")
        self.supplies, self.supply_room = supplies, room
        return 0

    cdef uint32_t use_account(self, tuple key, int64_t capacity) except? 0:
        cdef uint32_t index
        cdef Account *accounts
        known = self.account_of.get(key)
        if known is not None:
            index = known
            self.accounts[index].users += 1
            return index
        index = self.free_accounts.pop() if self.free_accounts else self.account_length
        if index >= self.account_room:
            accounts = <Account *>realloc(self.accounts, (index * 2 + 16) * sizeof(Account))
            if accounts == NULL:
                raise MemoryError("no memory for another worker")
            self.accounts, self.account_room = accounts, index * 2 + 16
        if index == self.account_length:
            self.account_length += 1
            self.account_keys.append(None)
        self.accounts[index].capacity = self.accounts[index].free = capacity
        self.accounts[index].users, self.accounts[index].kept_at = 1, 0
        self.account_of[key], self.account_keys[index] = index, key
        return index

    cdef int let_go_of_supply(self, uint32_t index) except -1:
        """A worker that had it has gone, and holds nothing of it."""
        cdef uint32_t i, account, request
        cdef Supply *supply = &self.supplies[index]
        supply.users -= 1
        if supply.users:
            return 0
        for i in range(supply.count):
            account = supply.accounts[i]
            self.accounts[account].users -= 1
            if self.accounts[account].users == 0:
                del self.account_of[self.account_keys[account]]
                self.account_keys[account] = None
                self.free_accounts.append(account)
        del self.supply_of[self.supply_keys[index]]
        self.supply_keys[index] = self.supply_items[index] = None
        for request in range(1, self.request_length):
            if self.request_texts[request] is not None:
                self.fit(request, index)
        self.free_supplies.append(index)
        self.changes += 1
        return 0

    # which fits which

    cdef int fit(self, uint32_t number, uint32_t supply) except -1:
        """Note whether the supply could satisfy the request, if all of it were free, and out of which accounts."""
        cdef Request *request = &self.requests[number]
        cdef uint8_t *slots = request.slots + supply * request.count
        cdef uint32_t i = 0
        cdef dict has = self.supply_items[supply]
        memset(slots, UNFIT, request.count)
        if has is None:
            return 0
        for name, amount in self.request_items[number]:
            there, slot = has.get(name, (0, UNFIT))
            if slot == UNFIT or slot != NOT_COUNTED and amount > there:
                memset(slots, UNFIT, request.count)
                return 0
            slots[i] = NOT_COUNTED if amount == 0 else <uint8_t>slot
            i += 1
        return 0

    cdef inline uint8_t *slots_of(self, uint32_t request, uint32_t supply) noexcept nogil:
        """By what it asks for, which account of the supply that is; the first is UNFIT if it does not fit."""
        return self.requests[request].slots + supply * self.requests[request].count

    cdef bint fits_any(self, uint32_t request) noexcept nogil:
        """Whether a worker that is here could satisfy it, if it held nothing."""
        cdef uint32_t supply
        for supply in range(self.supply_length):
            if self.supplies[supply].users and self.slots_of(request, supply)[0] != UNFIT:
                return True
        return False

    # for people

    cdef list items_of(self, uint32_t number):
        """[(name, amount, None if it does not matter how much)] of a request."""
        return [(name.decode("utf-8", "replace"), amount / RESOURCE_UNIT if amount else None)
                for name, amount in self.request_items[number]]

    cdef list most_of(self, uint32_t number):
        """For each thing that it asks for, the most that one worker has: None if none has it, 0 without an amount."""
        cdef list found = []
        for name, _ in self.request_items[number]:
            amounts = [has[name][0] for has in self.supply_items if has is not None and name in has]
            found.append(None if not amounts else 0 if 0 in amounts else max(amounts) / RESOURCE_UNIT)
        return found

# What is done with the nodes of a graph before the first one runs: what is needed, who uses what, what is ready.
#
# Where all numbers rise, or all fall, from a node to those that need it, there can be no cycle, and one way through the
# numbers finds all. Else what is needed is found from what is asked for, and a cycle by going through the nodes as if
# they ran.
#
# Rule 1: no recursion: a graph may be a chain of millions.
# Not here: running them (matrix_nodes, piece_cutter).

cdef enum Direction:
    DIRECTION_NONE
    DIRECTION_RISES            # each node has a higher number than its inputs
    DIRECTION_FALLS


cdef object prepare_nodes(MatrixNodes nodes):
    """Find what is needed and who uses what. A list of nodes that need each other in a cycle, if there are any, and
    None if all is well."""
    cdef uint64_t edges
    cdef Direction direction
    with nogil:
        direction = direction_of(nodes)
        if direction == DIRECTION_NONE:
            cull(nodes)
        edges = count_users(nodes, direction)
    if edges > 0xFFFFFFFF:
        raise ValueError(f"this graph has {edges} inputs in all: more than 2^32 - 1")
    nodes.users = <uint32_t *>malloc(max(<size_t>1, <size_t>edges * 4))
    if nodes.users == NULL:
        raise MemoryError(f"no memory for a graph with {edges} inputs")
    with nogil:
        note_users(nodes)
        find_ready(nodes)
    if direction == DIRECTION_NONE:
        with nogil:
            visit_all(nodes)
        if nodes.done < nodes.needed:
            return find_cycle(nodes)
        nodes.done = 0
        with nogil:
            wait_again(nodes)
            find_ready(nodes)
    return None


cdef Direction direction_of(MatrixNodes nodes) noexcept nogil:
    """Whether all numbers rise, or all fall, from input to user: then there is no cycle, and one way through the
    numbers meets each node after all of its users."""
    cdef uint32_t i, k, n
    cdef bint rises = True
    cdef bint falls = True
    cdef const int32_t *inputs
    for i in range(nodes.count):
        inputs = nodes.inputs.of(i, &n)
        for k in range(n):
            if inputs[k] >= 0:
                if <uint32_t>inputs[k] >= i:
                    rises = False
                if <uint32_t>inputs[k] <= i:
                    falls = False
        if not rises and not falls:
            return DIRECTION_NONE
    return DIRECTION_RISES if rises else DIRECTION_FALLS


cdef void cull(MatrixNodes nodes) noexcept nogil:
    """What is asked for, and all that this needs, is waiting; all else is not needed."""
    cdef uint32_t i, node, k, n
    cdef uint32_t *stack = nodes.ready.ring            # nothing is ready yet
    cdef uint32_t depth = 0
    cdef const int32_t *inputs
    for i in range(nodes.count):
        if nodes.about[i] & NODE_ASKED and not nodes.about[i] & NODE_STATE:
            nodes.about[i] |= NODE_WAITING
            stack[0] = i
            depth = 1
            while depth:
                depth -= 1
                inputs = nodes.inputs.of(stack[depth], &n)
                for k in range(n):
                    if inputs[k] < 0:
                        continue
                    node = <uint32_t>inputs[k]
                    if not nodes.about[node] & (NODE_STATE | NODE_ASKED):    # else it comes, or has come, by itself
                        nodes.about[node] |= NODE_WAITING
                        stack[depth] = node
                        depth += 1


cdef uint64_t count_users(MatrixNodes nodes, Direction direction) noexcept nogil:
    """How many inputs there are in all; each node's missing ones, and how many users each has (in user_ends, one place
    further up). If numbers have a direction, what is asked for and what this needs is found on the way: each node comes
    after its users then."""
    cdef uint64_t edges = 0
    cdef bint culls = direction != DIRECTION_NONE
    cdef uint32_t at, i, k, n
    cdef const int32_t *inputs
    for at in range(nodes.count):
        i = nodes.count - 1 - at if direction == DIRECTION_RISES else at
        if culls and nodes.about[i] & NODE_ASKED:
            nodes.about[i] |= NODE_WAITING
        if not nodes.about[i] & NODE_STATE:
            continue
        nodes.needed += 1
        inputs = nodes.inputs.of(i, &n)
        nodes.counts[i].missing = 0
        for k in range(n):
            if inputs[k] < 0:
                continue
            if culls:
                nodes.about[inputs[k]] |= NODE_WAITING
            nodes.counts[i].missing += 1
            nodes.user_ends[<size_t>inputs[k] + 1] += 1
            edges += 1
    return edges


cdef void note_users(MatrixNodes nodes) noexcept nogil:
    """Each node's users, in rising order."""
    cdef uint32_t i, k, n, count
    cdef uint32_t so_far = 0
    cdef const int32_t *inputs
    for i in range(nodes.count):                   # user_ends[i + 1]: where the users of i begin
        count = nodes.user_ends[i + 1]
        nodes.user_ends[i + 1] = so_far
        so_far += count
    for i in range(nodes.count):
        if not nodes.about[i] & NODE_STATE:
            continue
        inputs = nodes.inputs.of(i, &n)
        for k in range(n):
            if inputs[k] >= 0:
                nodes.users[nodes.user_ends[<size_t>inputs[k] + 1]] = i
                nodes.user_ends[<size_t>inputs[k] + 1] += 1      # in the end: where they end


cdef void find_ready(MatrixNodes nodes) noexcept nogil:
    cdef uint32_t i
    nodes.ready.clear()
    for i in range(nodes.count):
        if nodes.about[i] & NODE_STATE == NODE_WAITING and nodes.counts[i].missing == 0:
            nodes.set_state(i, NODE_READY)
            nodes.ready.add(i)
    nodes.ready.sorted = nodes.ready.count


cdef void visit_all(MatrixNodes nodes) noexcept nogil:
    """Go through all nodes as if they ran; `done` says how many could."""
    cdef uint32_t i, k, n
    cdef uint32_t *users
    nodes.done = 0
    while nodes.ready.count:
        i = nodes.ready.take()
        nodes.done += 1
        users = nodes.users_of(i, &n)
        for k in range(n):
            nodes.counts[users[k]].missing -= 1
            if nodes.counts[users[k]].missing == 0:
                nodes.set_state(users[k], NODE_READY)
                nodes.ready.add(users[k])


cdef void wait_again(MatrixNodes nodes) noexcept nogil:
    """All that is needed waits for all of its inputs."""
    cdef uint32_t i, k, n
    cdef const int32_t *inputs
    for i in range(nodes.count):
        if nodes.about[i] & NODE_STATE:
            nodes.set_state(i, NODE_WAITING)
            inputs = nodes.inputs.of(i, &n)
            nodes.counts[i].missing = 0
            for k in range(n):
                nodes.counts[i].missing += inputs[k] >= 0


cdef list find_cycle(MatrixNodes nodes):
    """Some nodes that need each other, each the next one; the last is the first."""
    cdef uint32_t i = 0
    cdef uint32_t k, n
    cdef list way = []
    cdef dict places = {}
    cdef const int32_t *inputs
    for i in range(nodes.count):
        if nodes.about[i] & NODE_STATE == NODE_WAITING:
            break
    while i not in places:
        places[i] = len(way)
        way.append(i)
        inputs = nodes.inputs.of(i, &n)
        for k in range(n):
            if inputs[k] >= 0 and nodes.about[inputs[k]] & NODE_STATE == NODE_WAITING:
                i = <uint32_t>inputs[k]
                break
    return way[places[i]:] + [i]

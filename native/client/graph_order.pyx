# The order in which the nodes of a graph are sent: what a node needs comes before it.
#
# The first walk finds for each node the longest way below it (its height), and cycles. Where the inputs of some node have
# different heights a second walk orders again, and takes the input with the longest way first.
#
# Rule 1: no recursion: a graph may be a chain of a million nodes.
# Not here: why this order is good (scaler/client/graph/order.py), the nodes (graph_table).

cdef struct Visit:
    uint32_t node
    uint32_t place


cdef object order_nodes(GraphTable table, targets):
    """The numbers of all that is to be sent, inputs first; a list of keys instead if these need each other in a cycle."""
    cdef size_t n = len(table.keys)
    cdef Visit *stack = <Visit *>malloc((n + 1) * sizeof(Visit))
    cdef uint32_t *inputs = table.inputs
    cdef uint32_t *out
    cdef size_t made = 0
    cdef bint is_uneven = False
    cdef bytearray order = bytearray(4 * n)
    cdef size_t depth
    if stack == NULL:
        raise MemoryError("no memory to order a graph")
    out = <uint32_t *>PyByteArray_AS_STRING(order)
    try:
        for target in targets:
            depth = find_heights(table, target, stack, out, &made, &is_uneven)
            if depth:
                return [table.keys[stack[i].node] for i in range(depth)]
        if is_uneven:
            inputs = longest_first(table)
            made = 0
            for target in targets:
                put_out_needed(table, target, stack, inputs, out, &made)
    finally:
        free(stack)
        if inputs != table.inputs:
            free(inputs)
    return memoryview(order)[:4 * made].cast("I")


cdef size_t find_heights(GraphTable table, uint32_t target, Visit *stack, uint32_t *out, size_t *made,
                         bint *is_uneven) noexcept nogil:
    """Find the heights of what the target needs, depth first. If there is a cycle: how many nodes of the stack it has."""
    cdef GraphNode *node
    cdef uint32_t input, lowest, highest, k
    cdef size_t depth = 0
    if table.rows[target].height != HEIGHT_UNSEEN:
        return 0
    stack[0].node, stack[0].place = target, 0
    table.rows[target].height = HEIGHT_UNDER_WAY
    depth = 1
    while depth:
        node = &table.rows[stack[depth - 1].node]
        if stack[depth - 1].place < node.count:
            input = table.inputs[node.first + stack[depth - 1].place]
            stack[depth - 1].place += 1
            if table.rows[input].height == HEIGHT_UNSEEN:
                table.rows[input].height = HEIGHT_UNDER_WAY
                stack[depth].node, stack[depth].place = input, 0
                depth += 1
            elif table.rows[input].height == HEIGHT_UNDER_WAY:
                return cut_to_cycle(stack, depth, input)
            continue
        lowest, highest = 0xFFFFFFFF, 0
        for k in range(node.count):
            lowest = min(lowest, table.rows[table.inputs[node.first + k]].height)
            highest = max(highest, table.rows[table.inputs[node.first + k]].height)
        node.height = highest + 1 if node.count else 0
        if node.count and lowest != highest:
            is_uneven[0] = True
        depth -= 1
        put_out(table, stack[depth].node, out, made)
    return 0


cdef size_t cut_to_cycle(Visit *stack, size_t depth, uint32_t input) noexcept nogil:
    """Move the part of the stack that begins with this input to its front, and close the cycle. Its length."""
    cdef size_t at = 0
    while stack[at].node != input:
        at += 1
    memmove(stack, stack + at, (depth - at) * sizeof(Visit))
    stack[depth - at].node = input
    return depth - at + 1


cdef inline void put_out(GraphTable table, uint32_t number, uint32_t *out, size_t *made) noexcept nogil:
    """This node is sent next, unless it is data that no call needs."""
    if table.rows[number].about & NODE_CALLS or table.rows[number].uses:
        out[made[0]] = number
        made[0] += 1


cdef uint32_t *longest_first(GraphTable table) except NULL:
    """A copy of all nodes' inputs, of each node the one with the longest way below it first."""
    cdef uint32_t *inputs = <uint32_t *>malloc((table.input_count + 1) * sizeof(uint32_t))
    cdef uint32_t *mine
    cdef GraphNode *node
    cdef size_t number
    cdef uint32_t i, k, input, height
    if inputs == NULL:
        raise MemoryError("no memory to order a graph")
    memcpy(inputs, table.inputs, table.input_count * sizeof(uint32_t))
    for number in range(len(table.keys)):
        node = &table.rows[number]
        mine = inputs + node.first
        if node.count > 2 * PLAIN_ARGUMENTS:
            ordered = sorted([mine[i] for i in range(node.count)], key=table.height_of, reverse=True)
            for i in range(node.count):
                mine[i] = ordered[i]
            continue
        for i in range(1, node.count):
            input = mine[i]
            height = table.rows[input].height
            k = i
            while k and table.rows[mine[k - 1]].height < height:
                mine[k] = mine[k - 1]
                k -= 1
            mine[k] = input
    return inputs


cdef void put_out_needed(GraphTable table, uint32_t target, Visit *stack, const uint32_t *inputs, uint32_t *out,
                         size_t *made) noexcept nogil:
    """Put out what the target needs and was not put out before, depth first."""
    cdef GraphNode *node
    cdef uint32_t input
    cdef size_t depth = 1
    if table.rows[target].about & NODE_BEGUN:
        return
    stack[0].node, stack[0].place = target, 0
    table.rows[target].about |= NODE_BEGUN
    while depth:
        node = &table.rows[stack[depth - 1].node]
        if stack[depth - 1].place < node.count:
            input = inputs[node.first + stack[depth - 1].place]
            stack[depth - 1].place += 1
            if not table.rows[input].about & NODE_BEGUN:
                table.rows[input].about |= NODE_BEGUN
                stack[depth].node, stack[depth].place = input, 0
                depth += 1
            continue
        depth -= 1
        put_out(table, stack[depth].node, out, made)

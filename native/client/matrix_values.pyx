# Reading what the nodes of a graph have come to: one value, columns of numbers, what is done and what has failed.
#
# Not here: in what shape a user wants them (scaler/client/graph/matrix_keys).

cdef double NOT_A_NUMBER = float("nan")


cdef object node_value(MatrixNodes nodes, uint32_t node, object loads):
    """None if it has failed."""
    cdef int state = nodes.about[node] & NODE_STATE
    if state == VALUE_PICKLED:
        return loads(<object><PyObject *><size_t>nodes.values[node])
    if state == VALUE_FAILED:
        return None
    return number_value(state, nodes.values[node])


cdef list read_values(MatrixNodes nodes, NodeRange asked, object loads):
    cdef list values = []
    cdef size_t i
    for i in range(asked.length):
        values.append(node_value(nodes, asked.at(i), loads))
    return values


cdef list list_failed_nodes(MatrixNodes nodes):
    cdef uint32_t i
    cdef list found = []
    if nodes.failures:
        for i in range(nodes.count):
            if nodes.about[i] & NODE_ASKED and nodes.about[i] & NODE_STATE == VALUE_FAILED:
                found.append(i)
    return found


cdef size_t find_open_place(MatrixNodes nodes, NodeRange asked, size_t place) noexcept nogil:
    """The first place from this one on whose node is not done; their length if there is none."""
    while place < asked.length and nodes.about[asked.at(place)] & NODE_STATE >= VALUE_GONE:
        place += 1
    return place


cdef size_t find_failed_place(MatrixNodes nodes, NodeRange asked, size_t place, size_t end) noexcept nogil:
    """The first of these places whose node has failed; `end` if there is none."""
    while place < end and nodes.about[asked.at(place)] & NODE_STATE != VALUE_FAILED:
        place += 1
    return place


cdef list fill_numbers(MatrixNodes nodes, NodeRange asked, floats_out, ints_out):
    cdef double[::1] floats = floats_out
    cdef int64_t[::1] ints = ints_out
    cdef list others = []
    cdef size_t i
    cdef uint32_t node
    cdef int state
    cdef double real
    for i in range(asked.length):
        node = asked.at(i)
        state = nodes.about[node] & NODE_STATE
        if state == VALUE_INT or state == VALUE_BOOL:
            if floats is not None:
                floats[i] = <double>nodes.values[node]
            else:
                ints[i] = nodes.values[node]
        elif state == VALUE_FLOAT and floats is not None:
            memcpy(&real, &nodes.values[node], 8)
            floats[i] = real
        elif state == VALUE_FAILED:
            if floats is not None:
                floats[i] = NOT_A_NUMBER
            else:
                ints[i] = 0
        else:
            others.append(i)
    return others

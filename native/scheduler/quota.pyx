# Quota: what is kept here for one client, and how much of each kind that may be. The one place where both are said.
#
# `--client-queue-bytes` is a bound of everything together, so each kind has a share of it, and from 16 MiB on the shares
# add up to the whole (below that functions and objects have more, since less than 1 MiB is of no use). They are cut by
# what happens when one is used up. Tasks wait where they are, which harms nobody; so theirs is small beside that of
# results that are kept for other tasks, of which one that finds no room is lost.
#
# | what | counts | share | beyond it |
# | tasks | rows, payloads, nodes and edges, pages of ids | 4 / 16 | they are not read; those of a task are refused |
# | functions | their bytes and FUNCTION_BYTES each | 1 / 16, or 1 MiB | an announcement waits for tasks to end, or is |
# |           |                                     |                | refused if none can                              |
# | objects | OBJECT_BYTES for each that it has made | 1 / 16, or 1 MiB | a task that brings one more is refused |
# | results | those that are kept, rows that have nothing else, inputs that were written | 10 / 16 | one more is lost |
# | of these, written inputs | | 4 / 16 | the next task whose inputs are there is put off |
#
# What may be beyond a share: the only task of a client that holds nothing else, and the only section of inputs that is
# written for it, since what can never have a turn would wait for ever; and results of tasks that workers held already
# when its ring became full, since results are not thrown away (its other tasks are in no turn until it has read them).
#
# And tasks of a client that is *stalled*: all of its tasks that are open wait for inputs. Of these the one with the
# lowest number waits for an input that is not here (inputs have lower numbers, and no task that could end is left), and
# only the client can hand that in. What it says to that end may stand behind any number of tasks, so it is read on, up
# to as much as its whole quota (or LEAST_STALLED); the tasks beyond that are refused, so that what comes behind them is
# read in any case. Nobody is stalled for another reason: as long as one task runs, can run or has a result to be read,
# that ends, and either there is room then or all others wait. What is no task, but the result of one that the client
# hands in or the end of waiting for others, takes nothing of the share, so it is never held up when it is next.
#
# A function counts until nobody here uses it, though its client will not name it again: else an announcement, a task and
# the end of the announcement, again and again, would be a way round the functions' share.
#
# The bytes of objects are not counted here: they lie in stores, whose limit is that of the memory they are made of. But
# a client whose open tasks bring as much as all of its quota is not read on either; the tasks of a task are not asked
# that, since they would be refused where others wait, and what their worker can make is bounded by its store.
#
# Rule 1: whatever a client makes the core keep is in `kept_bytes`, at what it really takes, and whatever takes more asks
#         here first. Not in it is what is noted of results that are objects, which workers have made, and that the client
#         was given: that it holds them (ObjectTable.kept), and what they are, until it releases them. One that never
#         does fills the stores where they lie, whose limit ends that.
# Rule 2: shares do not lend to each other. Else tasks that are queued could use up what the results need that they
#         wait for, and then neither would ever become less.
# Not here: what is kept of a connection besides: rings, frames that wait (scaler.session.remote_peers).

cdef enum:
    QUOTA_PARTS = 16
    TASK_PARTS = 4
    FUNCTION_PARTS = 1
    OBJECT_PARTS = 1
    RESULT_PARTS = 10
    WRITTEN_PARTS = 4            # of those
    LEAST_SHARE = 1 << 20        # of functions and of objects, however little it may have altogether
    LEAST_STALLED = 64 << 20     # of tasks of a client that is stalled: more than its ring and its wire hold
    OBJECT_BYTES = 256           # what is known of one, here and in the store of those that came over a wire


cdef inline uint64_t share_of(uint64_t quota, int parts) noexcept nogil:
    return quota // QUOTA_PARTS * parts


cdef inline uint64_t least_share_of(uint64_t quota, int parts) noexcept nogil:
    return max(share_of(quota, parts), <uint64_t>LEAST_SHARE)


cdef inline uint64_t bytes_of_node(Node *node) noexcept nogil:
    return sizeof(Node) + <uint64_t>node.edges * sizeof(Edge)


cdef inline uint64_t tasks_bytes(Client *client) noexcept nogil:
    """Its tasks, but for what counts as results."""
    return (client.queued_bytes - client.inline_bytes + client.node_bytes + client.open_tasks * sizeof(Row)
            - client.resting_bytes + client.directory.pages * DIRECTORY_PAGE_BYTES)


cdef inline uint64_t results_bytes(Client *client) noexcept nogil:
    """Results that are kept for its tasks, and inputs that were written for them."""
    return client.blob_bytes + client.resting_bytes + client.written_bytes


cdef uint64_t cost_of(Record *record) noexcept nogil:
    """What a task takes when it comes, at most; 0 for what is no task, and makes what others take less."""
    cdef Inputs inputs
    cdef uint64_t cost = sizeof(Row) + DIRECTORY_PAGE_BYTES + payload_bytes_of(record)
    if record.flags & FLAG_INPUTS and read_inputs(&inputs, payload_of(record), payload_bytes_of(record), record.flags):
        if inputs.about & (INPUTS_SUPPLY | INPUTS_GIVE_UP):
            return 0
        cost += sizeof(Node) + inputs.count * (sizeof(Edge) + sizeof(Node))     # each input may get a node, too
    return cost


cdef inline bint may_take(Client *client, uint64_t quota, uint64_t cost) noexcept nogil:
    """Whether so much may be kept for one more task."""
    return (tasks_bytes(client) + cost <= share_of(quota, TASK_PARTS)
            and (client.brought_bytes <= quota or client.worker_tag != 0)
            or client.open_tasks == client.resting)


cdef inline bint has_only_waiting(Client *client) noexcept nogil:
    """Whether none of its tasks runs, can run, or has a result to be read: all that are open wait for their inputs."""
    return client.open_tasks == client.resting + client.rows_waiting


cdef inline bint may_take_stalled(Client *client, uint64_t quota, uint64_t cost) noexcept nogil:
    """The same of a client that is stalled."""
    return tasks_bytes(client) + cost <= max(quota, <uint64_t>LEAST_STALLED)


cdef inline bint may_keep(Client *client, uint64_t quota, uint64_t n_bytes) noexcept nogil:
    """Whether a result may be kept."""
    return results_bytes(client) + n_bytes <= share_of(quota, RESULT_PARTS)


cdef inline bint may_write(Client *client, uint64_t quota, uint64_t n_bytes) noexcept nogil:
    """Whether the inputs of a task may be written now. The only ones always may."""
    return client.written_bytes == 0 or (client.written_bytes + n_bytes <= share_of(quota, WRITTEN_PARTS)
                                         and may_keep(client, quota, n_bytes))


cdef inline bint may_announce(Client *client, uint64_t quota, uint64_t n_bytes) noexcept nogil:
    """Whether it may have one more function: one that is held up for its tasks may announce the next."""
    return client.function_bytes + FUNCTION_BYTES + n_bytes <= least_share_of(quota, FUNCTION_PARTS)


cdef inline uint64_t most_objects(uint64_t quota) noexcept nogil:
    """How many objects of its making there may be."""
    return least_share_of(quota, OBJECT_PARTS) // OBJECT_BYTES

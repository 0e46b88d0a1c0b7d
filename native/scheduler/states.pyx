# States: what a task can be for the scheduler, what can happen to it, and what it is then.
#
# The theory. A task has one owner, its row, and the row has one state, which says in which of the core's lists the row
# is (READY: the ready queue, PLACED and CANCELLED: a worker's, ANSWERED: its client's, ...) and so who may take it out
# of there. A state changes by an event, and an event always leads to the same state, whatever the state before was; but
# it can happen in some states only. So the table below has a line for each event: the states in which it may happen, and
# the one that follows. The task's effects (its result, its dependants, the objects it holds) are beside the event, in the
# part of the core that brings it about.
#
# A task comes as NEW, and in the same event becomes something else. Usually that is READY, then PLACED, and then its row
# is FREE again. All other states are side rooms.
#
# Rule 1: `move` is the only thing that writes a row's state. In a usual build it costs what an assignment costs. In the
#         checked one (SCALER_CHECKED) it first looks whether the event can be, and if not, says so and ends the process:
#         from there on nothing that the core says could be believed.
# Rule 2: the picture in docs/architecture.md is made from this table (`make states`), so it cannot say anything else.
# Not here: which lists there are (ready, worker_pool, clients, survivors, deaths, edges), why an event happens (core).

from libc.stdio cimport fprintf, stderr
from libc.stdlib cimport abort

cdef extern from *:
    """
    #ifdef SCALER_CHECKED
    #define SCALER_IS_CHECKED 1
    #else
    #define SCALER_IS_CHECKED 0
    #endif
    """
    bint IS_CHECKED "SCALER_IS_CHECKED"

cdef enum:
    ROW_FREE = 0
    ROW_NEW = 1
    ROW_READY = 2
    ROW_PLACED = 3
    ROW_CANCELLED = 4
    ROW_ANSWERED = 5
    ROW_HELD_BACK = 6
    ROW_LENT = 7
    ROW_DOOMED = 8
    ROW_WAITING = 9
    ROW_KEPT = 10
    STATES = 11

cdef enum:
    EVENT_COMES = 0
    EVENT_CAN_RUN = 1
    EVENT_WAITS = 2
    EVENT_IS_COMPLETE = 3
    EVENT_IS_HELD_BACK = 4
    EVENT_IS_NOWHERE = 5
    EVENT_IS_GIVEN = 6
    EVENT_IS_TAKEN_BACK = 7
    EVENT_IS_UNWANTED = 8
    EVENT_IS_LENT = 9
    EVENT_IS_RETURNED = 10
    EVENT_IS_DOOMED = 11
    EVENT_HAS_NO_ROOM = 12
    EVENT_IS_KEPT = 13
    EVENT_ENDS = 14
    EVENTS = 15

cdef struct Step:
    uint32_t before      # bit per state in which the event may happen
    uint8_t after


cdef inline Step step_of(uint32_t event) noexcept nogil:
    """The table. With a constant event the compiler leaves nothing of it but the state after."""
    if event == EVENT_COMES:
        return Step(1 << ROW_FREE, ROW_NEW)
    if event == EVENT_CAN_RUN:
        return Step(1 << ROW_NEW, ROW_READY)
    if event == EVENT_WAITS:
        return Step(1 << ROW_NEW, ROW_WAITING)
    if event == EVENT_IS_COMPLETE:
        return Step(1 << ROW_WAITING, ROW_READY)
    if event == EVENT_IS_HELD_BACK:
        return Step(1 << ROW_NEW | 1 << ROW_READY, ROW_HELD_BACK)
    if event == EVENT_IS_NOWHERE:
        return Step(1 << ROW_HELD_BACK, ROW_READY)
    if event == EVENT_IS_GIVEN:
        return Step(1 << ROW_READY, ROW_PLACED)
    if event == EVENT_IS_TAKEN_BACK:
        return Step(1 << ROW_PLACED, ROW_READY)
    if event == EVENT_IS_UNWANTED:
        return Step(1 << ROW_PLACED, ROW_CANCELLED)
    if event == EVENT_IS_LENT:
        return Step(1 << ROW_READY, ROW_LENT)
    if event == EVENT_IS_RETURNED:
        return Step(1 << ROW_LENT, ROW_READY)
    if event == EVENT_IS_DOOMED:
        return Step(1 << ROW_PLACED, ROW_DOOMED)
    if event == EVENT_HAS_NO_ROOM:
        return Step(1 << ROW_NEW | 1 << ROW_READY | 1 << ROW_PLACED | 1 << ROW_HELD_BACK | 1 << ROW_WAITING
                    | 1 << ROW_DOOMED, ROW_ANSWERED)
    if event == EVENT_IS_KEPT:
        return Step(1 << ROW_NEW | 1 << ROW_READY | 1 << ROW_PLACED | 1 << ROW_HELD_BACK | 1 << ROW_WAITING
                    | 1 << ROW_DOOMED | 1 << ROW_ANSWERED, ROW_KEPT)
    return Step((1 << STATES) - 1 - (1 << ROW_FREE), ROW_FREE)          # EVENT_ENDS


_STATE_WORDS = (
    ("FREE", "no task: the row is to be used again"),
    ("NEW", "its record has come, and is being looked at; no task is so between two events"),
    ("READY", "in the ready queue"),
    ("PLACED", "a worker has it"),
    ("CANCELLED", "a worker has it, and nobody wants the result"),
    ("ANSWERED", "its result waits for room on the way to its client"),
    ("HELD_BACK", "it was sent again, and some worker may have it, or its result"),
    ("LENT", "its client runs it, in a task that waits for it"),
    ("DOOMED", "its worker has died once too often, and it waits for what is to be said of that"),
    ("WAITING", "for the results of other tasks"),
    ("KEPT", "it has ended, and its result is kept for tasks that are still to come"),
)
_EVENT_WORDS = (
    ("comes", "a record with a new id"),
    ("can run", "it needs nothing but a worker"),
    ("waits", "not all of its inputs are there"),
    ("is complete", "its last input has come"),
    ("is held back", "it was sent to a scheduler before this one, too"),
    ("is nowhere", "nobody turned out to have it"),
    ("is given", "to a worker"),
    ("is taken back", "it was withdrawn, or its worker has died"),
    ("is unwanted", "it was cancelled, and its record could not be taken back"),
    ("is lent", "its client waits for it, and no worker has begun it"),
    ("is returned", "its client will not run it"),
    ("is doomed", "the last death that it may have"),
    ("has no room", "it has ended, and its client's ring is full"),
    ("is kept", "it has ended, and dependants are promised"),
    ("ends", "it was answered, or nobody wants it"),
)


cdef void refuse_event(uint32_t state, uint32_t event, uint64_t task) noexcept nogil:
    """Nothing that is believed here is true any more."""
    with gil:
        fprintf(stderr, b"task %#llx is %s: that it %s cannot be\n", <unsigned long long>task,
                PyBytes_AS_STRING((<str>_STATE_WORDS[state][0]).encode()),
                PyBytes_AS_STRING((<str>_EVENT_WORDS[event][0]).encode()))
    abort()


def states():
    """[(state, its meaning)], for the documentation."""
    return list(_STATE_WORDS)


def transitions():
    """[(event, its meaning, the states in which it may happen, the state after)], by name, for the documentation."""
    return [(_EVENT_WORDS[event][0], _EVENT_WORDS[event][1],
             [_STATE_WORDS[state][0] for state in range(STATES) if step_of(event).before >> state & 1],
             _STATE_WORDS[step_of(event).after][0])
            for event in range(EVENTS)]


def is_checked():
    """Whether this build refuses events that cannot be."""
    return bool(IS_CHECKED)

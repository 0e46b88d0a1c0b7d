@0xb7d1f3a05c6e9824;

# What a scheduler says about itself to those who look: on its monitor address, a ZeroMQ XPUB socket.
#
# One ZeroMQ message has two parts: a topic, and one Cap'n Proto message whose root is a Report. A viewer subscribes to
# the topics that it shows, and the scheduler makes only what somebody has subscribed to, once a second.
#
#   summary, workers, functions, clients, hosts, failures, events    the tables below
#   task/<16 hex digits of a task's id>                              where this task stands, and why it does not run
#   stack/<16 hex digits of a task's id>                             what the code of this task does just now
#
# A viewer says nothing but its subscriptions, so a question is a topic as well: it is answered at once, and again each
# second until nobody has subscribed to it any more.
#
# Rule 1: `magic` and `version` are the first word of the root in every version there will ever be.
# Rule 2: a table is in columns. A Data is an array of little-endian numbers of the type that its comment says, as many
#         as the table has rows. A Texts has as many texts as the table has rows.
# Rule 3: counts never come from events. They are exact, also when events are lost.
# Rule 4: a member is never removed, renumbered or given another meaning.
# Rule 5: what is a text here may have been written by anybody (names of functions and workers, tracebacks): it is
#         shown as text, and never run, and the scheduler has cut it to a stated length.

const magic :UInt32 = 0x5343414d;                       # "SCAM": SCAL's monitor
const version :UInt32 = 1;

struct Report {
  magic @0 :UInt32;
  version @1 :UInt32;
  epoch @2 :UInt64;                                     # of the scheduler; another one after every start
  number @3 :UInt64;                                    # of this round of reports, one higher each second
  wallNs @4 :UInt64;                                    # when it was made, since 1970
  clockNs @5 :UInt64;                                   # the same moment on the scheduler's monotonic clock, which all
                                                        # other times here are of

  union {
    summary @6 :Summary;
    workers @7 :Workers;
    functions @8 :Functions;
    clients @9 :Clients;
    hosts @10 :Hosts;
    failures @11 :Failures;
    events @12 :Events;
    task @13 :Task;
    stack @14 :Stack;
  }
}

struct Texts {
  data @0 :Data;                                        # UTF-8, one after the other
  ends @1 :Data;                                        # u32: where each one ends in `data`
}

# Every call that a client has submitted is in exactly one of these, a chunk of a map as so many calls:
#   submitted = waiting + ready + heldBack + placed + lent + doomed + succeeded + failed + cancelled
# A call that is run again (retries) stays one call. One whose result nobody has read yet has succeeded or failed. A call
# that a task makes in place, in its own process, and that never comes to the scheduler, is in `inPlace` alone; one that
# had come, and that the scheduler has lent to the task that waits for it, has succeeded once that has run it, whatever it
# came to. One that was cancelled and that other tasks still need goes on, and ends as what it then is. A submit that was
# refused has failed.
struct Counts {
  submitted @0 :UInt64;
  succeeded @1 :UInt64;
  failed @2 :UInt64;                                    # raised an exception, was lost with its worker, was refused
  cancelled @3 :UInt64;                                 # as soon as it is: its worker may still be at it (`stopping`)
  waiting @4 :UInt64;                                   # for results of other tasks
  ready @5 :UInt64;                                     # to be placed on a worker
  heldBack @6 :UInt64;                                  # sent again after a restart; a worker may have it
  placed @7 :UInt64;                                    # on a worker, running or next
  lent @8 :UInt64;                                      # to the task that waits for it
  doomed @9 :UInt64;                                    # its worker has died; how is being found out
  # Besides, and in none of the sums:
  stopping @10 :UInt64;                                 # cancelled, and still on a worker
  unread @11 :UInt64;                                   # ended, and there is no room yet to tell the client
  kept @12 :UInt64;                                     # ended, and the result is kept for dependants
  inPlace @13 :UInt64;                                  # run in place by the tasks that wait for them, lent ones included
  retried @14 :UInt64;                                  # runs beyond the first
  stopped @15 :UInt64;                                  # ended by force: a time limit, or a cancel that came late
}

struct Summary {
  schedulerVersion @0 :Text;
  pythonVersion @1 :Text;
  address @2 :Text;
  monitorAddress @3 :Text;
  hostName @4 :Text;
  pid @5 :UInt32;
  startedNs @6 :UInt64;                                 # since 1970

  counts @7 :Counts;
  workers @8 :UInt32;
  idleWorkers @9 :UInt32;                               # with nothing to do
  clients @10 :UInt32;
  hosts @11 :UInt32;
  functions @12 :UInt32;                                # that a client has just now

  cpuShare @13 :Float32;                                # of the scheduler's process since the last report; 1: one core
  rssBytes @14 :UInt64;
  lagNs @15 :UInt64;                                    # by how much a timer of its loop was late at most since the
                                                        # last report
  queuedBytes @16 :UInt64;                              # kept for tasks: rows and payloads
  objects @17 :UInt64;
  objectBytes @18 :UInt64;
  keptResultBytes @19 :UInt64;
  sharedMemoryTotalBytes @20 :UInt64;                   # /dev/shm of the scheduler's host
  sharedMemoryFreeBytes @21 :UInt64;

  messages @22 :Tally;                                  # frames and records by kind, e.g. "received tasks"
  refusals @23 :Tally;                                  # what was refused, by reason
  restarts @24 :Tally;                                  # workers that ended and were replaced, by reason
  warnings @25 :List(Text);                             # what is wrong just now, in sentences, the worst first

  recorder @26 :Recorder;
}

struct Tally {
  names @0 :Texts;
  counts @1 :Data;                                      # u64
}

# The flight recorder: a ring of events in shared memory, which viewers of the scheduler's host map for reading.
struct Recorder {
  segment @0 :Text;                                     # its name in /dev/shm; empty: there is none
  room @1 :UInt64;                                      # events in the ring
  written @2 :UInt64;                                   # events ever written; the last `room` of them are there
}

struct Workers {
  number @0 :Data;                                      # u32: never used again for another worker
  host @1 :Data;                                        # u32: number in Hosts
  pid @2 :Data;                                         # u32: on its own host
  name @3 :Texts;
  state @4 :Data;                                       # u8: bits, 1 runs a task, 2 its task waits for another,
                                                        # 4 still runs what an earlier scheduler gave it, 8 is being
                                                        # stopped, 16 has no room in its rings, 32 suspended
  task @5 :Data;                                        # u64: what it runs, or 0
  function @6 :Data;                                    # u32: number of what it runs, or 0
  sinceNs @7 :Data;                                     # u64: when that began, as far as the scheduler knows
  held @8 :Data;                                        # u32: tasks that it has, running ones included
  free @9 :Data;                                        # u32: tasks that it may still be given
  loadNs @10 :Data;                                     # u64: how long it is expected to be busy with them
  sent @11 :Data;                                       # u64: calls ever given to it
  succeeded @12 :Data;                                  # u64
  failed @13 :Data;                                     # u64
  inPlace @14 :Data;                                    # u64: calls that its tasks have run in place; elsewhere, as of
                                                        # the last look of its supervisor
  busyNs @15 :Data;                                     # u64: sum of the durations of what it has answered
  cpuShare @16 :Data;                                   # f32: 1 is one core
  rssBytes @17 :Data;                                   # u64
  joinedNs @18 :Data;                                   # u64
}

struct Hosts {
  number @0 :Data;                                      # u32: 0 is the scheduler's
  name @1 :Texts;
  cluster @2 :Texts;                                    # names of its clusters, separated by commas
  cores @3 :Data;                                       # u32
  workers @4 :Data;                                     # u32
  agentPid @5 :Data;                                    # u32: of the supervisor
  agentCpuShare @6 :Data;                               # f32
  agentRssBytes @7 :Data;                               # u64
  memoryTotalBytes @8 :Data;                            # u64
  memoryFreeBytes @9 :Data;                             # u64: available
  sharedMemoryTotalBytes @10 :Data;                     # u64
  sharedMemoryFreeBytes @11 :Data;                      # u64
  objects @12 :Data;                                    # u64: that are there
  objectBytes @13 :Data;                                # u64
  lagNs @14 :Data;                                      # u64: of its last heartbeat; 0 on the scheduler's host
  heardNs @15 :Data;                                    # u64: when something last came from it
}

# Durations and times in the queue are in histograms of logarithmic buckets: bucket 4 * e + q has the values from
# (4 + q) * 2^(e-2) ns up to the next bucket's first, for e from 2 on; values below 4 ns are in buckets of their own value.
# Only buckets that hold something are listed. The first one that a scheduler counts in, 24, has all that is below 80 ns,
# its last, 191, all from 7/4 * 2^47 ns on.
#
# A program may have a million functions. There are rows for at most 500 that a client has, those that were called last,
# and for the last 256 that no client has any more; the row with the number 0, if there is one, is the sum of all others.
struct Functions {
  number @0 :Data;                                      # u32: never used again for another function
  name @1 :Texts;
  submitted @2 :Data;                                   # u64: calls
  succeeded @3 :Data;                                   # u64
  failed @4 :Data;                                      # u64
  cancelled @5 :Data;                                   # u64
  placed @6 :Data;                                      # u64: on workers just now, those being stopped included
  durationNs @7 :Data;                                  # u64: sum
  queuedNs @8 :Data;                                    # u64: sum, from when it could run until a worker began it. That
                                                        # is when its result was read, less the duration that the worker
                                                        # has measured: it is too long by what the result waited to be
                                                        # read. Of a task whose worker died it begins anew
  lastNs @9 :Data;                                      # u64: when one was last answered
  durations @10 :Histograms;                            # of calls; of a chunk each call has its mean
  queued @11 :Histograms;
  isGone @12 :Data;                                     # u8: no client has it any more
}

struct Histograms {
  ends @0 :Data;                                        # u32: where each row's buckets end
  buckets @1 :Data;                                     # u16
  counts @2 :Data;                                      # u64
}

struct Clients {
  bits @0 :Data;                                        # u32: the 24 high bits of its tasks' ids
  name @1 :Texts;                                       # its identity, made readable
  hostName @2 :Texts;
  pid @3 :Data;                                         # u32
  state @4 :Data;                                       # u8: bits, 1 that of a worker's tasks, 2 does not read its
                                                        # results, 4 waits for its quota, 8 gone, its tasks are not
  submitted @5 :Data;                                   # u64
  succeeded @6 :Data;                                   # u64
  failed @7 :Data;                                      # u64
  cancelled @8 :Data;                                   # u64
  waiting @9 :Data;                                     # u64
  ready @10 :Data;                                      # u64: held back ones included
  placed @11 :Data;                                     # u64: lent and doomed ones included
  unread @12 :Data;                                     # u64
  keptBytes @13 :Data;                                  # u64: of its quota
  quotaBytes @14 :Data;                                 # u64
  objects @15 :Data;                                    # u64: of its making
  objectBytes @16 :Data;                                # u64
  joinedNs @17 :Data;                                   # u64
  heardNs @18 :Data;                                    # u64: of a client that shares memory, now
}

# Failed calls, grouped by exception and the line that raised it; the groups that failed last, at most 256.
struct Failures {
  exception @0 :Texts;                                  # its type, as a traceback names it: builtins have no module
  message @1 :Texts;                                    # of the last one, at most 1,000 bytes
  place @2 :Texts;                                      # file:line in function
  function @3 :Data;                                    # u32: number of the task's function
  count @4 :Data;                                       # u64
  firstNs @5 :Data;                                     # u64
  lastNs @6 :Data;                                      # u64
  task @7 :Data;                                        # u64: id of the last one
  worker @8 :Data;                                      # u32: number of its worker
  traceback @9 :Texts;                                  # of the last one, at most 16,000 bytes
}

# A run of the recorder's events, 32 bytes each, for viewers that cannot map its ring. One report has at most 16,384; if
# there are many, there are up to ten reports in a second:
#   u64 task        its id
#   u64 endNs       when the scheduler had its result
#   f32 duration    s, of the whole record
#   f32 queued      s, from when it could run until a worker began it
#   u32 function    its number
#   u16 worker      the low 16 bits of its worker's number
#   u8  outcome     0 succeeded, 1 failed, 2 cancelled, 3 lost with its worker, 4 stopped at its time limit, 5 refused
#   u8  calls       in the record: 1, or of a chunk min(calls, 255)
struct Events {
  first @0 :UInt64;                                     # number of the first one, counted from the scheduler's start
  lost @1 :UInt64;                                      # ever left out before it, since more came than one report has
  data @2 :Data;
}

struct Task {
  task @0 :UInt64;
  state @1 :Text;                                       # one word, as in Counts, or "unknown"
  sentence @2 :Text;                                    # where it stands and why it does not run, for people
  facts @3 :Tally;                                      # the same as numbers: "ahead", "priority", "worker", "since_ns"...
  function @4 :UInt32;
  functionName @5 :Text;
  worker @6 :UInt32;
  workerName @7 :Text;
  inputs @8 :Data;                                      # u64: the tasks that it waits for, at most 100
}

struct Stack {
  task @0 :UInt64;
  text @1 :Text;                                        # as a traceback is written; empty: there is none
  problem @2 :Text;                                     # why there is none, in one sentence; empty: there is one
}

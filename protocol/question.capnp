@0xd94f1c6a2be85733;

# Questions about tasks that only its worker's host can answer, and their answers.
#
# Rule 1: a Text is for people to read.
# Not here: what a scheduler says of itself to viewers (monitor.capnp).

struct Question {
  number @0 :UInt32;                                    # of the question, which its answer repeats
  what @1 :UInt8;                                       # 1: what the task's code does just now
                                                        # 2: whether all that the client's tasks have written is said
  task @2 :UInt64;
  peer @3 :UInt32;                                      # to a cluster: the worker that has it
  attempt @4 :UInt64;                                   # to a cluster; 0: whichever it has
}

struct Answer {
  number @0 :UInt32;
  text @1 :Text;
  problem @2 :Text;                                     # why there is no answer, in one sentence; empty: there is one
}

struct Output {
  client @0 :UInt32;                                    # its 24 bits
  text @1 :Data;                                        # whole lines that its tasks have written, as they are to be shown
}

struct Alarm {
  reason @0 :Text;                                      # why a worker was killed: its task had not stopped
}

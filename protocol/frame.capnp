@0xd6b21f0c9a4e7b35;

# The frame: what one ZeroMQ message part is. One frame is one Cap'n Proto message whose root is a Frame.
#
# Rule 1: `magic` and `version` are the first word of the root in every version there will ever be, so that a receiver
#         can name the version of a frame that it cannot read. Nothing else is promised across versions.
# Rule 2: a member is never removed, renumbered or given another meaning; README.md says how to add one.
# Not here: which side says what when, and what a receiver checks (README.md).

using Session = import "session.capnp";
using Batch = import "batch.capnp";
using Object = import "object.capnp";
using Question = import "question.capnp";

const magic :UInt32 = 0x5343414c;                       # "SCAL", the same word as in the segments of shared memory
const version :UInt32 = 2;

struct Frame {
  magic @0 :UInt32;
  version @1 :UInt32;
  number @2 :UInt64;                                    # from 1 on, one by one; 0: outside the numbered order
  acknowledged @3 :UInt64;                              # all the other side's numbers up to this one have been taken

  union {
    acknowledge @4 :Void;                               # both ways, unnumbered: nothing else goes back just now
    hello @5 :Session.Hello;                            # peer -> scheduler, unnumbered, the first of a session
    welcome @6 :Session.Welcome;                        # scheduler -> peer, unnumbered, the first of a session
    refusal @7 :Session.Refusal;                        # scheduler -> peer, unnumbered, the last of a session
    heartbeat @8 :Session.Heartbeat;                    # both ways, unnumbered
    goodbye @9 :Session.Goodbye;                        # both ways, numbered, the last that is numbered

    tasks @10 :Batch.Tasks;                             # client -> scheduler: submitted, or a result handed in for
                                                        # those that wait for it; scheduler -> cluster: placed
    results @11 :Batch.Results;                         # cluster -> scheduler -> client
    functions @12 :Batch.Functions;                     # client -> scheduler -> cluster, before their tasks
    cancel @13 :Batch.Selection;                        # client -> scheduler -> cluster
    withdraw @14 :Batch.Selection;                      # scheduler -> cluster
    withdrawn @15 :Batch.Withdrawn;                     # cluster -> scheduler, answers each withdraw
    release @16 :Object.Objects;                        # client, cluster -> scheduler: held no more

    joined @17 :Session.Joined;                         # cluster -> scheduler
    left @18 :Session.Left;                             # cluster -> scheduler
    clear @19 :Void;                                    # client -> scheduler
    shutdown @20 :Void;                                 # client -> scheduler, scheduler -> cluster
    shutdownAnswer @21 :Session.ShutdownAnswer;         # scheduler -> client
    workers @23 :Session.Workers;                       # scheduler -> client
    chunk @22 :Object.Chunk;                            # both ways, before the record that names the object
    freed @24 :Object.Objects;                          # scheduler -> client, cluster: nobody holds them any more
    forget @25 :Batch.Forget;                           # client -> scheduler -> cluster, after the last of their tasks
    offer @26 :Object.Offer;                            # both ways, before the record that names the object
    fetched @27 :Object.Fetched;                        # client, cluster -> scheduler, answers each offer
    serves @28 :Object.Serves;                          # client, cluster -> scheduler
    wait @29 :Batch.Selection;                          # nested client -> scheduler: a task waits for these
    runHere @30 :Batch.Selection;                       # scheduler -> nested client, answers a wait
    returned @31 :Batch.Withdrawn;                      # nested client -> scheduler, answers each runHere
    taken @32 :Object.Taken;                            # scheduler -> cluster, answers each result with an object
    unable @33 :Session.Unable;                         # cluster -> scheduler
    question @34 :Question.Question;                    # client -> scheduler -> cluster
    answer @35 :Question.Answer;                        # cluster -> scheduler -> client
    output @36 :Question.Output;                        # cluster -> scheduler -> client
    alarm @37 :Question.Alarm;                          # cluster -> scheduler
    usage @38 :Session.Usage;                           # cluster -> scheduler, unnumbered
    leaving @39 :Session.Leaving;                       # cluster -> scheduler
    demand @40 :Session.Demand;                         # scheduler -> cluster, unnumbered
  }
}

@0xe93c5ad1847f026b;

# A session: its beginning and end, which workers are there, and whether they are alive.
#
# Rule 1: a Data that is a key (session, identity) is compared byte by byte and never interpreted.
# Rule 2: a Text is for people to read, except `localAddress` and `monitor`, which are addresses, and `reason` of Left.
# Not here: tasks and what is said about them (batch.capnp).

struct Hello {
  role @0 :UInt8;                                       # 0 client, 1 cluster
  pythonMajor @1 :UInt8;                                # pickles of functions are read only by the same minor version; 0
                                                        # and 0: this peer neither makes pickles nor reads any
  pythonMinor @2 :UInt8;
  identity @3 :Data;                                    # 1 to 64 bytes that name this peer and nobody else, ever
  clientBits @4 :UInt32;                                # the 24 high bits of this client's task ids; 0 for a cluster
  session @5 :Data;                                     # 16 bytes of the session to go on with, or none
  received @6 :UInt64;                                  # the highest number taken in that session
  epoch @7 :UInt64;                                     # of the scheduler that this peer knew last, or 0
  pid @8 :UInt32;
  uid @9 :UInt32;
  hostName @10 :Text;
  clusterName @11 :Text;                                # empty for a client
  workerNames @12 :List(Text);                          # names its workers will have; empty for a client
  isNested @13 :Bool;                                   # client: of the tasks that run in one worker
  voucher @14 :Data;                                    # of that, as its cluster has said it
  isElastic @15 :Bool;                                  # cluster: it wants to hear how much work there is
  minor @16 :UInt16;                                    # of the version of the protocol (README.md, Compatibility)
}

struct Welcome {
  epoch @0 :UInt64;                                     # differs after every start of the scheduler
  session @1 :Data;                                     # 16 bytes: what to say in a hello to go on with this session
  resumed @2 :Bool;                                     # the session of the hello goes on, numbers and all
  received @3 :UInt64;                                  # the highest number taken; 0 unless resumed
  localAddress @4 :Text;                                # abstract AF_UNIX address without its leading NUL, or empty
  heartbeatMs @5 :UInt32;                               # how often each side says something
  monitor @6 :Text;                                     # ZeroMQ address of the snapshots, or empty
  objectsPort @7 :UInt16;                               # of the scheduler's host, for objects; 0: there is none
  objectsNumber @8 :UInt32;                             # of this session, for sealed connections for objects
  objectsKey @9 :Data;                                  # 32 bytes: of those to objectsPort; empty: they are not sealed
  minor @10 :UInt16;                                    # as in Hello
}

struct Refusal {
  reason @0 :Text;                                      # one sentence: what is wrong and what to do
  isTemporary @1 :Bool;                                 # the same hello may succeed later
}

struct Goodbye {
  reason @0 :Text;                                      # empty if all is as it should be
}

struct Joined {
  peer @0 :UInt32;                                      # the relay's number for this worker
  name @1 :Text;
  pid @2 :UInt32;                                       # on its own host
  outlived @3 :Bool;                                    # it has worked for a scheduler before this one
  task @4 :UInt64;                                      # what it was given by that and has not answered, or 0
  attempt @5 :UInt64;
  voucher @6 :Data;                                     # 16 bytes that a client of its tasks says, or none
  resources @7 :Text;                                   # what it has for tasks that ask for it, or nothing
}

struct Left {
  peer @0 :UInt32;
  returnCode @1 :Int32;                                 # exit code, or minus the signal's number
  reason @2 :Text;                                      # JSON: how it died, as README.md says; empty if it only hung up
  tasks @3 :Data;                                       # UInt64  what it had claimed and not answered
  attempts @4 :Data;                                    # UInt64
}

# How much work there is, for clusters that grow and shrink with it.
struct Demand {
  tasks @0 :UInt64;                                     # that run or could run; a chunk of a map is one
  workNs @1 :UInt64;                                    # in these, by what such calls have taken
  workers @2 :UInt32;                                   # that are there and stay, of all clusters
  sharers @3 :UInt32;                                   # clusters that hear this
  idle @4 :Data;                                        # UInt32  the receiver's workers that have nothing to do
  idleNs @5 :Data;                                      # UInt64  for so long
  joined @6 :List(Text);                                # clusters whose names begin with the receiver's, if it has one
}

struct Leaving {
  peers @0 :Data;                                       # UInt32  never empty
}

struct Workers {
  count @0 :UInt32;                                     # how many there are now, for a map to be cut by
}

struct Unable {
  reason @0 :Text;                                      # why no worker can start; empty: one has
}

struct ShutdownAnswer {
  reason @0 :Text;                                      # empty: it is done; else why it is not
}

struct Heartbeat {
  timeNs @0 :UInt64;                                    # the sender's monotonic clock
}

# What a cluster's host and processes take, for those who look at the scheduler. Columns have one row for each worker that
# was looked at; each says what is so now, so a frame that is lost is made good by the next.
struct Usage {
  cores @0 :UInt32;
  agentPid @1 :UInt32;                                  # of the supervisor, on its own host
  agentCpuShare @2 :Float32;                            # since the last look; 1 is one core
  agentRssBytes @3 :UInt64;
  memoryTotalBytes @4 :UInt64;
  memoryFreeBytes @5 :UInt64;                           # available
  sharedMemoryTotalBytes @6 :UInt64;
  sharedMemoryFreeBytes @7 :UInt64;
  reasons @8 :List(Text);                               # why workers have ended and were replaced, at most 100
  restarts @9 :Data;                                    # UInt64  how many for each of them since the supervisor began
  peers @10 :Data;                                      # UInt32  the worker
  pids @11 :Data;                                       # UInt32
  cpuShares @12 :Data;                                  # Float32
  rssBytes @13 :Data;                                   # UInt64
  inPlace @14 :Data;                                    # UInt64  calls that its tasks have run themselves
}

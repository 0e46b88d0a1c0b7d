@0xb1740ce85d92fa63;

# Batches: many tasks in columns.
#
# A column is a Data that holds one little-endian number of fixed width per row, without gaps. Why not List(UInt64): the
# same bytes on the wire, but most libraries make one object per item of a list, and none of a Data.
#
# Rule 1: all columns of a batch have the same number of rows, or are empty, which stands for zeros in all rows.
#         `tasks` (functions: `digests`, forget: `numbers`) is never empty and says how many rows there are.
# Rule 2: row i's payload is payload[ends[i - 1] : ends[i]], with ends[-1] = 0; the last end is the payload's length.
#         Empty `ends`: all payloads are empty.
# Rule 3: the order of rows is the order in which they were said.
# Rule 4: a row of Tasks may name other rows' results, or be one that is handed in later (flag 32 in `flags`).
# Not here: what a status or a flag means, and what stands in a payload before its pickle (README.md).

struct Tasks {
  peers @0 :Data;                                       # UInt32  scheduler -> cluster: the worker; from a client: empty
  tasks @1 :Data;                                       # UInt64  client's 24 bits, then 40 bits counting up
  attempts @2 :Data;                                    # UInt64  from a client: empty
  functions @3 :Data;                                   # UInt32  number of an announced function
  flags @4 :Data;                                       # UInt8   32: the payload names tasks or has their results
  items @5 :Data;                                       # UInt32  calls in this chunk of a map; 0: not a chunk
  details @6 :Data;                                     # UInt32  nested client: root << 8 | depth; to a cluster: root
  ends @7 :Data;                                        # UInt32
  payload @8 :Data;                                     # places of objects, inputs, pickle: what the flags say
  options @9 :Data;                                     # UInt32  bits 0 to 7: retries + 1, 0: 3; 8 to 15: priority; 16
                                                        #         kept for later, 0; 20 to 27, to a cluster: deaths
  limitsMs @10 :Data;                                   # UInt32  how long an attempt may run; 0: as long as it likes
}

struct Results {
  peers @0 :Data;                                       # UInt32  cluster -> scheduler: the worker; to a client: empty
  tasks @1 :Data;                                       # UInt64
  attempts @2 :Data;                                    # UInt64  the attempt this answers
  functions @3 :Data;                                   # UInt32
  flags @4 :Data;                                       # UInt8
  statuses @5 :Data;                                    # UInt16
  items @6 :Data;                                       # UInt32
  details @7 :Data;                                     # UInt32  from a cluster: the task's objects still looked at;
                                                        #         to a client: late dependants that got the result
  durationsNs @8 :Data;                                 # UInt64
  cpuUs @9 :Data;                                       # UInt32
  memoryPeakKib @10 :Data;                              # UInt32
  ends @11 :Data;                                       # UInt32
  payload @12 :Data;
}

struct Functions {
  peers @0 :Data;                                       # UInt32  scheduler -> cluster: the worker; from a client: empty
  numbers @1 :Data;                                     # UInt32  what tasks will call it
  digests @2 :Data;                                     # 16 bytes each: blake2b-128 of the function's bytes
  flags @3 :Data;                                       # UInt8
  ends @4 :Data;                                        # UInt32
  payload @5 :Data;
}

struct Forget {
  peers @0 :Data;                                       # UInt32  scheduler -> cluster: the worker; from a client: empty
  numbers @1 :Data;                                     # UInt32  never empty
}

struct Selection {
  peers @0 :Data;                                       # UInt32
  tasks @1 :Data;                                       # UInt64
  attempts @2 :Data;                                    # UInt64
}

struct Withdrawn {
  peers @0 :Data;                                       # UInt32
  tasks @1 :Data;                                       # UInt64
  attempts @2 :Data;                                    # UInt64
  took @3 :Data;                                        # UInt8   1: it will not run; 0: it runs, or has run
}

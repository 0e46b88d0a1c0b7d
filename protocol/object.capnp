@0x9f02d6b87c31ae54;

# Objects: what is too large for a record, in chunks, so that other frames get in between; and when they are freed.
#
# Rule 1: chunks of one object come in order of offset and without holes; those of several objects may be mixed.
# Rule 2: what a task waited for comes to a cluster like its other objects: large results by their own ids, and many
#         small ones as one object of the scheduler's.
# Not here: the record that names the object when all of it is there (README.md, "Objects").

struct Chunk {
  object @0 :UInt64;                                    # the maker's 24 bits, then 40 bits counting up
  offset @1 :UInt64;
  totalBytes @2 :UInt64;                                # the same in each chunk of the object
  data @3 :Data;                                        # 1 byte to 1 MiB
}

struct Offer {
  object @0 :UInt64;
  totalBytes @1 :UInt64;
  token @2 :Data;                                       # 16 bytes, from the scheduler: to fetch it at its own port
  source @3 :Text;                                      # from the scheduler: another place to try first, or empty
  sourceToken @4 :Data;                                 # 16 bytes: to fetch it there
  sourceKey @5 :Data;                                   # 32 bytes: of a sealed connection to there; empty: not sealed
}

struct Fetched {
  object @0 :UInt64;
  isThere @1 :Bool;                                     # no: let it come in chunks
}

struct Serves {
  key @0 :Data;                                         # 16 bytes: of the tokens of what this side brings and serves
  address @1 :Text;                                     # host:port at which others may fetch what it has, or empty
  seal @2 :Data;                                        # 32 bytes, from which others' keys for there are made, or empty
}

struct Taken {
  peers @0 :Data;                                       # UInt32  the worker whose result brought it
  objects @1 :Data;                                     # UInt64  never empty
  names @2 :Data;                                       # UInt64  what it is called from now on; 0: it may go
}

struct Objects {
  peers @0 :Data;                                       # UInt32  cluster -> scheduler: the worker; else empty
  objects @1 :Data;                                     # UInt64  never empty
}

@0x9f02d6b87c31ae54;

# Objects: payloads too large for a record, in chunks, so that other frames get in between.
#
# Rule 1: chunks of one object come in order of offset and without holes; those of several objects may be mixed.
# Not here: the record that names the object when all of it is there (README.md, "Objects").

struct Chunk {
  object @0 :UInt64;                                    # numbered by the sender, never used twice in a session
  offset @1 :UInt64;
  totalBytes @2 :UInt64;                                # the same in each chunk of the object
  data @3 :Data;                                        # 1 byte to 1 MiB
}

"""What is said between hosts: frames as values (frames), as bytes (codec, with pycapnp), in order (ledger).

Nothing is imported here: a worker needs none of it and must not pay for pycapnp.
"""

"""Keys: who may speak to a scheduler, and in which role. Pickles are code, so whoever can connect can run code.

A keys folder (`folder`) has one pair of CURVE keys for the scheduler and one for each role: client, worker, monitor.
The scheduler lets in what shows one of these (`doorkeeper`), and everybody knows the scheduler by its public key. What
is encrypted with them is everything that goes through ZeroMQ.

Not here: what a peer may do once it is in (session), addresses (connection_file).
"""

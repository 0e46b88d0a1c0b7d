"""Fuzzers: peers that say anything, in any order, and what must hold all the same.

Each fuzzer is a module with one function, `episode`: from one seed it builds something small, lets so many events
happen to it, asserts what must hold, takes it down, and asserts that nothing is left. An episode depends on its seed
alone, so a seed is all that a failure has to name.

Rule 1: every flag and every field is drawn over all its values, with a bias to those that mean something. A value that
        is never drawn is a value that was never tried.
Rule 2: what a hostile peer may do is drawn; what our own code promises (the shell to the core) is kept.
Not here: how episodes are run and a failure is named (run), the tests of every commit (test_fuzz).
"""

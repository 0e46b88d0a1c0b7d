"""Seeing a scheduler run: what it says about itself, and the programs that show it.

A scheduler publishes Reports (`report`) on its monitor address; viewers (`top`, `page`) subscribe (`subscriber`), and
may write what they see into a recording (`recording`) that can be opened later without a scheduler.

Rule 1: nothing is drawn, summed over time or kept as history in the scheduler. Whoever looks pays.
Rule 2: nothing here unpickles anything.
"""

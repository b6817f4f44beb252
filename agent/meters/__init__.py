"""Readings. A meter is an object with four methods; the supervisor (runtime/board.py) calls them:

restore(bookmark): the bytes that went with the last spend that did not fail, b"" if there was none.
At the start, and again after
    a spend that failed: what was read since then has not left the board.
read(round, counted, slots): the slots' values, a list of ints, or None: no reading now, the board
sits the round out. `counted`
    tells whether the reading of the last spend that did not fail is in a published sum; `slots` is
    the roster's list of (name, low, high).
bookmark(): at most 64 bytes that become durable together with the spend of the reading that read()
gave last. present(number, slots): the slots' values now, for a query with this number; None for
each that cannot be read. What read() and
    bookmark() give afterwards is the same as without it.

simulated.SimulatedMeter plays columns back. register.RegisterMeter makes differences of a register
that only rises: of a P1 port (dsmr, runtime/p1_port), of counted pulses (pulse, runtime/s0_pin), of
a file (played).
"""

# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Seeds of the targets of health, the kernel, captures and the runtime."""
import struct
import zlib

from seed_input import counted, number, numbers, sample, sealed, words


def health(seeds):
    def time(kind, amount):
        return bytes([kind, amount])

    def head(slots, patience=time(5, 1), looks=3, nth=b"\0"):
        return bytes([slots]) + patience + bytes([looks]) + nth + time(3, 1)

    def fill(word, first, count, value, step=0):
        which = bytes([11]) if word == 15 else bytes([0, word])
        return bytes([0]) + which + bytes([first, count - 1]) + number(value) + bytes([step])

    def set_control(index, value):
        return bytes([1, index]) + number(value)

    def look(count, done=0, beats=1, step=time(4, 5), torn=0, with_ring=1):
        return (bytes([4, count - 1]) + number(done) + bytes([beats]) + step +
                bytes([torn, with_ring]))
    second = time(5, 1)
    for name, recipe, content in [
            ("idle", "nothing is owed", head(8) + look(6)),
            ("healthy", "work is drained", head(8) + fill(0, 0, 4, 1) + look(6, done=3)),
            ("stalled", "nothing is drained", head(8) + fill(0, 0, 4, 1) + look(12)),
            ("hung", "one slot stays claimed while others end",
             head(40) + fill(0, 3, 1, 2) + fill(0, 4, 2, 1) + set_control(146, 2) +
             look(24, done=1) + look(8)),
            ("in-handlers", "every lane is inside a handler and the heartbeat stands still",
             head(8) + fill(0, 0, 2, 2) + set_control(146, 2) + look(12, beats=0)),
            ("dead", "the heartbeat stands still", head(8) + fill(0, 0, 2, 1) + look(12, beats=0)),
            ("dead-alone", "the same, of one lane",
             head(8) + fill(0, 0, 2, 1) + set_control(146, 1) + look(12, beats=0)),
            ("dead-lanes", "the same, of two",
             head(8) + fill(0, 0, 2, 1) + set_control(146, 2) + look(12, beats=0)),
            ("in-a-handler", "the only lane is inside a handler",
             head(8) + fill(0, 0, 1, 2) + set_control(146, 1) + look(12, beats=1)),
            ("told", "SHUTDOWN is set in a kernel that reports nothing",
             head(8) + set_control(141, 0) + fill(0, 0, 4, 1) + look(2, done=1) +
             set_control(0, 1) + look(6)),
            ("fault-codes", "slots in FAULT, looked at with their codes",
             head(20) + fill(0, 0, 12, 7) + fill(15, 0, 12, 9) + look(3)),
            ("stopped", "SHUTDOWN is set", head(8) + set_control(0, 1) + look(6, beats=0)),
            ("unauthorised", "of tenants without a mask",
             head(8) + fill(0, 0, 6, 1) + fill(2, 0, 6, 20, step=1) + look(12) + look(2, done=1)),
            ("throttled", "no token is left",
             head(8) + fill(0, 0, 4, 1) + set_control(32, 0) +
             (bytes([3]) + number(5) + look(1)) * 12 + look(6, done=1)),
            ("waiting", "parked slots", head(8) + fill(0, 0, 3, 4) + look(12) +
             fill(0, 0, 3, 3) + look(4, done=1)),
            ("faulted", "slots in FAULT, with their codes",
             head(20) + fill(0, 0, 12, 7) + fill(15, 0, 12, 0, step=1) + bytes([2]) + number(9) +
             look(3, done=1) + look(2, with_ring=0) + fill(0, 0, 12, 0) + look(4)),
            ("torn", "a page that is never whole, of 70 slots",
             head(70) + fill(0, 0, 3, 0xFFFFFFFF) + look(20, done=1, torn=2) + look(3)),
            ("regressed", "the done count goes back",
             head(8) + set_control(1, 1000) + look(3, done=5) + set_control(1, 3) + look(4, done=1)),
            ("slow", "a fifteenth of the usual rate",
             head(30) + fill(0, 0, 20, 1) + look(24, done=200, step=second) +
             look(12, done=3, step=second) + look(12, done=200, step=second)),
            ("blind", "looks too far apart",
             head(8) + look(2, done=0xFFFF) + look(3, done=0x7FFFFFFF, step=time(6, 200))),
            ("doubt", "slots that may have turned over",
             head(4) + fill(0, 0, 4, 1) + look(24, done=100)),
            ("high", "a done count of 64 bits whose halves are torn",
             head(4) + set_control(149, 1) + set_control(1, 0xFFFFFFFF) + look(2) +
             set_control(1, 5) + look(2) + set_control(149, 0xFFFFFFFF) + look(2) +
             set_control(149, 1) + look(1)),
            ("base", "a kernel that reports nothing",
             head(8) + set_control(141, 0) + fill(0, 0, 4, 1) + look(8)),
            ("high-overflow", "a done count at the end of 64 bits",
             head(4) + set_control(149, 0xFFFFFFFF) + set_control(1, 0xFFFFFFFF) + look(2) +
             set_control(1, 5) + look(2)),
            ("high-edge", "a done count of 64 bits that goes back as far as it may, and further",
             head(4) + set_control(149, 7) + set_control(1, 0x80000006) + look(1) +
             set_control(1, 7) + look(1) + set_control(1, 0x80000006) + set_control(149, 9) +
             look(1) + set_control(1, 6) + look(1) + set_control(1, 5) + look(1)),
            ("taken-up", "a count that went back and is taken up, of 32 and of 64 bits",
             head(4) + set_control(128, 1) + fill(0, 0, 3, 1) + set_control(1, 1000) +
             look(3, done=5) + set_control(1, 3) + look(4, done=1) + set_control(149, 9) + look(2) +
             set_control(149, 5) + look(4, done=2)),
            ("turned", "slots that end, and are published again as they were",
             head(4) + (fill(0, 0, 3, 1) + look(1) + fill(0, 0, 3, 3) + look(1)) * 3 +
             fill(0, 0, 3, 1) + look(3)),
            ("reports-late", "a kernel that begins to report, and ends it",
             head(4) + set_control(141, 0) + fill(0, 0, 3, 1) + look(3) + set_control(141, 1) +
             look(3) + set_control(141, 0) + look(2) + set_control(141, 1) + set_control(32, 0) +
             bytes([3]) + number(5) + look(2)),
            ("far", "looks further apart than durations go",
             bytes([4]) + time(5, 1) + bytes([3, 0, 7]) + struct.pack("<q", -(1 << 63)) +
             fill(0, 0, 3, 1) + look(1) +
             look(4, step=bytes([7]) + struct.pack("<q", (1 << 63) - 1))),
            ("clock", "a stamp before the last", head(4) + look(2) +
             look(1, step=bytes([7]) + struct.pack("<q", -10**9))),
            ("memory", "no memory for the first look", head(8, nth=bytes([15, 1])) + look(3)),
            ("memory-2", "none for what is oldest", head(8, nth=bytes([15, 2])) + look(3)),
            ("memory-3", "none for a diagnosis", head(8, nth=bytes([15, 3])) + look(3)),
            ("resized", "a ring of another size", head(8) + look(2) + bytes([5, 9]) + look(2))]:
        seeds.add("health", name, recipe, content)


def kernel(slots, observable=16, log=5, io=2, table=4, what=0, changes=(), cursor=0, answers=()):
    """A kernel's memory as kernel_input.h reads it; log and table by their place in its lists."""
    out = bytes([observable, len(slots), log, io, table, what, len(changes)])
    for index, value in changes:
        out += bytes([index]) + number(value)
    if log:
        out += number(cursor)
    for i in range(io):
        out += numbers(*(answers[i] if i < len(answers) else (0, 0)))
    for status, op, tenant, level, *arguments in slots:
        raw = arguments and isinstance(arguments[0], bytes)
        out += numbers(status, op, tenant, level)
        out += bytes([31]) + arguments[0].ljust(36, b"\0") if raw else counted(*arguments[:12])
        if status == 4:
            out += number(arguments[12] if len(arguments) > 12 else 0xFFFFFFFF)
    return out


def kernels():
    packed = words(2 | 4 << 8 | 1 << 16, 2 | 2 << 8, 9, 165, 9, 166)
    return [
        ("opcodes", "every built-in opcode", kernel(
            [(1, 0, 0, 0), (1, 1, 1, 1, 7, 160), (1, 2, 2, 2, 5, 161), (1, 3, 3, 3, 160, 2),
             (1, 4, 0, 4, 160, 7, 9), (1, 5, 0, 2, 160, 164, 4), (1, 6, 0, 2, 0, 3, 5),
             (1, 7, 0, 2, 1, 77), (1, 0xFFFE, 0, 2, 1, 2, 3), (1, 0xFFFD, 0, 2, 9, 1),
             (1, 0x80000001, 0, 2, packed), (1, 0xFFFFFFFF, 0, 2)], observable=40)),
        ("handlers", "every opcode of a user", kernel(
            [(1, 10, 0, 2, 3, 9), (1, 11, 0, 2), (1, 12, 0, 2), (1, 13, 0, 2, 99),
             (1, 300, 0, 2, 3, 4), (1, 10, 0, 2, 200, 9), (5, 300, 0, 2, 1, 1),
             (6, 300, 0, 2, 1, 1)])),
        ("faults", "a fault of every kind", kernel(
            [(1, 8, 0, 2), (1, 1, 0, 2, 5, 3), (1, 2, 0, 2, 5, 0xFFFFFFFF), (1, 3, 0, 2, 0, 200),
             (1, 5, 0, 2, 160, 0xFFFFFFF8, 0xFFFFFFFF), (1, 6, 0, 2, 9, 9, 9),
             (1, 0x80000001, 0, 2, words(24)), (1, 0xFFFFFFFF, 5, 2), (1, 0xFFFD, 0, 2, 1),
             (1, 4, 0, 2, 170, 0, 1), (1, 5, 0, 2, 160, 159, 2)], io=0, table=0)),
        ("packed", "packed slots that are wrong", kernel(
            [(1, 0x80000001, 0, 2, words(1 | 12 << 8)),
             (1, 0x80000001, 0, 2, words(1 | 2 << 8 | 3 << 24)),
             (1, 0x80000001, 0, 2, words(1 | 11 << 16)),
             (1, 0x80000001, 0, 2, words(2 | 7 << 16, 99)),
             (1, 0x80000001, 0, 2, words(1 | 1 << 8 | 13 << 16, 42)),
             (1, 0x80000001, 0, 2, words(2 | 2 << 8 | 10 << 16, 10 | 1 << 8, 1, 2))])),
        ("tenants", "tenants that may not run", kernel(
            [(1, 0, 28, 2), (1, 0, 29, 2), (1, 0, 0xFFFFFFFF, 2), (1, 0, 4, 2), (5, 0, 31, 2)],
            changes=[(7, 0)])),
        ("base", "masks that are elsewhere", kernel([(1, 0, 3, 2), (1, 0, 0, 2), (1, 0, 28, 2)],
                                                    changes=[(2, 4)])),
        ("quotas", "a token for each tenant", kernel(
            [(1, 0, 0, 2), (1, 0, 0, 2), (1, 0, 1, 2), (1, 0, 1, 2)], what=9)),
        ("waiting", "slots that wait for an answer", kernel(
            [(4, 0xFFFD, 0, 2, *[0] * 12, 0), (4, 0xFFFD, 0, 2, *[0] * 12, 1),
             (4, 0xFFFD, 0, 2, *[0] * 12, 2), (4, 0xFFFD, 0, 2, *[0] * 12, 9),
             (4, 0xFFFD, 0, 2), (4, 0xFFFD, 29, 2), (4, 8, 0, 2)], io=3,
            answers=[(0x10, 0), (0x11, 1), (1, 2)])),
        ("queue-full", "more requests than the queue has room for", kernel(
            [(1, 0xFFFD, 0, 2, s) for s in range(4)] + [(4, 0xFFFD, 0, 2)], io=2)),
        ("log-full", "a debug log that overflows", kernel(
            [(1, 0xFFFE, 0, 2, 1, 2, 3)] * 4, log=6, cursor=8)),
        ("log-wrapped", "a cursor at the end of its numbers", kernel(
            [(1, 0xFFFE, 0, 2, 1, 2, 3)] * 2, cursor=0xFFFFFFFD)),
        ("no-log", "no debug log", kernel([(1, 0xFFFE, 0, 2, 1, 2, 3)], log=0)),
        ("shutdown", "SHUTDOWN is set", kernel([(1, 0, 0, 2)], changes=[(0, 1)])),
        ("wrap", "a done count that wraps", kernel([(1, 0, 0, 2)] * 3,
                                                   changes=[(1, 0xFFFFFFFE)])),
        ("overlap", "copies that overlap", kernel(
            [(1, 5, 0, 2, 160, 161, 20), (1, 5, 0, 2, 165, 161, 9), (1, 5, 0, 2, 160, 170, 20)],
            observable=40)),
        *((f"copies-{name}", f"copies of {min(lengths)} to {max(lengths)} words, {what}", kernel(
            [(1, 5, 0, 2, *copy) for i, n in enumerate(lengths) for copy in (
                (160, area + 32 * i, 23), (area + 32 * i + at, area + 32 * i + to, n))],
            observable=47, changes=[(160 + i, 1000 + 7 * i) for i in range(23)]))
          for area in (184,)
          for name, what, at, to, lengths in (
              ("apart", "8 words apart", 0, 8, (3, 4, 5, 7, 8)),
              ("over", "8 words apart, over one another", 0, 8, (9, 11, 12, 13, 15)),
              ("near", "4 words apart, over one another", 0, 4, (5, 7, 8, 9, 12)),
              ("back", "4 words back, over one another", 4, 0, (4, 7, 8, 9, 12)),
              ("odd", "4 words apart, from an odd word", 1, 5, (3, 4, 5, 8, 9)),
              ("even", "8 words apart, from an even word", 2, 10, (4, 6, 8, 9, 12)),
              ("askew", "5 words apart", 0, 5, (4, 5, 6, 8, 11)),
              ("askew-back", "5 words back", 5, 0, (4, 5, 6, 8, 11)),
              ("steps", "1 to 3 words back", 4, 2, (4, 5, 8, 9, 12)),
              ("six", "6 words apart, from an odd word", 1, 7, (4, 5, 6, 8, 12)),
              ("close", "1 word apart", 0, 1, (1, 2, 4, 5, 9)),
              ("closer", "3 words apart", 0, 3, (3, 4, 6, 7, 8)),
              ("same", "onto themselves", 3, 3, (1, 4, 5, 8, 9)),
              ("far", "12 words apart", 0, 12, (8, 11, 12, 13, 16)))),
        ("copies-system", "copies out of the system's words, and across their end", kernel(
            [(1, 5, 0, 2, at, to, n) for at, to, n in (
                (0, 160, 8), (4, 168, 8), (5, 177, 9), (20, 188, 4), (1, 193, 4), (158, 198, 6),
                (156, 204, 12), (160, 220, 0), (159, 221, 4), (155, 227, 8))],
            observable=47, changes=[(3 + i, 7 * i + 1) for i in range(23)])),
        ("swaps", "COMPARE_SWAP that finds what it expects, and that does not", kernel(
            [(1, 4, 0, 2, 160, 0, 9), (1, 4, 0, 2, 160, 9, 8), (1, 4, 0, 2, 161, 77, 5),
             (1, 4, 0, 2, 161, 1, 2, 3), (1, 4, 0, 2, 239, 0, 7), (1, 4, 0, 2, 240, 0, 7),
             (1, 4, 0, 2, 159, 0, 7), (1, 4, 0, 2, 399, 0, 7)],
            observable=47, changes=[(161, 77), (162, 5)])),
        ("levels", "priorities that are none, and opcodes next to those that are counted", kernel(
            [(1, 0, 0, level) for level in (3, 4, 5, 6, 0xFFFFFFFF)] +
            [(1, op, 0, 2) for op in (31, 32, 33, 0xFFFF)])),
        ("counters", "counters that wrap", kernel(
            [(1, 0, 0, 2), (1, 8, 0, 2), (1, 0, 29, 2), (1, 0, 1, 2)], what=9,
            changes=[(96, 0xFFFFFFFF), (64, 0xFFFFFFFF), (138, 0xFFFFFFFF), (142, 0xFFFFFFFF),
                     (143, 0xFFFFFFFF), (144, 0xFFFFFFFF), (145, 0xFFFFFFFF), (33, 0)])),
        *((f"base-{base}", f"masks that begin at word {base}", kernel(
            [(1, 0, tenant, 2) for tenant in (0, 1, 2, 26, 27, 28, 29, 30, 31)],
            changes=[(2, base), (3, 1), (31, 1), (32, 1), (33, 1), (1, 1)]))
          for base in (0, 1, 2, 3, 4, 5, 6)),
        ("tables", "steps to the table's end, and past it", kernel(
            [(1, 6, 0, 2, 0, 255, 0), (1, 6, 0, 2, 1, 0, 1), (1, 6, 0, 2, 1, 1, 2),
             (1, 6, 0, 2, 0, 7, 3, 9999), (1, 6, 0, 2, 0, 8, 9999, 3), (1, 6, 0, 2, 0, 8, 16)],
            table=4)),
        ("tables-256", "the same of 256 words", kernel(
            [(1, 6, 0, 2, 0, 255, 0), (1, 6, 0, 2, 1, 0, 1), (1, 6, 0, 2, 0, 256, 2)], table=3)),
        ("tables-600", "steps of a table of three states", kernel(
            [(1, 6, 0, 2, 1, 5, 0), (1, 6, 0, 2, 2, 87, 1), (1, 6, 0, 2, 2, 88, 2)], table=5)),
        ("one-observable", "one observable word", kernel(
            [(1, 1, 0, 2, 5, 161), (1, 1, 0, 2, 5, 160), (1, 7, 0, 2, 1, 77)], observable=1)),
        ("packed-full", "packed slots that are full", kernel(
            [(1, 0x80000001, 0, 2, words(23)),
             (1, 0x80000001, 0, 2, words(1 | 11 << 8 | 1 << 16, 7, 161)),
             (1, 0x80000001, 0, 2, words(1 | 5 << 16)), (1, 0x80000001, 0, 2, words(1 | 13 << 16)), (1, 0x80000001, 0, 2, words(24)),
             (1, 0x80000001, 0, 2, words(3 | 2 << 8, 2 << 8, 1 << 8, 9, 9)),
             (1, 0x80000001, 0, 2, words(2 | 2 << 8 | 2 << 24, 0))])),
        ("waiting-none", "slots that wait, and no queue", kernel(
            [(4, 0xFFFD, 0, 2), (4, 0xFFFD, 0, 2, *[0] * 12, 0), (1, 0xFFFD, 0, 2, 9)], io=0)),
        ("waiting-one", "slots that wait for a queue of one", kernel(
            [(4, 0xFFFD, 0, 2, 7), (1, 0xFFFD, 0, 2, 9), (4, 0xFFFD, 0, 2, *[0] * 12, 0)], io=1)),
        *((f"meddled-{name}", f"one slot to meddle with, {what}", kernel(
            [slot], io=3, what=quotas, answers=[(0x10, 0), (0x11, 0), (1, 0)],
            changes=[(35, 0), (60, 0)]))
          for quotas, of in ((0, ""), (9, "-quota"))
          for name, what, slot in (
              ("work" + of, "with work", (1, 1, 2, 2, 7, 160)),
              ("yield" + of, "that yielded", (5, 11, 2, 2)),
              ("requeue" + of, "that came back", (6, 12, 2, 2)),
              ("stranger" + of, "of a tenant without a mask", (1, 1, 29, 2)),
              ("wait" + of, "that waits for room", (4, 0xFFFD, 2, 2, 7)),
              ("answered" + of, "whose answer is there", (4, 0xFFFD, 2, 2, *[0] * 12, 0)),
              ("failed" + of, "whose request failed", (4, 0xFFFD, 2, 2, *[0] * 12, 1)),
              ("asked" + of, "whose answer is not there", (4, 0xFFFD, 2, 2, *[0] * 12, 2)))),
        ("partitions", "partitions that overlap and end nowhere", kernel(
            [(1, 0, 0, p % 6) for p in range(8)],
            changes=[(129, 2), (130, 9), (131, 0), (132, 0xFFFFFFFF), (134, 3)])),
        ("no-observable", "no observable words", kernel(
            [(1, 7, 0, 2, 1, 77), (1, 1, 0, 2, 1, 160), (1, 13, 0, 2, 5)], observable=0)),
        ("none", "no slots", kernel([])),
    ]


def interpreter(seeds):
    for name, recipe, content in kernels():
        for form, lanes, by_priority in [("", 1, 0), ("-by-priority", 2, 1)]:
            seeds.add("interpreter", name + form,
                      f"{recipe}; {lanes} lanes, {'by priority' if by_priority else 'in order'}",
                      bytes([lanes - 1, by_priority]) + content, kept=not form)


def schedule(seeds):
    turns = bytes([0, 1, 2, 7, 11, 3, 30, 44, 5, 9, 0, 1, 47, 2, 8, 6] * 2)
    # The host publishes NOPs and LOAD_MISSes of tenants 1 and 29 into the first slots, and answers.
    host = b"".join(
        bytes([t, 251, s]) + numbers(op, tenant) + b"\2" + numbers(9, 160, 0) +
        bytes([t + 3, 250, s, s % 2])
        for t, s, op, tenant in [(0, 0, 0, 1), (9, 1, 0xFFFD, 1), (4, 0, 1, 29), (7, 2, 0, 0),
                                 (1, 1, 0xFFFD, 1), (30, 0, 2, 1), (33, 3, 0, 29)] * 3)
    with_host = ["opcodes", "handlers", "tenants", "quotas", "waiting", "queue-full", "partitions",
                 "levels", "counters", "waiting-one"]
    for name, recipe, content in kernels():
        for form, what, lanes, flags, more in [
                ("", "one after the other", 2, 0, b""), ("-mixed", "in turns", 3, 0, turns),
                ("-by-priority", "in turns, by priority, for five passes", 3, 19, turns),
                ("-host", "in turns with the host, for eight passes", 2, 30, host),
                ("-host-by-priority", "in turns with the host, by priority", 3, 31, host),
                ("-persistent", "in turns, for eight passes", 2, 30, turns)]:
            seeds.add("schedule", name + form, f"{recipe}; {lanes} lanes {what}",
                      bytes([lanes - 1, flags]) + content + more,
                      kept=not form or (more is host and name in with_host))


def zstd_frame(content):
    """A zstd frame that holds the bytes as they are, so that changes of them stay readable."""
    out = struct.pack("<IBI", 0xFD2FB528, 0xA0, len(content))
    return out + (len(content) << 3 | 1).to_bytes(3, "little") + content


def capture(seeds):
    control, slots = bytes(sample("busy/control.bin")[:640]), bytes(sample("busy/ring.bin")[:128])

    def header(windows=(42,), texts=("a device", "a build", "a profile"), ring=len(slots), log=0):
        out = b"MKCAPTUR" + words(1, 0, 1, len(windows))
        out += struct.pack("<QQQQq", len(control), ring, log, 0, 10**18) + words(*windows)
        for text in texts:
            out += struct.pack("<I", len(text)) + text.encode()
        out = bytearray(out)
        struct.pack_into("<I", out, 12, len(out) + 4)
        return sealed(bytes(out))

    def record(kind, number, at, link, payload, unpacked, dropped=0):
        out = words(0x43524B4D, kind) + struct.pack("<QqqQQ", number, at, 10**18 + at, dropped, link)
        out += words(len(payload), unpacked, zlib.crc32(payload))
        return sealed(out) + payload
    known = (words(1, 0, 1) + struct.pack("<QQQ", 9, 8, 7) + words(2) +
             b"".join(words(t) + struct.pack("<QQQQ", 4, 3, 2, 1) for t in (0, 3)) +
             struct.pack("<QQ", 100, 60) + words(2, 5) + struct.pack("<Q", 1) + words(9) +
             struct.pack("<Q", 2))
    first = words(0, 0) + control + slots
    second = known + bytes(640) + bytes(4) + b"\1" + bytes(123)
    frames = [record(1, 0, 0, 0, zstd_frame(first), len(first)),
              record(2, 1, 10**8, 0, zstd_frame(second), len(second)),
              record(1, 2, 2 * 10**8, 2, zstd_frame(first), len(first), dropped=3)]
    start = len(header())
    offsets = [start, start + len(frames[0]), start + len(frames[0]) + len(frames[1])]
    entries = b"".join(struct.pack("<QqQ", offset, i * 10**8, (0, 0, 2)[i])
                       for i, offset in enumerate(offsets))
    body = header() + b"".join(frames)
    index = record(3, 0, 0, 0, entries, 0)
    end = record(4, 3, 2 * 10**8, len(body), b"", 0, dropped=3)
    whole = body + index + end
    for name, recipe, content in [
            ("whole", "three frames of two slots, of samples/busy, with their index", whole),
            ("open", "the same, not closed", body), ("cut", "cut inside the last frame", body[:-40]),
            ("no-index", "without an index", body + record(4, 3, 2 * 10**8, 0, b"", 0)),
            ("cut-index", "cut inside the index", (body + index)[:-9]),
            ("trailing", "something follows the end", body + index + end + b"more"),
            ("fewer", "an end that claims other frames", body + record(4, 9, 0, 0, b"", 0) + b"x"),
            ("header", "a header and nothing else", header()),
            ("empty", "nothing", b""), ("short", "nine bytes", whole[:9]),
            ("cut-header", "cut inside the header", header()[:40]),
            ("foreign", "another mark", b"mkcaptur" + whole[8:]),
            ("version", "version 2", whole[:8] + words(2) + whole[12:]),
            ("length", "a header of 2^32 - 1 bytes", whole[:12] + words(-1) + whole[16:]),
            ("windows", "more window opcodes than fit", sealed(header()[:20] + words(99) +
                                                               header()[24:-4])),
            ("texts", "texts that do not fill the header", sealed(header()[:-5])),
            ("ring", "a ring of 65 bytes", header(ring=65)),
            ("checksum", "a header whose checksum does not fit", whole[:40] + b"\1" + whole[41:]),
            ("payload", "a payload whose checksum does not fit",
             whole[:offsets[1] - 1] + b"\xee" + whole[offsets[1]:]),
            ("size", "a frame that unpacks to another size",
             header() + record(1, 0, 0, 0, zstd_frame(first), len(first) + 4)),
            ("facts", "facts that do not fit",
             header() + record(1, 0, 0, 0, zstd_frame(words(9) + first), len(first) + 4)),
            ("compressed", "a payload that is no zstd frame",
             header() + record(1, 0, 0, 0, b"no frame", len(first))),
            ("order", "a delta frame that comes first",
             header() + record(2, 0, 0, 0, zstd_frame(first), len(first)))]:
        seeds.add("capture", name, recipe, content)


def runtime(seeds):
    slot, packed, batch, window, miss, poke, look, epoch, reclaim, hold, close, pump = range(12)

    def head(slots, by_priority=0):
        return bytes([by_priority, slots - 1])

    def one(op=8, level=2):
        return bytes([slot]) + counted(1, 2) + numbers(op, 3) + bytes([level])

    def poked(at, status):
        return bytes([poke, at]) + number(status)

    def added(number_of, path, length=0, at=0, serve=1, status=1):
        return (bytes([pump, number_of, path]) + numbers(0, at, length) + b"\1\0" +
                numbers(1, number_of, 0, 0, 0, length, 0, 9) + bytes([status]))
    batch_of_two = bytes([batch]) + counted(1) + bytes([2]) + numbers(8, 3, 77)
    for name, recipe, content in [
            ("publish", "every way to publish", head(24) + one() +
             bytes([packed]) + counted(9, 160) + b"\1" + number(3) + batch_of_two +
             bytes([window]) + counted(5) + bytes([2]) + numbers(42, 3, 1000) +
             bytes([miss]) + number(7)),
            ("priorities", "slots of every priority",
             head(20, 1) + b"".join(one(level=p) for p in range(6))),
            ("full", "more than the ring holds", head(2) + one() * 3 + poked(0, 7) + one()),
            ("long", "a batch that is longer than the ring", head(2) + batch_of_two),
            ("reserved", "an opcode that is the protocol's", head(2) + one(op=0xFFFD)),
            ("finished", "work that a kernel finishes", head(4) + one() * 2 + poked(0, 3) +
             poked(1, 7) + bytes([look, 0, look, 1, reclaim, 3, look, 1]) + one() * 2 +
             bytes([look, 0])),
            ("owed", "work that is waited for in vain", head(4) + one() + bytes([look, 0])),
            ("epoch", "an epoch that has come, and one that has not",
             head(1) + bytes([epoch]) + numbers(7, 7) + bytes([epoch]) + numbers(9, 7)),
            ("held", "closed while a slot is being written",
             head(2) + bytes([hold, close, 0, hold, close, 0]) + one() + bytes([hold])),
            ("resources", "files that are there, are not, and are none",
             head(1) + added(1, 0, 32) + added(1, 0) + added(2, 1) + added(2, 2) + added(2, 3) +
             added(3, 4) + added(3, 0, 65) + added(3, 0, 1, at=64) + added(0, 0, 9, status=0))]:
        seeds.add("runtime", name, recipe, content)
    for workers, what in [(0, "no workers"), (1025, "too many workers"), (2, "workers")]:
        seeds.add("runtime", f"workers-{workers}", f"{what}, and a ring without slots",
                  bytes([31]) + number(workers) + bytes([0]))
    for which, what in enumerate(["a device that fails", "a device with fewer lanes",
                                  "no thread to be had", "memory that is not shared",
                                  "lanes that never report"]):
        seeds.add("runtime", f"launch-{which}", what, bytes([31]) + number(1) + bytes([3, which]))

# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Seeds of the targets of sketches."""
import struct

from seed_input import counted, number, numbers, sample, sealed


def sketch_form(kind, depth, width, rows):
    """The byte form; `rows` are the counters of each sketch."""
    out = b"MKSKETCH" + struct.pack("<II", 1, kind) + b"splitmix64".ljust(16, b"\0")
    out += struct.pack("<QQQ", 0x9E3779B97F4A7C15, depth, width)
    for counters in rows:
        total = sum(counters[:width])
        out += struct.pack("<QQ", total & (1 << 64) - 1, total >> 64)
        out += struct.pack(f"<{len(counters)}Q", *counters)
    return sealed(out)


def sketch_bytes(seeds):
    most = (1 << 64) - 1
    one = sketch_form(1, 2, 3, [[1, 2, 3, 3, 2, 1]])
    five = [[4, 4, 8, 0], [1, 1, 2, 0], [8, 0, 0, 8], [0, 8, 4, 4], [9, 1, 5, 5]]
    all_of = sketch_form(2, 2, 2, five)

    def damaged(at, value, form=one):
        content = bytearray(form[:-4])
        content[at:at + len(value)] = value
        return sealed(bytes(content))
    for name, recipe, content in [
            ("one", "2 x 3 counters", one), ("telemetry", "2 x 2 counters of a ring", all_of),
            ("busy", "samples/busy/telemetry.sketch", sample("busy/telemetry.sketch")),
            ("large", "counters whose sum passes 64 bits", sketch_form(1, 1, 2, [[most, most]])),
            ("empty", "nothing", b""), ("mark", "half a mark", b"MKSK"),
            ("letter", "one byte, which is right", b"M"), ("other-letter", "one byte, which is not", b"m"),
            ("foreign", "another mark", b"mkSKETCH" + one[8:]), ("header", "55 bytes", one[:55]),
            ("version", "version 2", damaged(8, b"\2")), ("kind", "kind 3", damaged(12, b"\3")),
            ("hash", "another hash", damaged(16, b"S")), ("seed", "another seed", damaged(32, b"\0")),
            ("zero", "no rows", damaged(40, bytes(8))), ("flat", "no columns", damaged(48, bytes(8))),
            ("overflow", "more counters than can be numbered", damaged(40, b"\xff" * 8)),
            ("truncated", "one byte is missing", one[:-1]),
            ("huge", "a shape of 2^64 - 1 counters",
             damaged(40, struct.pack("<QQ", most, 1))),
            ("trailing", "one byte too many", one + b"\0"),
            ("checksum", "a wrong checksum", one[:-1] + bytes([one[-1] ^ 1])),
            ("rows", "rows that sum to different totals", damaged(72, b"\7")),
            ("total", "a total that no row sums to", damaged(64, b"\1")),
            ("active", "more active slots than slots",
             sketch_form(2, 2, 2, [five[0], [9, 0, 0, 9], *five[2:]])),
            ("tenants", "fewer tenants than slots",
             sketch_form(2, 2, 2, [*five[:2], [7, 0, 0, 7], *five[3:]])),
            ("statuses", "fewer statuses than slots",
             sketch_form(2, 2, 2, [*five[:3], [0, 7, 3, 4], five[4]])),
            ("slots", "more slots than 64 bits count",
             sketch_form(2, 1, 2, [[most, most]] * 5))]:
        seeds.add("sketch_bytes", name, recipe, content)


def sketch(seeds):
    merge, double, swap, reset, clear, heavy, copy, accuracy, ring, add = range(10)

    def added(key, amount):
        return bytes([add]) + number(key) + b"\0" + number(amount)

    def nearly_full(key):
        return bytes([add]) + number(key) + bytes([6, 3])
    some = b"".join(added(k, k * 3) for k in [1, 7, 42, 99, 0xFFFFFFFF])
    slots = b"".join(numbers(s % 8, 40 + s % 3, s % 2) for s in range(12))
    doubles = struct.pack("<dd", 0.01, 0.02)
    for name, recipe, content in [
            ("adds", "five keys", some), ("full", "more than a counter holds",
                                          nearly_full(7) + added(7, 9) + nearly_full(9)),
            ("merges", "two sketches added up", some + bytes([swap]) + some + bytes([merge])),
            ("doubled", "a sketch added to itself, until it is full",
             nearly_full(7) + bytes([double, double])),
            ("shapes", "sketches of two shapes", some + bytes([reset, 3, 9, 9, merge, swap, merge])),
            ("zero", "no rows, no columns", bytes([reset, 0, 9, 9, reset, 3, 0, 9])),
            ("huge", "shapes that are too large",
             bytes([reset, 3, 2, 0, reset, 3, 9, 1, reset, 3, 9, 2, reset, 3, 1, 0,
                    reset, 2, 9, 2, reset, 3, 8, 2])),
            ("memory", "no memory", some + bytes([reset, 6, 39, 3, copy, 1, copy, 2, copy, 3])),
            ("alike", "empty sketches of as many counters, and of other ones",
             bytes([reset, 2, 3, 9, swap, reset, 3, 2, 9, swap, reset, 3, 2, 9]) + added(7, 1) +
             bytes([swap]) + added(9, 1) + bytes([swap])),
            ("heavy-rounds", "two columns whose error is 2^64 to the last bit",
             bytes([reset, 2, 2, 9, add]) + number(7) + b"\5" +
             struct.pack("<Q", 13572355802537771008) + bytes([heavy]) + counted(7, 8) + b"\5"),
            ("clear", "cleared", some + bytes([clear])),
            ("heavy", "the heaviest of six", some + bytes([heavy]) + counted(1, 7, 42, 99, 42, 5) +
             bytes([3])),
            ("copies", "copied, written and read", some + bytes([copy, 0])),
            ("heavy-few", "the heaviest two of five, of few columns", b"".join(
                added(k, 100 - k) for k in range(5)) + bytes([heavy]) + counted(4, 0, 3, 1, 2) +
             bytes([2, heavy]) + counted(4, 0, 3, 1, 2) + bytes([5, heavy]) + counted(1, 2) + b"\0"),
            ("heavy-zero", "key 0 as the first and as the last of the heaviest",
             added(0, 5) + added(7, 9) + bytes([heavy]) + counted(0, 7) + bytes([5, heavy]) +
             counted(7, 0) + bytes([5, heavy]) + counted(0) + b"\1"),
            ("heavy-ties", "keys that count alike", b"".join(added(k, 7) for k in (9, 3, 6)) +
             bytes([heavy]) + counted(9, 3, 6, 9, 8) + bytes([5, heavy]) + counted(9, 6, 3) +
             bytes([2])),
            ("heavy-full", "heavy hitters of a full sketch", nearly_full(7) + nearly_full(9) +
             added(3, 9) + bytes([heavy]) + counted(3, 9, 7) + bytes([5])),
            ("accuracy", "a shape for an accuracy", bytes([accuracy]) + doubles),
            ("accuracy-edges", "accuracies next to what is refused, and that take one row or column",
             b"".join(bytes([accuracy]) + struct.pack("<dd", *pair) for pair in (
                 (2.718281828459045, 0.36787944117144233), (2.7182818284590455, 0.5),
                 (1.3591409142295225, 0.1353352832366127), (1e308, 0.9999999999999999),
                 (2.718281828459045 / (1 << 53), 0.5), (2.718281828459045 / (1 << 64), 0.5),
                 (2.718281828459045 / 39, 0.5), (0.5, 1.501626740506e-312), (3.0179e-16, 0.5), (3.0178e-16, 0.5), (1.5e-19, 0.5), (1.4e-19, 0.5), (0.25, 5e-324),
                 (0.0, 0.5), (5e-324, 0.5), (float("inf"), 0.5), (1.0, 0.0), (1.0, -0.0)))),
            ("accuracy-small", "an accuracy that takes too much",
             bytes([accuracy]) + struct.pack("<dd", 1e-300, 0.5)),
            ("accuracy-none", "what is no accuracy",
             bytes([accuracy]) + struct.pack("<dd", -1.0, 0.5) + bytes([accuracy]) +
             struct.pack("<dd", 0.5, 1.0) + bytes([accuracy]) +
             struct.pack("<dd", float("nan"), float("inf"))),
            ("ring", "of a ring of twelve slots",
             bytes([ring, 12, 2, 3]) + number(9) + bytes([31]) + number(2) + slots + b"\0"),
            ("ring-memory", "the same without memory",
             bytes([ring, 12, 0]) + slots + b"\1"),
            ("ring-statuses", "of a ring with every status, and with unknown ones",
             bytes([ring, 15, 0]) + b"".join(
                 numbers(s if s < 10 else 0xFFFFFFFF, 1 << s, 7 * s) for s in range(15)) + b"\0"),
            ("ring-empty", "of a ring without slots, of a kernel with metrics",
             bytes([ring, 0, 2, 3]) + number(0xFFFFFFFF) + bytes([31]) + number(2) + b"\0")]:
        for shape, depth, width in [("", 3, 16), ("-odd", 5, 17), ("-one", 1, 1)]:
            seeds.add("sketch", name + shape, f"{recipe}, {depth} x {width} counters",
                      bytes([depth - 1, width - 1]) + content,
                      kept=not shape or name + shape == "copies-one")

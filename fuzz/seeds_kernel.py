"""Seeds of the targets of sketches, launches, health, the kernel and captures."""
import struct
import zlib

from seed_input import counted, number, numbers, sample, vectors, words


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
            ("clock", "a stamp before the last", head(4) + look(2) +
             look(1, step=bytes([7]) + struct.pack("<q", -10**9))),
            ("memory", "no memory for the first look", head(8, nth=bytes([15, 1])) + look(3)),
            ("memory-2", "none for what is oldest", head(8, nth=bytes([15, 2])) + look(3)),
            ("resized", "a ring of another size", head(8) + look(2) + bytes([5, 9]) + look(2))]:
        seeds.add("health", name, recipe, content)


def sketch_form(kind, depth, width, rows):
    """The byte form; `rows` are the counters of each sketch."""
    out = b"MKSKETCH" + struct.pack("<II", 1, kind) + b"splitmix64".ljust(16, b"\0")
    out += struct.pack("<QQQ", 0x9E3779B97F4A7C15, depth, width)
    for counters in rows:
        total = sum(counters[:width])
        out += struct.pack("<QQ", total & (1 << 64) - 1, total >> 64)
        out += struct.pack(f"<{len(counters)}Q", *counters)
    return sealed(out)


def sealed(content):
    return content + struct.pack("<I", zlib.crc32(content))


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
             bytes([reset, 3, 2, 0, reset, 3, 9, 1, reset, 3, 9, 2, reset, 3, 1, 0])),
            ("memory", "no memory", some + bytes([reset, 6, 39, 3, copy, 1, copy, 2])),
            ("clear", "cleared", some + bytes([clear])),
            ("heavy", "the heaviest of six", some + bytes([heavy]) + counted(1, 7, 42, 99, 42, 5) +
             bytes([3])),
            ("copies", "copied, written and read", some + bytes([copy, 0])),
            ("accuracy", "a shape for an accuracy", bytes([accuracy]) + doubles),
            ("accuracy-small", "an accuracy that takes too much",
             bytes([accuracy]) + struct.pack("<dd", 1e-300, 0.5)),
            ("accuracy-none", "what is no accuracy",
             bytes([accuracy]) + struct.pack("<dd", -1.0, 0.5) + bytes([accuracy]) +
             struct.pack("<dd", 0.5, 1.0) + bytes([accuracy]) +
             struct.pack("<dd", float("nan"), float("inf"))),
            ("ring", "of a ring of twelve slots",
             bytes([ring, 12, 2, 3]) + number(9) + bytes([31]) + number(2) + slots + b"\0"),
            ("ring-memory", "the same without memory",
             bytes([ring, 12, 0]) + slots + b"\1")]:
        for shape, depth, width in [("", 3, 16), ("-odd", 5, 17)]:
            seeds.add("sketch", name + shape, f"{recipe}, {depth} x {width} counters",
                      bytes([depth - 1, width - 1]) + content, kept=not shape)


TOPOLOGIES = ["Empty", "SparseFrontier", "HybridFrontier", "DenseFrontier", "FusedDense",
              "MemoryConstrained"]


def wide(value):
    return b"\0" + number(value) if value < 1 << 32 else b"\4" + struct.pack("<Q", value)


def bps(value):
    return b"\x27" + struct.pack("<H", value) if value else b"\x1f"


def request(r, previous):
    small = ["queue_len", "requested_worker_groups", "max_workgroup_size_x",
             "max_compute_workgroups_per_dimension", "max_compute_invocations_per_workgroup",
             "requested_hit_capacity", "expected_hits_per_item", "hot_opcode_count",
             "hot_window_count"]
    return (numbers(*(r.get(key, 0) for key in small)) + wide(r.get("requeue_count", 0)) +
            numbers(r.get("max_priority_age", 0), r.get("graph_node_count", 0),
                    r.get("graph_edge_count", 0)) +
            bps(r.get("frontier_density_bps", 0)) + bps(r.get("memory_pressure_bps", 0)) +
            wide(r.get("resident_device_bytes", 0)) + wide(r.get("device_memory_budget_bytes", 0)) +
            bytes([TOPOLOGIES.index(previous) if previous else 6]))


def launch(seeds):
    usual = {"queue_len": 4096, "max_workgroup_size_x": 256, "requested_worker_groups": 0,
             "max_compute_workgroups_per_dimension": 65535,
             "max_compute_invocations_per_workgroup": 1024, "expected_hits_per_item": 1}

    def asked(previous=None, **changes):
        return request(usual | changes, previous)
    nothing = bytes([0, 0, 0])  # no change of the policy, no slots, no metrics
    hot = bytes([0, 8]) + bytes([5]) + bytes(range(1, 6)) + bytes([6, 1] * 8)
    for name, recipe, content in [
            ("usual", "a queue on an adapter", asked() + nothing),
            ("ring", "what a ring of eight slots fills in", asked(queue_len=8) + hot),
            ("requeues", "a ring that requeues past the last number",
             asked(requeue_count=(1 << 64) - 1) + hot),
            ("policy", "a policy whose hysteresis leaves the range",
             asked() + bytes([1, 14, 1]) + number(10_000) + nothing),
            ("items", "more items than have numbers", asked() + nothing + wide(1 << 33)),
            ("padding", "items whose workgroups have no numbers",
             asked(requested_worker_groups=254) + nothing + wide(0xFFFFFFFF)),
            ("counted", "requeues past the last number", asked() + nothing + wide(5) +
             wide((1 << 64) - 1) + wide(7) + numbers(3, 9) + b"\1"),
            ("promoted", "promotions past the last number", asked() + nothing + wide(5) + wide(7) +
             wide((1 << 64) - 1) + numbers(3, 9) + b"\0"),
            ("hits", "more hits than 32 bits count",
             asked(queue_len=0xFFFFFFFF, expected_hits_per_item=3) + nothing),
            ("peak", "more bytes than 64 bits count",
             asked(resident_device_bytes=(1 << 64) - 1) + nothing),
            ("memory", "more bytes than the budget",
             asked(resident_device_bytes=1 << 20, device_memory_budget_bytes=1 << 20) + nothing),
            ("zero", "an adapter without a limit", asked(max_workgroup_size_x=0) + nothing)]:
        seeds.add("launch", name, recipe, content)
    for v in vectors("recommend"):
        seeds.add("launch", v["id"], f"golden vector {v['id']}",
                  request(v["input"]["request"], v["input"]["previous_topology"]) + nothing,
                  kept=False)


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
    for name, recipe, content in kernels():
        for form, what, lanes, flags, more in [
                ("", "one after the other", 2, 0, b""), ("-mixed", "in turns", 3, 0, turns),
                ("-by-priority", "in turns, by priority, for five passes", 3, 19, turns),
                ("-persistent", "in turns, for eight passes", 2, 30, turns)]:
            seeds.add("schedule", name + form, f"{recipe}; {lanes} lanes {what}",
                      bytes([lanes - 1, flags]) + content + more, kept=not form)


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

# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Seeds of the targets of the protocol and of the decoder."""
import struct

from seed_input import changed, compact, counted, number, numbers, sample, vectors, words


def control(seeds):
    for path in ["busy", "dead", "torn", "blocked", "faulted"]:
        seeds.add("control", path, f"samples/{path}/control.bin", sample(f"{path}/control.bin"))
    whole = sample("busy/control.bin")[:640]
    for name, recipe, content in [
            ("short", "the first 636 bytes", whole[:636]),
            ("askew", "641 bytes", whole + b"\0"),
            ("word", "one word", whole[:4]),
            ("base", "its TENANT_BASE far beyond the table", changed(whole, w2=0xFFFFFFF0)),
            ("partitions", "540 bytes, which end with the partitions", whole[:540]),
            ("no-partitions", "536 bytes, which end before the last partition", whole[:536]),
            ("metrics", "512 bytes, which end with the metrics", whole[:512]),
            ("no-metrics", "508 bytes, which end before the last metric", whole[:508]),
            ("observable", "and one observable word", whole + words(77)),
            ("observable-2", "and two observable words", whole + words(77, 78)),
            *((f"base{base}", f"TENANT_BASE {base}, every mask and quota given",
               changed(whole, w2=base, **{f"w{i}": 1 for i in range(3, 64)}))
              for base in (0, 1, 2, 3, 4, 5, 6)),
            ("first-partition", "its first partition begins at slot 7", changed(whole, w129=7))]:
        seeds.add("control", name, f"samples/busy/control.bin, {recipe}", content)
    seeds.add("control", "empty", "nothing", b"")
    for v in vectors("readers", "write_priority_offsets"):
        seeds.add("control", v["id"], f"golden vector {v['id']}: its control buffer",
                  bytes.fromhex(v["input"]["control"])[:704], kept=False)


def ring_head(windows=(), more=0, trial=255, control=(), raw=False, offset=0):
    head = bytes([trial]) + counted(*windows) + bytes([more & 0xFF, 0, len(control)])
    for index, value in control:
        head += bytes([index]) + number(value)
    return head + bytes([raw, offset])


def ring(seeds):
    for path in ["busy", "stalled", "faulted", "torn", "blocked"]:
        content = sample(f"{path}/ring.bin")
        seeds.add("ring", path, f"samples/{path}/ring.bin: windows 42 and 77, its first 40 slots",
                  ring_head([42, 77]) + compact(content, 40))
        seeds.add("ring", path + "-raw", f"samples/{path}/ring.bin: its first 4 slots as they are",
                  ring_head(raw=True, offset=1) + content[:256])
    window = [compact(words(s % 9, 8 + s % 3, 1, 2, s // 4, s % 3, 9) + bytes(36), 1)
              for s in range(48)]
    one = b"".join(window)
    head = [8, 9, 10, 8]
    seeds.add("ring", "windows", "48 slots of three window opcodes, all statuses, 12 tickets",
              ring_head(head) + one)
    seeds.add("ring", "tenants", "the same, of tenants that do not fit into five bits",
              ring_head(head) + one.replace(bytes([8, 1, 2]), bytes([8, 200, 2])))
    for nth in range(1, 12):
        seeds.add("ring", f"memory-{nth}", f"the same; allocation {nth} fails",
                  ring_head(head, trial=nth) + one.replace(bytes([8, 1, 2]), bytes([8, 200, 2])))
    seeds.add("ring", "reused", "the same, into storage of half of it",
              ring_head(head, trial=16) + one)
    seeds.add("ring", "empty", "no slots", ring_head())
    seeds.add("ring", "short-control", "a control buffer of 639 bytes", ring_head(more=-1))
    seeds.add("ring", "askew-control", "a control buffer of 642 bytes", ring_head(more=2))
    seeds.add("ring", "partial", "65 bytes of ring", ring_head(raw=True) + bytes(65))
    seeds.add("ring", "report", "an empty ring whose kernel reports, with metrics and fairness",
              ring_head(control=[(141, 1), (142, 7), (149, 2), (96, 3), (127, 9), (64, 5), (70, 2),
                                 (136, 0xFFFFFFFF), (137, 4)]) + compact(bytes(64), 1))
    for v in vectors("decode"):
        seeds.add("ring", v["id"], f"golden vector {v['id']}: its windows and first slots",
                  ring_head(v["input"]["windows"][:12]) +
                  compact(bytes.fromhex(v["input"]["ring"]), 24), kept=False)


def large_ring(seeds):
    def shape(slots, order, opcodes, tenants, nth=0, reuses=0, none=0, offset=0):
        return (struct.pack("<H", slots) + bytes([order, opcodes - 1]) + number(tenants) +
                bytes([nth, reuses]) + struct.pack("<Q", 20261122) + bytes([offset, none]))

    def unusual(count, statuses, opcodes, depth=2, width=64):
        return (numbers(statuses, opcodes) + bytes([depth - 1, width - 1]) +
                struct.pack("<H", count))
    for name, recipe, content in [
            ("streamed", "35,000 slots, which are streamed, without windows",
             shape(35000, 0, 1, 3, none=1)),
            ("windows", "39,000 slots of as many windows, of few tenants", shape(39000, 0, 3, 7)),
            ("wide", "the same of many tenants", shape(39000, 0, 3, 0xFFFFFFFF)),
            ("ascending", "20,000 slots, tickets ascending", shape(20000, 2, 2, 3)),
            ("equal", "20,000 slots of one ticket and opcode", shape(20000, 4, 1, 3)),
            ("few", "17,000 slots of 40 tickets and 24 opcodes", shape(17000, 1, 24, 3)),
            ("memory", "2,000 slots; allocation 7 fails", shape(2000, 0, 3, 7, nth=7)),
            ("memory-wide", "the same of many tenants; allocation 8 fails",
             shape(2000, 0, 3, 0xFFFFFFFF, nth=8)),
            ("reused", "3,000 slots, into storage of half of them", shape(3000, 3, 3, 7, reuses=1)),
            ("all-windows", "300 slots, each of a window", shape(300, 0, 1, 3) + unusual(300, 0, 1)),
            ("spaced", "5,000 slots of tickets that are multiples of 4,096", shape(5000, 255, 1, 3)),
            ("spaced-more", "20,000 slots of such tickets, of many tenants",
             shape(20000, 255, 2, 0xFFFFFFFF)),
            ("streamed-windows", "117,000 slots of nearly as many windows, which are streamed",
             shape(39000, 0, 3, 7) + unusual(0, 0, 0) + b"\xff"),
            ("huge", "156,000 slots, in memory of huge pages",
             shape(39000, 0, 3, 7, none=1) + unusual(0, 0, 0) + b"\xfe"),
            ("strangers", "9,000 slots whose opcodes, tenants and statuses are seldom seen twice",
             shape(9000, 0, 1, 0xFFFFFFFF, none=1) + unusual(9000, 0xFFFFFFFF, 0xFFFFFFFF)),
            ("strange-opcodes", "5,000 slots of strange opcodes and few tenants, in 5 x 33 counters",
             shape(5000, 0, 1, 3, none=1) + unusual(5000, 0, 0xFFFFFFFF, 5, 33)),
            ("strange-tenants", "5,000 slots of strange tenants and few opcodes, in 4 x 80 counters",
             shape(5000, 0, 1, 0xFFFFFFFF, none=1) + unusual(5000, 12, 4, 4, 80)),
            ("strange-at-first", "9,000 slots, of which the first 3,000 are strange",
             shape(9000, 0, 1, 3, none=1) + unusual(3000, 0xFFFFFFFF, 0xFFFFFFFF, 3, 17)),
            ("many", "3,000 slots of 900 opcodes, statuses and tenants",
             shape(3000, 0, 1, 900, none=1) + unusual(3000, 900, 900, 1, 80))]:
        seeds.add("large_ring", name, recipe, content)


def debug_log(seeds):
    seeds.add("debug_log", "overflowed", "samples/busy/debug-log.bin, which overflowed",
              sample("busy/debug-log.bin"))
    for name, recipe, content in [
            ("full", "a log of two records, full", words(8, *range(8))),
            ("partial", "a cursor inside a record", words(6, *range(8))),
            ("empty", "nothing", b""), ("askew", "five bytes", bytes(5)),
            *((f"past-{size}", f"{size} words whose cursor is past their end",
               words(8, *range(1, size))) for size in range(5, 10)),
            ("past", "a cursor far past the end", words(0xFFFFFFFF, 1, 2, 3, 4, 5))]:
        seeds.add("debug_log", name, recipe, content)
    for v in vectors("debuglog"):
        content = bytes.fromhex(v["input"]["bytes"])
        if len(content) <= 272:
            seeds.add("debug_log", v["id"], f"golden vector {v['id']}", content, kept=False)


def slots(seeds):
    def packed(*arguments):
        return words(1, 0x80000001, 0, 2, *arguments, *[0] * (12 - len(arguments)))
    for name, recipe, content in [
            ("packed", "store and add in a packed slot",
             packed(2 | 4 << 8 | 1 << 16, 2 | 2 << 8, 9, 170, 9, 171)),
            ("packed-none", "a packed slot without operations", packed(0)),
            ("packed-metadata", "a packed slot of 24 operations", packed(24)),
            ("packed-payload", "a packed slot of too many arguments", packed(1 | 12 << 8)),
            ("packed-malformed", "a packed offset past the arguments",
             packed(1 | 2 << 8 | 3 << 24)),
            ("packed-backwards", "packed offsets that fall", packed(2 | 4 << 8 | 2 << 24, 1 << 8)),
            ("packed-full", "a packed operation of eleven arguments",
             packed(1 | 11 << 8 | 9 << 16, *range(1, 12))),
            ("packed-table-full", "a packed slot of 23 operations", packed(23)),
            ("load-miss-now", "two LOAD_MISS that cannot wait, the second one at the end",
             words(1, 0xFFFD, 0, 0, 7, 0) + bytes(40) + words(2, 0xFFFD, 0, 0, 8, 0) + bytes(40)),
            ("load-miss", "a LOAD_MISS that can wait", words(1, 0xFFFD, 0, 0, 7, 1) + bytes(40)),
            ("done", "three slots, two of them DONE",
             words(3) + bytes(60) + words(2) + bytes(60) + words(3) + bytes(60))]:
        seeds.add("slots", name, recipe, numbers(2) + b"\0" + content)
    seeds.add("slots", "items", "more slots than there are", numbers(9) + b"\0" + bytes(64))
    seeds.add("slots", "items-overflow", "more slots than can be", numbers(1) + b"\x3a" + bytes(64))
    for more in range(3):
        seeds.add("slots", f"items-most-{more}", "next to the most slots that can be",
                  numbers(more) + b"\x3f" + bytes(64))
    seeds.add("slots", "askew", "a ring of 66 bytes", numbers(1) + b"\0" + bytes(66))
    for v in vectors("decode_load_miss", "count_done"):
        count = v["input"].get("item_count", 1)
        if count < 1 << 32:
            seeds.add("slots", v["id"], f"golden vector {v['id']}: its ring",
                      number(count) + b"\0" + bytes.fromhex(v["input"]["ring"])[:320], kept=False)


def io_queue(seeds):
    status, publish, poll, claim, complete, recycle, poke = range(7)

    def call(kind, slot, *more):
        return bytes([kind]) + number(slot) + b"".join(more)
    request = numbers(1, 5, 6, 7, 8, 9, 10)
    head = numbers(64) + b"\0"
    life = (call(publish, 1, request) + call(poll, 0) + call(claim, 1) +
            call(complete, 1, bytes([1, 0])) + call(recycle, 1) + call(status, 1))
    for name, recipe, content in [
            ("life", "a request from publish to recycle", bytes([2]) + numbers(0, 0) + life),
            ("failed", "two requests that are completed at once, one as an error",
             bytes([3]) + numbers(1, 1, 1) + call(claim, 0) + call(claim, 1) +
             call(complete, 0, bytes([1, 1]) + number(1) + b"\0") + call(recycle, 0)),
            ("repeated", "one request completed twice in one call",
             bytes([2]) + numbers(2, 2) + call(complete, 0, bytes([1, 1]) + number(0) + b"\1")),
            ("wrong", "every call on a slot of the wrong status",
             bytes([1]) + numbers(3) + call(publish, 0, request) + call(claim, 0) +
             call(complete, 0, bytes([1, 0])) + call(recycle, 0)),
            ("past", "every call on a slot that is not there",
             bytes([1]) + numbers(0) + b"".join(call(k, 9, request) for k in range(7))),
            ("unknown", "an operation that does not exist",
             bytes([1]) + numbers(0) + call(publish, 0, numbers(4, 5, 6, 7, 8, 9, 10)))]:
        seeds.add("io_queue", name, recipe, head + content)
    most = bytes([63]) + numbers(*[2] * 63)
    for name, recipe, content in [
            ("all", "the first, the last and one between of 63 slots, twice", b"".join(
                call(complete, 0, bytes([1, 3]) + number(62) + b"\1" + number(31) + b"\0" +
                     number(again) + b"\1") for again in (31, 62, 0, 30))),
            ("statuses", "every call on slots of every status", b"".join(
                call(poke, s, numbers(value)) for s, value in enumerate(
                    (0, 1, 2, 3, 4, 7, 8, 0x0F, 0x10, 0x11, 0x12, 0xFFFFFFFF))) + b"".join(
                call(kind, s, request if kind == publish else b"\1\0" if kind == complete else b"")
                for kind in (status, claim, recycle, complete, publish, poll) for s in range(12))),
            ("operations", "operations next to those there are", call(poke, 5, numbers(0)) + b"".join(
                call(publish, 5, numbers(op, 5, 6, 7, 8, 9, 10)) + call(poke, 5, numbers(0))
                for op in range(5))),
            ("offsets", "an offset of more than 32 bits", call(poke, 5, numbers(0)) +
             call(publish, 5, numbers(2, 0xFFFFFFFF, 6, 0x80000001, 0xFFFFFFFE, 9, 0xFFFFFFFD)) +
             call(claim, 5))]:
        seeds.add("io_queue", name, recipe, head + most + content)
    for name, recipe, content in [
            ("partial", "33 bytes are no queue", numbers(33) + b"\0"),
            ("large", "65 slots are too many", numbers(65 * 32) + b"\0"),
            ("largest", "64 slots are not", numbers(64 * 32) + b"\0"),
            ("empty", "a queue of no slots", numbers(0) + b"\0"),
            ("unaligned", "a queue one byte past a word", numbers(64) + b"\1")]:
        seeds.add("io_queue", name, recipe, content)


def publish(seeds):
    one, each, batch, window, items, miss, poke = range(7)
    head = numbers(64) + b"\0" + bytes([12])

    def plain(op, *arguments, tenant=3, level=2):
        return b"\1" + number(tenant) + bytes([0, level]) + number(op) + counted(*arguments)

    def packed(*inner, tenant=3, level=1):
        return (b"\0" + number(tenant) + bytes([0, level]) + bytes([len(inner)]) +
                b"".join(bytes([op]) + counted(*arguments) for op, *arguments in inner))

    def call(kind, slot, *more):
        return bytes([kind]) + number(slot) + b"".join(more)
    item = number(42) + counted(1, 2, 3)
    work = numbers(9, 1, 2, 3)
    for name, recipe, content in [
            ("slots", "slots of every priority",
             b"".join(call(one, s, plain(8 + s, *range(s), level=s)) for s in range(5))),
            ("packed", "a packed slot of two operations", call(one, 0, packed((1, 9, 170), (7,)))),
            ("packed-many", "256 operations in one slot", call(one, 0, b"\0\3\0\1\x0a")),
            ("packed-most", "255 operations in one slot", call(one, 0, b"\0\3\0\1\x0b")),
            ("packed-table", "24 operations in one slot", call(one, 0, b"\0\3\0\1\x09")),
            ("packed-payload", "thirteen argument words in one slot",
             call(one, 0, packed((1, 1, 2, 3, 4), (2, 1, 2, 3, 4), (2, 1, 2, 3, 4)))),
            ("each", "a slot and a packed slot in one call",
             call(each, 2, bytes([2]), plain(9, 1), packed((2, 1, 165)))),
            ("batch", "a batch of two items and its fence",
             call(batch, 4, numbers(2, 77), bytes([2]), item, item)),
            ("window", "a window of two required slots and one ahead",
             call(window, 6, numbers(42, 1, 1000, 2), bytes([2]), counted(1), counted(2, 3),
                  bytes([1]), counted())),
            ("items", "three work items", call(items, 0, numbers(5), bytes([3]), work * 3)),
            ("miss", "a LOAD_MISS", call(miss, 3, numbers(7), b"\1")),
            ("occupied", "into slots that are the kernel's",
             call(poke, 1, numbers(2)) + call(one, 1, plain(8)) +
             call(items, 0, numbers(5), bytes([3]), work * 3) + call(miss, 1, numbers(7), b"\0") +
             call(batch, 0, numbers(2, 77), bytes([1]), item)),
            ("done", "into a slot that is DONE", call(poke, 1, numbers(3)) + call(one, 1, plain(8))),
            ("stale", "over slots that had twelve arguments, in every way", b"".join(
                call(one, s, plain(9, *range(21, 33))) + call(poke, s, numbers(3))
                for s in range(12)) +
             call(one, 0, plain(8)) + call(one, 1, plain(8, 5)) + call(one, 2, plain(8, *range(4))) +
             call(one, 3, plain(8, *range(10))) + call(one, 4, plain(8, *range(11))) +
             call(one, 5, packed((7,))) + call(batch, 6, numbers(2, 77), bytes([1]), item) +
             call(items, 8, numbers(5), bytes([1]), work) + call(miss, 9, numbers(7), b"\0") +
             call(window, 10, numbers(42, 1, 1000, 2), bytes([1]), counted(1), bytes([1]),
                  counted())),
            ("past", "past the ring's end", b"".join([
                call(one, 12, plain(8)), call(each, 11, bytes([2]), plain(8), plain(8)),
                call(batch, 11, numbers(2, 7), bytes([1]), item),
                call(items, 11, numbers(5), bytes([2]), work * 2),
                call(miss, 12, numbers(7), b"\0")])),
            ("last", "past the last slot that has a number", b"".join([
                call(each, 0xFFFFFFFF, bytes([2]), plain(8), plain(8)),
                call(batch, 0xFFFFFFFF, numbers(2, 7), bytes([1]), item),
                call(items, 0xFFFFFFFF, numbers(5), bytes([2]), work * 2),
                call(window, 0xFFFFFFFF, numbers(42, 1, 9, 2), bytes([2]), counted(1), counted(2),
                     bytes([0]))])),
            ("arguments", "thirteen arguments", call(one, 0, plain(8, *range(13))) +
             call(batch, 0, numbers(2, 7), bytes([1]), number(42) + counted(*range(13)))),
            ("reserved", "opcodes that are the protocol's",
             call(one, 0, plain(0xFFFD)) + call(items, 0, numbers(5), bytes([1]),
                                                numbers(0xFFF0, 1, 2, 3)) +
             call(batch, 0, numbers(2, 7), bytes([1]), number(0x80000000) + counted())),
            ("priority", "a priority that is none",
             call(one, 0, b"\1" + number(3) + bytes([15]) + number(5) + number(8) + counted())),
            ("payload", "eleven payload words",
             call(window, 0, numbers(42, 1, 9, 2), bytes([1]), counted(*range(11)), bytes([0])))]:
        seeds.add("publish", name, recipe, head + content)
    seeds.add("publish", "partial", "a ring of 65 bytes", numbers(65) + b"\0")
    seeds.add("publish", "unaligned", "a ring one byte past a word", numbers(64) + b"\1")


def encode(seeds):
    for kind, what in enumerate(["control buffer", "ring", "debug log", "IO queue", "work items"]):
        tail = numbers(1, 29) if kind == 0 else numbers(5, 2) + numbers(1, 2, 3, 4, 9, 1, 2, 3)
        for count in [0, 8, 64, 65, 1_048_576, 1_048_577]:
            seeds.add("encode", f"{kind}-{count}", f"{what}, {count:,} of them",
                      bytes([kind, 0]) + number(count) + tail)
        seeds.add("encode", f"{kind}-memory", f"{what}, no memory",
                  bytes([kind, 15]) + number(8) + tail)
    for tenants in [0, 28, 30, 31, 32, 33]:
        seeds.add("encode", f"0-tenants-{tenants}", f"control buffer of {tenants} tenants",
                  bytes([0, 0]) + number(8) + numbers(0, tenants))
    for count in [0x0FFFFFFF, 0x10000000, 0x3FFFFFFF, 0x40000000, 0xFFFFFF5F, 0xFFFFFF60]:
        seeds.add("encode", f"1-{count:x}", f"a length of {count:,} of each",
                  bytes([1, 0]) + number(count))
    seeds.add("encode", "4-many", "more work items than slots",
              bytes([4, 0]) + number(1) + numbers(5, 2, 1, 2, 3, 4, 9, 1, 2, 3))
    seeds.add("encode", "4-reserved", "work items of a reserved opcode",
              bytes([4, 0]) + number(8) + numbers(5, 1, 0xFFF0, 2, 3, 4))


def errors(seeds):
    for code in range(77):
        for figures, what in [(b"\0\x05\0\x01\0\x09", "small"), (b"\1" + b"\xff" * 8, "large")]:
            seeds.add("errors", f"{code}-{what}", f"code {code} with {what} figures",
                      number(code) + bytes([code % 16, code % 6]) + figures * (3 if what == "large"
                                                                             else 1),
                      kept=what == "small")
        for found, bound, what in [(9, 9, "equal"), (9, 1, "above")]:
            seeds.add("errors", f"{code}-{what}", f"code {code}, what was found {what} to the bound",
                      number(code) + bytes([code % 16, code % 6]) +
                      b"\0\x05\0" + bytes([found]) + b"\0" + bytes([bound]), kept=code == 63)
    for buffer in range(6):
        seeds.add("errors", f"waited-{buffer}", f"deadline_passed of buffer {buffer}",
                  number(67) + bytes([200, buffer]) + b"\0\x05\0\x01\0\x09")
    for index in range(12):
        for code in [55, 63, 65]:
            seeds.add("errors", f"subject-{code}-{index}", f"code {code} about {index}",
                      number(code) + bytes([255, 0]) + b"\0" + number(index) + b"\0\x01\0\x09")


def digest(seeds):
    def slot(status, op, tenant, ticket=0, kind=0):
        return numbers(status, op, tenant, ticket, kind)

    # Five slots of window (7, 9), two tenants; one of (7, 40); one of no window.
    ring = (slot(1, 9, 3, 7) + slot(2, 9, 3, 7, 1) + slot(3, 9, 4, 7) + slot(7, 9, 3, 7, 2) +
            slot(0, 9, 3, 7) + slot(6, 40, 50, 7) + slot(99, 1, 2))
    set_to, add, subtract = range(3)
    sketches, windows = 112, 112 + 4 * 2 * 2 * 3

    def form(changes=(), what=0, length=b"", slots=ring, depth=2, width=3, room=255, ops=(9, 40),
             how=1):
        return (bytes([what, how, depth, width]) + counted(*ops) + bytes([room, len(changes)]) +
                b"".join(struct.pack("<HB", at, how) + number(value)
                         for at, how, value in changes) + length + slots)

    # Of each status another number; of the edges of what is counted key by key.
    uneven = b"".join(slot(99 if s == 8 else s, *edge, 0, (s + i) % 3 // 2)
                      for s in range(9) for i, edge in enumerate(
                          [(9, 3), (9, 3), (9, 4), (0, 0), (31, 31), (32, 32), (1, 31), (9, 0),
                           (0, 32)][:s + 1]))
    empty = words(0x44524B4D, 1, *[0] * 110)
    for name, recipe, content in [
            ("ring", "a ring with windows and sketches", form()),
            ("figures", "occupancy alone", form(depth=0, width=0, ops=())),
            ("uneven", "of each status another number", form(slots=uneven, ops=(0, 9, 31, 32))),
            ("off-by-one", "a digest of which one word after the other is wrong", form(what=4)),
            ("off-by-one-uneven", "the same of another ring",
             form(what=4, slots=uneven, depth=1, width=2, ops=(0, 9, 31, 32))),
            ("off-by-one-alone", "the same without windows and sketches",
             form(what=4, depth=0, width=0, ops=())),
            ("edge", "a window of opcode 32", form(slots=slot(1, 32, 5) * 3, ops=(32,))),
            ("first", "a window of opcode 0 and ticket 0", form(slots=slot(1, 0, 5) * 3, ops=(0,))),
            ("repeated", "a window twice", form([(windows + 17, set_to, 9)])),
            ("published", "more published slots than the ring has",
             form([(windows + 5, add, 1), (windows + 11, subtract, 1)])),
            ("faulted", "more faults than the ring has",
             form([(windows + 5, subtract, 1), (windows + 11, add, 1)])),
            ("opcode-moved", "fewer slots of an opcode than its windows have",
             form([(48 + 9, subtract, 1), (48 + 1, add, 1)])),
            ("opcode-other", "fewer slots of other opcodes than their windows have",
             form([(9, subtract, 1), (48 + 1, add, 1)])),
            ("again", "storage of another digest", form(what=2)),
            ("control", "half a control buffer beside it", form(how=255)),
            ("columns", "columns without rows", form([(3, set_to, 0)])),
            ("cramped", "room for one window", form(room=1)),
            ("without-windows", "room for none", form(room=0)),
            ("nothing", "an empty ring", form(slots=b"")),
            ("first-memory", "no memory for the sketches", form(what=3)),
            ("second-memory", "no memory for the windows", form(what=35)),
            ("raw", "the bytes of an empty ring's digest", b"\xff\0" + empty),
            ("cut", "447 bytes", b"\xff\0" + empty[:-1]),
            ("mark", "another mark", form([(0, add, 1)])),
            ("version", "version 2", form([(1, add, 1)])),
            ("short", "one byte is missing", form([(0, add, 0)], 1, b"\xff")),
            ("long", "a word too many", form([(0, add, 0)], 1, b"\x04")),
            ("one-sided", "rows without columns", form([(4, set_to, 0)])),
            ("wide", "more counters than a digest has", form([(4, set_to, 1_000_000)])),
            ("many", "more windows than a digest has", form([(5, set_to, 10_000)])),
            ("opcodes", "17 window opcodes", form([(7, set_to, 17)])),
            ("unordered", "window opcodes in no order", form([(17, set_to, 9)])),
            ("unused", "a window opcode too many", form([(18, set_to, 50)])),
            ("reserved", "a reserved word", form([(12, set_to, 1)])),
            ("reserved-more", "another reserved word", form([(45, set_to, 1)])),
            ("slots", "more slots than statuses", form([(2, add, 1)])),
            ("statuses", "more statuses than slots", form([(40, add, 1)])),
            ("active", "another number of active slots", form([(8, add, 1)])),
            ("opcode", "an opcode too many", form([(49, add, 1)])),
            ("tenant", "a tenant too few", form([(83, subtract, 1)])),
            ("row", "a row that sums to another total", form([(sketches, add, 1)])),
            ("wrapped", "a row whose sum passes 64 bits",
             form([(sketches + 1, set_to, 0xFFFFFFFF), (sketches + 3, set_to, 0xFFFFFFFF)])),
            ("moved", "a slot counted in another column",
             form([(sketches, add, 1), (sketches + 2, subtract, 1)])),
            ("strange", "a window of an opcode that was not asked for",
             form([(windows + 1, set_to, 10)])),
            ("backwards", "windows in no order", form([(windows, set_to, 8)])),
            ("hollow", "a window without slots", form([(windows + 28, set_to, 0)])),
            ("required", "more required slots than slots", form([(windows + 3, set_to, 6)])),
            ("ended", "more ended slots than slots", form([(windows + 11, set_to, 6)])),
            ("owed", "more requeued slots than the ring has",
             form([(windows + 5, subtract, 1), (windows + 10, add, 1)])),
            ("agreed", "one slot with two tenants", form([(windows + 29, set_to, 1)])),
            ("twice", "disagreement that is neither yes nor no",
             form([(windows + 13, set_to, 2)])),
            ("tail", "a reserved word of a window", form([(windows + 15, set_to, 1)])),
            ("crowd", "more slots in windows than of their opcode", form([(windows + 12, add, 1)])),
            ("others", "the same of a large opcode", form([(windows + 28, add, 1)])),
            ("lost", "a slot in no window", form([(windows + 12, subtract, 1)])),
            ("unlisted", "a slot in no window, and one counted so",
             form([(windows + 12, subtract, 1), (6, add, 1)])),
            ("too-unlisted", "more of them than there can be", form([(6, add, 1)]))]:
        seeds.add("digest", name, recipe, content)

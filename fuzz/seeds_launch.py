# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Seeds of the targets of launches and of what goes with them."""
import struct

from seed_input import counted, number, numbers, vectors


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


# The policy's parameters as the target numbers them.
PARAMETERS = ["default_workers", "occupancy_divisor", "max_dispatch_groups", "powerful_invocations",
              "powerful_worker_groups", "min_hit_capacity", "hit_capacity_multiplier",
              "saturated_waves", "hot_opcode_threshold", "hot_window_threshold",
              "jit_queue_len_threshold", "priority_age_threshold", "sparse_bps", "dense_bps",
              "frontier_hysteresis_bps", "memory_pressure_bps", "memory_hysteresis_bps",
              "fusion_edge_threshold", "scratch_bytes_per_hit"]


def policy_changes(changes):
    return bytes([len(changes)]) + b"".join(
        bytes([PARAMETERS.index(name), 1]) + number(value) for name, value in changes.items())


def launch_edges():
    """Requests next to each edge of the policy: (previous, changes of the policy, of a request)."""
    most, wide_most = 0xFFFFFFFF, (1 << 64) - 1

    def around(value):
        return [value - 1, value, value + 1]
    graph = {"graph_node_count": 9, "graph_edge_count": 65536, "hot_opcode_count": 8}
    yield "topologies", "densities next to each threshold", [
        (None, {}, graph | {"frontier_density_bps": d}) for t in (500, 4000) for d in around(t)] + [
        (None, {}, graph | {"frontier_density_bps": 4000} | change) for change in (
            {"graph_edge_count": 65535}, {"graph_node_count": 0}, {"hot_opcode_count": 7},
            {"hot_opcode_count": 0, "hot_window_count": 4},
            {"hot_opcode_count": 0, "hot_window_count": 3}, {"queue_len": 0},
            {"memory_pressure_bps": 8500}, {"memory_pressure_bps": 8499})]
    held = [("SparseFrontier", 750), ("HybridFrontier", 250), ("HybridFrontier", 4250),
            ("DenseFrontier", 3750), ("FusedDense", 3750)]
    yield "held", "densities next to each margin, after each topology", [
        (t, {}, graph | {"frontier_density_bps": d}) for t, edge in held for d in around(edge)] + [
        ("FusedDense", {}, graph | {"frontier_density_bps": 3750} | change)
        for change in ({"graph_edge_count": 65535}, {"hot_opcode_count": 0})] + [
        ("MemoryConstrained", {}, graph | {"frontier_density_bps": d, "memory_pressure_bps": m})
        for d, m in ((1000, 8249), (1000, 8250), (100, 8250), (1000, 8500), (1000, 1))] + [
        (t, {}, graph | {"frontier_density_bps": d}) for t, d in (
            ("SparseFrontier", 5000), ("DenseFrontier", 100), ("HybridFrontier", 100),
            ("SparseFrontier", 500), ("Empty", 500), ("FusedDense", 4000), ("DenseFrontier", 4000),
            ("HybridFrontier", 600), ("Empty", 600), ("FusedDense", 100))] + [
        ("DenseFrontier", {}, {"queue_len": 0})]
    yield "inferred", "densities and pressures that are inferred", [
        (None, {}, {"queue_len": q, "graph_node_count": n})
        for q, n in ((1, 20001), (5, 7), (9, 9), (10, 9), (3, 10), (7, 10000), (0, 9), (5, 0))] + [
        (None, {}, {"resident_device_bytes": r, "device_memory_budget_bytes": b})
        for r, b in ((1, wide_most), (1 << 63, wide_most), (wide_most // 10000, wide_most),
                     (wide_most // 10000 + 1, wide_most), (1 << 20, 1 << 21), (85, 100), (84, 100),
                     (0, 1 << 30), (1 << 20, 0))]
    short = {"memory_pressure_bps": 8500, "frontier_density_bps": 1000}
    yield "shed", "worker groups that go to save memory", [
        (None, {}, short | {"requested_worker_groups": g, "memory_pressure_bps": m})
        for g, m in ((0, 8500), (1, 9999), (2, 10000), (3, 8500), (1000, 8501), (1000, 9999),
                     (1000, 10000), (1000, 12000), (most, 9250))] + [
        ("MemoryConstrained", {}, short | {"requested_worker_groups": 100,
                                           "memory_pressure_bps": 8300})] + [
        (None, {"memory_pressure_bps": 10000}, short | {"requested_worker_groups": 100,
                                                        "memory_pressure_bps": 10000}),
        (None, {"memory_pressure_bps": 10000}, short | {"requested_worker_groups": 100,
                                                        "memory_pressure_bps": 10001}),
        (None, {"memory_pressure_bps": 0, "memory_hysteresis_bps": 0},
         short | {"requested_worker_groups": 100, "memory_pressure_bps": 0}),
        (None, {"memory_pressure_bps": 0, "memory_hysteresis_bps": 0},
         short | {"requested_worker_groups": 100, "memory_pressure_bps": 1})]
    thin = {"frontier_density_bps": 250, "graph_node_count": 9}
    yield "few", "worker groups of a sparse frontier", [
        (None, {}, thin | {"requested_worker_groups": g, "frontier_density_bps": d})
        for g, d in ((1, 1), (2, 1), (31, 1), (32, 1), (33, 1), (64, 250), (65, 250), (1000, 499),
                     (1000, 500), (most, 7))] + [
        (None, {}, thin | {"requested_worker_groups": 100, "graph_node_count": 0}),
        (None, {}, {"requested_worker_groups": 100, "graph_node_count": 0}),
        ("SparseFrontier", {}, thin | {"requested_worker_groups": 100, "frontier_density_bps": 700}),
        (None, {"sparse_bps": 0, "frontier_hysteresis_bps": 0},
         thin | {"requested_worker_groups": 100, "frontier_density_bps": 0}),
        ("SparseFrontier", {"sparse_bps": 1, "frontier_hysteresis_bps": 1},
         thin | {"requested_worker_groups": 100, "frontier_density_bps": 2})]

    def adapter(width, dimension, invocations, **more):
        return {"max_workgroup_size_x": width, "max_compute_workgroups_per_dimension": dimension,
                "max_compute_invocations_per_workgroup": invocations} | more
    yield "adapters", "adapters next to each size that matters", [
        (None, {}, adapter(256, d, i)) for d in (255, 256, 511, 512, 262143, 262144, most)
        for i in (4095, 4096)] + [
        (None, {}, adapter(256, d, 4096)) for d in (1, 63, 64, 65)] + [
        (None, {}, adapter(w, 100, 1, requested_worker_groups=g))
        for w, g in ((1, 1), (99, 99), (99, 100), (100, 100), (256, 101), (most, most))] + [
        (None, {}, adapter(*limits)) for limits in ((0, 1, 1), (1, 0, 1), (1, 1, 0), (0, 0, 0))]
    grid = adapter(64, 65535, 1, requested_worker_groups=64)
    yield "queues", "queues next to each number of lanes", [
        (None, {}, grid | {"queue_len": q}) for q in (
            0, 1, 63, 64, 65, 4095, 4096, 4097, 16383, 16384, 16385, most - 63, most - 62, most)] + [
        (None, {}, grid | {"queue_len": q, "requested_worker_groups": 2000})
        for q in (64 * 1024, 64 * 1024 + 1, 64 * 2000)] + [
        (None, {}, grid | {"queue_len": 5, "requeue_count": r}) for r in (0, 1, wide_most)] + [
        (None, {"saturated_waves": most}, grid | {"queue_len": most}),
        (None, {"saturated_waves": 1}, grid | {"queue_len": 4096})]
    yield "hits", "hits next to each bound", [
        (None, {}, {"queue_len": q, "expected_hits_per_item": e, "requested_hit_capacity": r} | more)
        for q, e, r, more in (
            (511, 1, 0, {}), (512, 1, 0, {}), (513, 0, 0, {}), (511, 2, 0, {}), (9, 1, 1, {}),
            (9, 1, most, {}), (0x7FFFFFFF, 1, 0, {}), (0x80000000, 1, 0, {}), (0x10000, 0xFFFF, 0, {}),
            (0x10000, 0x10000, 0, {}), (0x10001, 0xFFFF, 0, {"memory_pressure_bps": 8500}),
            (0x10001, 0x10000, 0, {"memory_pressure_bps": 8500}), (most, 1, 0, {}),
            (most, 1, 0, {"memory_pressure_bps": 8500}), (most, most, 0, {}),
            (1023, 1, 0, {"memory_pressure_bps": 8500}), (1024, 1, 0, {"memory_pressure_bps": 9000}),
            (0, 9, 0, {}))] + [
        (None, {"hit_capacity_multiplier": 4},
         {"queue_len": 1 << 31, "expected_hits_per_item": 1 << 31}),
        (None, {"hit_capacity_multiplier": 1}, {"queue_len": most, "expected_hits_per_item": 1})]
    room = {"queue_len": 9, "requested_hit_capacity": 10}
    yield "peaks", "bytes next to each bound", [
        (None, {}, room | {"resident_device_bytes": r, "device_memory_budget_bytes": b})
        for r, b in ((wide_most - 160, 0), (wide_most - 159, 0), (1000, 1160), (1001, 1160),
                     (0, 159), (0, 160), (0, 161), (wide_most - 160, wide_most), (1000, 0))] + [
        (None, {"scratch_bytes_per_hit": 0}, room), (None, {"scratch_bytes_per_hit": most}, room),
        (None, {"scratch_bytes_per_hit": most}, room | {"requested_hit_capacity": most})]
    yield "modes", "queues and ages next to what is compiled and lifted", [
        (None, {}, {"queue_len": q}) for q in (4095, 4096, 4097)] + [
        (None, {}, {"queue_len": 9, "hot_opcode_count": o, "hot_window_count": w})
        for o, w in ((7, 3), (8, 3), (7, 4), (8, 4))] + [
        (None, {}, {"queue_len": 9, "max_priority_age": a}) for a in (31, 32, 33, most)] + [
        (None, {}, {"queue_len": 9, "requeue_count": 1})]
    bounds = [("dense_bps", 10000), ("sparse_bps", 4000), ("frontier_hysteresis_bps", 500),
              ("memory_pressure_bps", 10000), ("memory_hysteresis_bps", 8500)]
    yield "policies", "policies next to each bound", [
        (None, {name: v}, {}) for name, bound in bounds for v in (bound, bound + 1)] + [
        (None, {name: v}, {}) for name in PARAMETERS[:5] + ["hit_capacity_multiplier",
                                                            "saturated_waves"] for v in (0, 1)] + [
        (None, {"dense_bps": d, "frontier_hysteresis_bps": h}, {})
        for d, h in ((9750, 250), (9751, 250), (10000, 0), (10001, 0))] + [
        (None, {"sparse_bps": 249, "frontier_hysteresis_bps": h}, {}) for h in (249, 250)] + [
        (None, {"saturated_waves": 0, "memory_pressure_bps": 10001}, {}),
        (None, {"default_workers": 0, "saturated_waves": 0}, {}),
        (None, {"sparse_bps": 4001, "memory_pressure_bps": 10001}, {}),
        (None, {"dense_bps": 10001, "sparse_bps": 10002, "memory_hysteresis_bps": 8501}, {})]


def launch(seeds):
    usual = {"queue_len": 4096, "max_workgroup_size_x": 256, "requested_worker_groups": 0,
             "max_compute_workgroups_per_dimension": 65535,
             "max_compute_invocations_per_workgroup": 1024, "expected_hits_per_item": 1}

    def asked(previous=None, **changes):
        return request(usual | changes, previous)
    nothing = bytes([0, 0, 0])  # no change of the policy, no slots, no metrics
    rest = nothing + b"\0\0" * 3 + b"\0\0\0"  # and no items; nothing is counted
    hot = bytes([0, 8]) + bytes([5]) + bytes(range(1, 6)) + bytes([6, 1] * 8)
    for name, recipe, content in [
            ("usual", "a queue on an adapter", asked() + nothing),
            ("ring", "what a ring of eight slots fills in", asked(queue_len=8) + hot),
            ("requeues", "a ring that requeues past the last number",
             asked(requeue_count=(1 << 64) - 1) + hot),
            ("requeues-edge", "a ring that requeues up to the last number, and one past it",
             b"".join(asked(requeue_count=(1 << 64) - 1 - left) + hot + rest[3:]
                      for left in (3, 2, 1))),
            ("windows", "a ring with a window of four slots and one of three",
             asked(queue_len=8) + bytes([0, 7, 0]) + bytes([1, 0, 1, 0, 1, 0, 1, 0] + [1, 2] * 3) +
             rest[3:]),
            ("windows-ahead", "a ring with a window of two slots and two ahead, and one of three",
             asked(queue_len=8) + bytes([0, 9, 0]) +
             bytes([1, 0, 1, 3, 1, 3, 1, 6, 1, 0, 1, 1, 1, 4, 1, 4, 1, 7]) + rest[3:]),
            ("windows-none", "a ring of three window slots, and no metric",
             asked(queue_len=8) + bytes([0, 4, 0]) + bytes([1, 0, 1, 1, 1, 1, 3, 2]) + rest[3:]),
            ("metrics", "a ring with every metric, and eight of them",
             asked(queue_len=8) + bytes([0, 1, 19]) + bytes(range(1, 20)) + bytes([1, 0]) + rest[3:] +
             asked(queue_len=8) + bytes([0, 1, 8]) + bytes(range(1, 9)) + bytes([6, 0]) + rest[3:]),
            ("ring-given", "a ring that a request leaves nothing open to",
             asked(queue_len=8, graph_node_count=3, graph_edge_count=4, frontier_density_bps=5) + hot),
            ("ring-empty", "a ring of empty slots", asked(queue_len=8) + bytes([0, 3, 0]) +
             bytes(6) + rest[3:]),
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
    for name, recipe, requests in launch_edges():
        for part, first in enumerate(range(0, len(requests), 6)):
            seeds.add("launch", f"{name}-{part}", f"{recipe}, part {part + 1}",
                      b"".join(asked(previous, **changes) + policy_changes(policy) + rest[1:]
                               for previous, policy, changes in requests[first:first + 6]))
    for v in vectors("recommend"):
        seeds.add("launch", v["id"], f"golden vector {v['id']}",
                  request(v["input"]["request"], v["input"]["previous_topology"]) + nothing,
                  kept=False)


def adaptive(seeds):
    diffuse, choose, gradient = range(3)
    half, one, minus, infinite, tiny = 4, 2, 3, 5, 6

    def listed(*values):
        return bytes([len(values), *values])

    def diffused(values, restriction, damping, steps):
        lengths = b"\0" if len(values) == len(restriction) else bytes([3, len(restriction)])
        return (bytes([diffuse]) + listed(*values) + lengths + bytes(restriction) +
                bytes([damping, steps]))

    def stepped(n, matrix, slope, less=0, rate=half):
        return bytes([gradient, n, less, *matrix, *slope, rate])
    for name, recipe, content in [
            ("diffused", "five values, 60 steps", diffused([one, 200, 77, minus, 0],
                                                           [half, 150, 131, 99, one], half, 60)),
            ("at-rest", "values that stay as they are", diffused([0, 1, one], [0, 0, 0], one, 9)),
            ("no-step", "no step", diffused([one, 200], [half, half], half, 0)),
            ("one-step", "one step", diffused([one, 200], [half, 170], 200, 1)),
            ("lengths", "lists of different lengths", diffused([one, 200], [half], half, 3)),
            ("infinite", "values without bound", diffused([infinite, 10, 11, 8],
                                                          [one, 8, half, infinite], infinite, 5)),
            ("chosen", "the third of five is cheapest", bytes([choose]) + counted(9, 8, 7, 6, 5) +
             listed(200, 190, 140, 150, 140) + number(77)),
            ("chosen-zero", "zero is cheapest", bytes([choose]) + counted(9, 8, 7) +
             listed(one, 0, 200) + number(77)),
            ("zeros", "both zeros and both kinds of no number", bytes([choose]) +
             counted(1, 2, 3, 4) + listed(10, 0, 1, 5) + number(9) + bytes([choose]) +
             counted(1, 2, 3, 4) + listed(0, 11, 8, 1) + number(9)),
            ("unpaired", "more costs than candidates, and fewer", bytes([choose]) + counted(4, 5) +
             listed(200, 190, 0) + number(9) + bytes([choose]) + counted(4, 5, 6) + listed(200) +
             number(9) + bytes([choose]) + counted() + listed(one) + number(9)),
            ("negative", "costs below zero", bytes([choose]) + counted(1, 2, 3) +
             listed(100, 20, 60) + number(9)),
            ("gradient", "steps of two and three numbers",
             stepped(2, [one, half, 150, minus], [200, 131]) +
             stepped(3, range(130, 139), [one, 140, 20])),
            ("gradient-rounds", "sums that depend on their order",
             stepped(3, [7, 7, 3, tiny, one, 7, 140, 141, 142], [one, minus, 7], rate=143)),
            ("gradient-sizes", "one number too few or too many, of each",
             stepped(2, [one, half, 150], [200, 131], 1) +
             stepped(2, [one, half, 150, 99], [200, 131, 132], 2) +
             stepped(3, range(130, 138), [200, 131, 132], 1) +
             stepped(2, [one, half, 150, 140], [200], 3) +
             stepped(2, [one, half, 150, 140], [200, 131], 4) +
             stepped(2, [one, half, 150, 140], [200, 131], 5)),
            ("gradient-none", "no numbers, and too many to number",
             stepped(0, [], []) + bytes([gradient, 7]) + number(0xFFFFFFFF) + b"\0" +
             bytes([gradient, 7]) + number(0x10000) + b"\0"),
            *((f"name-{value}", f"names of value {value}", b"") for value in (0, 1, 2, 3, 4, 5, 6))]:
        value = int(name[5:]) if name.startswith("name-") else 9
        seeds.add("adaptive", name, recipe, bytes([value]) + content)

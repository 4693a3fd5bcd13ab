#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What a capture costs a run: capture_cost.py MEGAKERNEL [PAIRS [SECONDS [HZ [OPTION...]]]]

Runs without and with a capture in turns, the order changing from pair to pair, and compares each
pair: slots a second, and slots a CPU second of the whole process, threads of the capture included.
The latter means something on a machine that others use, too.
"""
import json
import os
import statistics
import subprocess
import sys
import tempfile


def once(command, directory):
    out = os.path.join(directory, "out")
    with open(out, "w") as to:
        process = subprocess.Popen(command, stdout=to)
        _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{command} ended with status {status}")
    with open(out) as lines:
        lines = [json.loads(line) for line in lines]
    end = lines[-1]
    captured = next((line for line in lines if line["type"] == "capture"), {})
    cpu = usage.ru_utime + usage.ru_stime
    return end["slots_per_second"], end["account"]["done"] / cpu, captured


def say(name, ratios):
    median = statistics.median(ratios)
    mean = statistics.mean(ratios)
    error = statistics.stdev(ratios) / len(ratios) ** 0.5
    print(f"{name:22} with / without: median {median:.4f}, mean {mean:.4f} +- {error:.4f}")


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    megakernel = sys.argv[1]
    pairs, seconds, rate = (sys.argv[2:5] + ["20", "2", "100"][len(sys.argv[2:5]):])
    plain = [megakernel, "run", "--duration", seconds, "--format", "json", *sys.argv[5:]]
    wall, cpu, frames, dropped = [], [], 0, 0
    with tempfile.TemporaryDirectory() as directory:
        file = os.path.join(directory, "run.mkcap")
        captured = [*plain, "--capture", file, "--capture-rate", rate]
        for pair in range(max(2, int(pairs))):
            order = [plain, captured] if pair % 2 == 0 else [captured, plain]
            results = {len(command): once(command, directory) for command in order}
            without, with_it = results[len(plain)], results[len(captured)]
            wall.append(with_it[0] / without[0])
            cpu.append(with_it[1] / without[1])
            frames += with_it[2]["frames"]
            dropped += with_it[2]["dropped"]
    say("slots a second", wall)
    say("slots a CPU second", cpu)
    print(f"{len(wall)} pairs of {seconds} s; {frames} frames, {dropped} dropped")


main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Makes the seeds of the fuzz targets: out of samples/, out of the golden vectors, and by hand.

    fuzz/seeds.py            writes those that are kept to corpus/
    fuzz/seeds.py --check    says whether those that the recipes list are what this makes

A seed is a name, a recipe that says in words where its bytes come from, and the bytes. What is
written by hand is always kept; of those from golden vectors fuzz/minimise keeps what adds coverage.
seeds_*.py make them; corpus/recipes.txt has the recipe of every input there is.
"""
import pathlib
import sys

import seeds_kernel
import seeds_launch
import seeds_protocol
import seeds_sketch
from seed_input import Seeds

HERE = pathlib.Path(__file__).resolve().parent
CORPUS = HERE / "corpus"
RECIPES = CORPUS / "recipes.txt"
FOUND = "found by the fuzzer"


TARGETS = [
    seeds_protocol.control, seeds_protocol.ring, seeds_protocol.large_ring,
    seeds_protocol.debug_log, seeds_protocol.slots, seeds_protocol.io_queue,
    seeds_protocol.publish, seeds_protocol.encode, seeds_protocol.errors, seeds_protocol.digest,
    seeds_sketch.sketch_bytes, seeds_sketch.sketch, seeds_launch.launch, seeds_launch.adaptive,
    seeds_kernel.health, seeds_kernel.interpreter, seeds_kernel.schedule, seeds_kernel.capture,
    seeds_kernel.runtime,
]


def make():
    seeds = Seeds()
    for target in TARGETS:
        target(seeds)
    return seeds


def recipes():
    """By (target, name) the recipe of every input of the corpora."""
    listed = {}
    for line in RECIPES.read_text().splitlines():
        if line and not line.startswith("#"):
            where, recipe = line.split(": ", 1)
            listed[tuple(where.split("/"))] = recipe
    return listed


def write_recipes(listed):
    lines = ["# Where the inputs of the corpora come from: fuzz/seeds.py and fuzz/minimise write "
             "this."]
    lines += [f"{target}/{name}: {recipe}" for (target, name), recipe in sorted(listed.items())]
    RECIPES.write_text("\n".join(lines) + "\n")


def check(seeds):
    """What is wrong with the corpora, in sentences."""
    listed = recipes()
    there = {(f.parent.name, f.name) for f in CORPUS.glob("*/*")}
    for target, name in sorted(there ^ set(listed)):
        yield f"{target}/{name} is " + ("not listed" if (target, name) in there else "not there")
    for (target, name), recipe in listed.items():
        if recipe.startswith(FOUND) or (target, name) not in there:
            continue
        made = seeds.made.get((target, name))
        if made is None or made[0] != recipe:
            yield f"{target}/{name} is not made any more"
        elif (CORPUS / target / name).read_bytes() != made[1]:
            yield f"{target}/{name} is not what its recipe makes"


def main():
    seeds = make()
    if "--check" in sys.argv:
        wrong = list(check(seeds))
        print(*wrong or ["every seed is as its recipe makes it"], sep="\n")
        return 1 if wrong else 0
    listed = recipes() if RECIPES.exists() else {}
    for (target, name), (recipe, content, kept) in seeds.made.items():
        if not kept and (target, name) not in listed:
            continue
        (CORPUS / target).mkdir(parents=True, exist_ok=True)
        (CORPUS / target / name).write_bytes(content)
        listed[target, name] = recipe
    write_recipes(listed)
    return 0


if __name__ == "__main__":
    sys.exit(main())

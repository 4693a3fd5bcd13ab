#!/usr/bin/env python3
"""Makes the seeds of the fuzz targets: out of samples/, out of the golden vectors, and by hand.

    fuzz/seeds.py            writes those that are kept to corpus/
    fuzz/seeds.py --check    says whether those that the recipes list are what this makes

A seed is a name, a recipe that says in words where its bytes come from, and the bytes. What is
written by hand is always kept; of those from golden vectors fuzz/minimise keeps what adds coverage.
corpus/recipes.txt has the recipe of every input there is. Golden vectors are unpacked by `zstd`.
"""
import functools
import json
import pathlib
import struct
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
CORPUS = HERE / "corpus"
RECIPES = CORPUS / "recipes.txt"
FOUND = "found by the fuzzer"


class Seeds:
    """What is made: by (target, name) a recipe, the bytes, and whether it is always kept."""

    def __init__(self):
        self.made = {}

    def add(self, target, name, recipe, content, kept=True):
        assert (target, name) not in self.made, f"{target}/{name} is made twice"
        self.made[target, name] = (recipe, bytes(content), kept)

    def of(self, target):
        return {name: made for (t, name), made in self.made.items() if t == target}


# What inputs are made of; the counterparts of the reader in fuzz.h.


def words(*values):
    return b"".join(struct.pack("<I", value & 0xFFFFFFFF) for value in values)


def sample(path):
    return (ROOT / "samples" / path).read_bytes()


@functools.cache
def golden():
    packed = ROOT / "tests/golden/vectors.jsonl.zst"
    lines = subprocess.run(["zstd", "-dc", packed], check=True, capture_output=True).stdout
    return [json.loads(line) for line in lines.splitlines()]


def vectors(*kinds):
    return [v for v in golden() if v["kind"] in kinds]


def changed(content, **at):
    """Some bytes with other words: w3=7 sets word 3."""
    out = bytearray(content)
    for key, value in at.items():
        struct.pack_into("<I", out, 4 * int(key[1:]), value & 0xFFFFFFFF)
    return out


# The targets.


def control(seeds):
    for path in ["busy", "dead", "torn", "blocked", "faulted"]:
        seeds.add("control", path, f"samples/{path}/control.bin", sample(f"{path}/control.bin"))
    whole = sample("busy/control.bin")[:640]
    seeds.add("control", "short", "of samples/busy/control.bin the first 636 bytes", whole[:636])
    seeds.add("control", "askew", "of samples/busy/control.bin 641 bytes", whole + b"\0")
    seeds.add("control", "empty", "nothing", b"")
    seeds.add("control", "word", "one word, 7", words(7))
    seeds.add("control", "base", "samples/busy/control.bin, its TENANT_BASE beyond the table",
              changed(whole, w2=0xFFFFFFF0))
    seeds.add("control", "base1", "samples/busy/control.bin with TENANT_BASE 1",
              changed(whole, w2=1))
    for v in vectors("readers", "write_priority_offsets"):
        content = bytes.fromhex(v["input"]["control"])
        if len(content) <= 704:
            seeds.add("control", v["id"], f"golden vector {v['id']}: its control buffer", content,
                      kept=False)


def make():
    seeds = Seeds()
    for part in [control]:
        part(seeds)
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
        print(*wrong or [f"{len(seeds.made)} seeds are as their recipes make them"], sep="\n")
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

# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What seeds are made of: the counterparts of the reader in fuzz.h, samples, golden vectors.

Golden vectors are unpacked by the command `zstd`.
"""
import functools
import json
import pathlib
import struct
import subprocess
import zlib

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Seeds:
    """What is made: by (target, name) a recipe, the bytes, and whether it is always kept."""

    def __init__(self):
        self.made = {}

    def add(self, target, name, recipe, content, kept=True):
        assert (target, name) not in self.made, f"{target}/{name} is made twice"
        self.made[target, name] = (recipe, bytes(content), kept)

    def of(self, target):
        return {name: made for (t, name), made in self.made.items() if t == target}


EDGES = [256, 257, 639, 640, 1000, 1023, 1024, 4096, 10_000, 0xFFEF, 0xFFF0, 0xFFFC, 0xFFFD,
         0xFFFE, 0xFFFF, 0x10000, 0x10001, 1_000_000, 1_048_576, 1_048_577, 0x7FFFFFFF,
         0x80000000, 0x80000001, 0x80000002, 0xFFFFFF5F, 0xFFFFFF60, 0xFFFFFFC0, 0xFFFFFFF8,
         0xFFFFFFFD, 0xFFFFFFFE, 0xFFFFFFFF]


def number(value):
    value &= 0xFFFFFFFF
    first_edge = 255 - len(EDGES)
    if value < first_edge:
        return bytes([value])
    if value in EDGES:
        return bytes([first_edge + EDGES.index(value)])
    return b"\xff" + struct.pack("<I", value)


def numbers(*values):
    return b"".join(map(number, values))


def counted(*values):
    """A list that starts with its length."""
    return bytes([len(values)]) + numbers(*values)


def words(*values):
    return b"".join(struct.pack("<I", value & 0xFFFFFFFF) for value in values)


def words_of(content):
    return [w for (w,) in struct.iter_unpack("<I", content[:len(content) // 4 * 4])]


def changed(content, **at):
    """Some bytes with other words: w3=7 sets word 3."""
    out = bytearray(content)
    for key, value in at.items():
        struct.pack_into("<I", out, 4 * int(key[1:]), value & 0xFFFFFFFF)
    return out


def sealed(content):
    """With the CRC-32 of all of it at its end."""
    return content + struct.pack("<I", zlib.crc32(content))


def sample(path):
    return (ROOT / "samples" / path).read_bytes()


@functools.cache
def golden():
    packed = ROOT / "tests/golden/vectors.jsonl.zst"
    lines = subprocess.run(["zstd", "-dc", packed], check=True, capture_output=True).stdout
    return [json.loads(line) for line in lines.splitlines()]


def vectors(*kinds):
    return [v for v in golden() if v["kind"] in kinds]


def compact(ring, slots):
    """The first words of the first slots, as numbers."""
    out = b""
    for at in range(0, min(len(ring) // 64, slots) * 64, 64):
        out += numbers(*words_of(ring[at:at + 28]))
    return out

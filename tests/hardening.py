#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Checks how a program was built, as its ELF file has it: hardening.py PROGRAM.

Checked calls of libc (_FORTIFY_SOURCE) are not among it: clang 19 leaves them undefined where a
module unit calls a function that another one inlines.
"""
import re
import subprocess
import sys


def read(*arguments):
    return subprocess.run(["readelf", "-W", *arguments, sys.argv[1]], capture_output=True, text=True,
                          check=True).stdout


header, segments = read("--file-header"), read("--segments")
dynamic, symbols = read("--dynamic"), read("--dyn-syms")
stack = re.search(r"GNU_STACK.*?(R\w*)\s+0x\w+$", segments, re.M)
checks = {
    "a position-independent executable": "DYN" in header and re.search(r"FLAGS_1.*PIE", dynamic),
    "relocations read-only after start": "GNU_RELRO" in segments,
    "no lazy binding": re.search(r"BIND_NOW|FLAGS.*NOW", dynamic),
    "no executable stack": stack and "E" not in stack.group(1),
    "no segment that is writable and executable": not re.search(r"LOAD.*RWE", segments),
    "stack protectors": "__stack_chk_fail" in symbols,
    "checked indices of containers": "__glibcxx_assert_fail" in symbols,
}
missing = [what for what, holds in checks.items() if not holds]
for what in missing:
    print(f"{sys.argv[1]}: missing: {what}")
sys.exit(1 if missing else 0)

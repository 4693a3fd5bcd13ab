#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes README's C++ programs as files: readme.py README OUT writes OUT/1.cpp, OUT/2.cpp, ..."""
import pathlib
import re
import sys

text, out = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"), pathlib.Path(sys.argv[2])
out.mkdir(parents=True, exist_ok=True)
programs = re.findall(r"^```cpp\n(.*?)^```$", text, re.M | re.S)
if len(programs) != 3:
    sys.exit(f"{sys.argv[1]}: {len(programs)} C++ programs, and 3 are tested")
for number, program in enumerate(programs, 1):
    path = out / f"{number}.cpp"
    if not path.exists() or path.read_text(encoding="utf-8") != program:
        path.write_text(program, encoding="utf-8")

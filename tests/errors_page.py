#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Checks that docs/errors.md names every error code, with its number and its sentence.

    errors_page.py            says what differs and exits 1 when anything does
    errors_page.py --write    writes the page

The codes come from modules/protocol/error.cppm, the sentences from error.cpp: the page cannot say
anything else than a message does.
"""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = os.path.join(ROOT, "docs/errors.md")

HEAD = """# Errors

A refused call returns a `megakernel::error`: a code, the buffer it is about, and up to three numbers, which `message()` puts into the sentence below. Here `{index}` is where, `{found}` what stood there, `{bound}` the limit it broke, and `{subject}` the name of what was numbered. Codes and their numbers are stable; new ones are appended. The command prints the same sentences and exits with 1.

Every code is provoked by a test, field by field (`props/protocol/error_props.cpp` and the tables beside it, which fail when one is missing), and this page is compared with the library's sources by a test of its own.

| | code | what it says |
|---:|---|---|
"""


def read(path):
    with open(os.path.join(ROOT, path)) as file:
        return file.read()


def codes():
    enum = re.search(r"enum class error_code[^{]*\{(.*?)\};", read("modules/protocol/error.cppm"),
                     re.S).group(1)
    return re.findall(r"^\s*(\w+)", enum, re.M)


def literal(text):
    """Adjacent string literals as one."""
    return "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', text))


def sentences():
    source = read("modules/protocol/error.cpp")
    found = {}
    for name, given, text in re.findall(
            r'case (\w+):\s*return \{\s*"(\w+)",\s*((?:"(?:[^"\\]|\\.)*"\s*)+)\};', source):
        if name != given:
            sys.exit(f"{name} is named {given}")
        found[name] = literal(text)
    # A wait says more where it is known what was waited for.
    ends = re.findall(r'case buffer::(\w+):\s*return ((?:"(?:[^"\\]|\\.)*"\s*)+);',
                      source.split("waited_for")[1].split("describe")[0])
    if len(ends) != 3:
        sys.exit("the sentences of deadline_passed were not found")
    found["deadline_passed"] += " Where it is known what was waited for: " + " Or: ".join(
        literal(text) for _, text in ends)
    return found


def page():
    known = sentences()
    rows = []
    for number, name in enumerate(codes(), 1):
        if name not in known:
            sys.exit(f"{name} has no sentence")
        rows.append(f"| {number} | `{name}` | {known.pop(name)} |\n")
    if known:
        sys.exit(f"sentences of no code: {', '.join(known)}")
    return HEAD + "".join(rows)


def main():
    wanted = page()
    if sys.argv[1:] == ["--write"]:
        with open(PAGE, "w") as file:
            file.write(wanted)
        return
    there = read("docs/errors.md").split("\n")
    for n, (a, b) in enumerate(zip(there, wanted.split("\n")), 1):
        if a != b:
            sys.exit(f"docs/errors.md:{n}: {a!r} should be {b!r}: tests/errors_page.py --write")
    if len(there) != len(wanted.split("\n")):
        sys.exit("docs/errors.md: lines missing or left over: tests/errors_page.py --write")


if __name__ == "__main__":
    main()

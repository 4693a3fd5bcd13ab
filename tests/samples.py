#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Checks that what README.md and docs show of the command is what the command prints.

    samples.py COMMAND            says what differs and exits 1 when anything does
    samples.py COMMAND --write    writes those samples anew; look at what becomes of them

A sample is a fenced block that begins with `$ ` and runs `megakernel`. Its commands run in a copy of
the repository's samples/, each block from the root; what they print, stderr last, is compared to the
letter. `…` on a line of its own stands for one line or more.

A sample below `<!-- sample: varies -->` prints the time, or the machine: only its headings and the
first cells of its rows are compared, numbers aside, and rows that repeat count once.
"""
import argparse
import difflib
import glob
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ELISION = "…"
VARIES = "<!-- sample: varies -->"
BLOCK = re.compile(r"^(?P<before>[^\n]*\n)\n?```(?:console|text)?\n(?P<body>\$ .*?)^```$", re.M | re.S)
# A sample that disturbed once may be disturbed again, but hardly three times.
ATTEMPTS = 3
TIMEOUT = 120


class Unusable(Exception):
    """A sample that this script cannot run, or whose place in the output it cannot find."""


def commands(body):
    """The block's lines as (lines of the command, lines shown of its output)."""
    found = []
    in_command = False
    for line in body.splitlines():
        if line.startswith("$ "):
            found.append(([line], []))
        elif in_command:
            found[-1][0].append(line)
        else:
            found[-1][1].append(line)
            continue
        in_command = line.endswith("\\")
    return found


class Shell:
    """As much of one as samples need: `cd`, `echo $?` and the command."""

    def __init__(self, command, root):
        self.command, self.root, self.directory, self.status = command, root, root, 0

    def run(self, lines):
        text = " ".join(line.removesuffix("\\") for line in lines).removeprefix("$ ")
        words = shlex.split(text)
        if words[0] == "cd" and len(words) == 2:
            self.directory = os.path.join(self.directory, words[1])
            return []
        if text == "echo $?":
            return [str(self.status)]
        if words[0] != "megakernel":
            raise Unusable(f"`{text}` is neither cd, echo $? nor megakernel")
        environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
        done = subprocess.run([self.command, *words[1:]], cwd=self.directory, timeout=TIMEOUT,
                              stdin=subprocess.DEVNULL, capture_output=True, check=False,
                              env={**environment, "LC_ALL": "C.UTF-8", "TERM": "dumb"})
        self.status = done.returncode
        return (done.stdout + done.stderr).decode().splitlines()


def segments(shown):
    """Runs of lines between elisions: n elisions part n + 1 of them."""
    parts = [[]]
    for line in shown:
        if line == ELISION:
            parts.append([])
        else:
            parts[-1].append(line)
    return parts


def fits(shown, printed, elided=r"(?:[^\n]*\n)+?"):
    """Whether the lines are those printed, an elision standing for one or more of them."""
    pattern = elided.join(
        "".join(re.escape(line) + "\n" for line in part) for part in segments(shown))
    return re.fullmatch(pattern, "".join(line + "\n" for line in printed)) is not None


def without_numbers(text):
    return re.sub(r"\d[\d,.]*", "#", text)


def cells(line):
    return [without_numbers(cell) for cell in re.split(r"\s{2,}", line.strip())]


def shape(lines):
    """What of a sample that varies is the same everywhere: headings, and what rows begin with.

    Prose is left out, as it wraps where its numbers make it; so are bars, their legend, and rows
    that begin with a number.
    """
    kept = []
    for line in lines:
        if line == ELISION:
            kept.append(line)
            continue
        row = cells(line)
        if len(row) < 2 or not re.match(r"[A-Za-z]", row[0]) or re.match(r"\w [a-z_]+$", row[0]):
            continue
        heading = not re.search(r"(?<!\w)\d", line)
        key = "  ".join(row) if heading else row[0]
        if not kept or kept[-1] != key:
            kept.append(key)
    return kept


def place(wanted, printed, start, key):
    """Where the line stands, or else the first one of its kind."""
    if wanted in printed[start:]:
        return printed.index(wanted, start)
    for n in range(start, len(printed)):
        if key(printed[n]) == key(wanted):
            return n
    raise Unusable(f"no line like `{wanted}` is printed")


def rewritten(shown, printed):
    """The printed lines, with elisions where the shown ones have them."""
    def key(line):
        row = cells(line)
        return re.sub(r"[█▓▒·?w]+", "", row[0])

    parts = segments(shown)
    if len(parts) == 1:
        return printed
    out, at = [], 0
    for n, part in enumerate(parts):
        if n > 0:
            out.append(ELISION)
        if not part:
            continue
        begin = place(part[0], printed, at, key) if n > 0 else 0
        if n + 1 == len(parts):
            end = len(printed)
        else:
            end = place(part[-1], printed, begin + len(part) - 1 if n == 0 else begin, key) + 1
        out += printed[begin:end]
        at = end
    return out


def run_block(command, body):
    """Of each command its lines, those shown and those printed."""
    with tempfile.TemporaryDirectory() as root:
        shutil.copytree(os.path.join(ROOT, "samples"), os.path.join(root, "samples"))
        shell = Shell(command, root)
        return [(lines, shown, shell.run(lines)) for lines, shown in commands(body)]


def differences(name, shown, printed):
    return "\n".join(difflib.unified_diff(shown, printed, f"{name}, as shown", "as printed",
                                          lineterm="", n=2))


def check(command, name, body, varies):
    """Raises Unusable where the sample is not what is printed."""
    for attempt in range(ATTEMPTS if varies else 1):
        wrong = []
        for _, shown, printed in run_block(command, body):
            if varies:
                shown, printed = shape(shown), shape(printed)
            # Of lines left out a shape may have none.
            if not fits(shown, printed, *([r"(?:[^\n]*\n)*?"] if varies else [])):
                wrong.append(differences(name, shown, printed))
        if not wrong:
            return
    raise Unusable("\n".join(wrong))


def write(command, body):
    lines = []
    for given, shown, printed in run_block(command, body):
        lines += given + rewritten(shown, printed)
    return "".join(line + "\n" for line in lines)


def pages():
    return [os.path.join(ROOT, "README.md"), *sorted(glob.glob(os.path.join(ROOT, "docs/*.md")))]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", help="the built megakernel command")
    parser.add_argument("--write", action="store_true", help="write the samples anew")
    options = parser.parse_args()
    command = os.path.abspath(options.command)
    compared, failed = 0, []
    for page in pages():
        with open(page, encoding="utf-8") as file:
            text = file.read()
        new = text
        for block in BLOCK.finditer(text):
            body = block["body"]
            if "$ megakernel" not in body:
                continue
            name = f"{os.path.relpath(page, ROOT)}:{text.count(chr(10), 0, block.start('body')) + 1}"
            varies = block["before"].strip() == VARIES
            compared += 1
            try:
                check(command, name, body, varies)
                continue
            except (Unusable, OSError, subprocess.TimeoutExpired) as why:
                print(f"{name}: {why}")
            if options.write:
                try:
                    new = new.replace(body, write(command, body))
                    continue
                except Unusable as why:
                    print(f"{name}: {why}; write it by hand")
            failed.append(name)
        if new != text:
            with open(page, "w", encoding="utf-8") as file:
                file.write(new)
    print(f"{compared} samples, {len(failed)} of them not as printed"
          + (": tests/samples.py COMMAND --write" if failed and not options.write else ""))
    sys.exit(1 if failed or not compared else 0)


if __name__ == "__main__":
    main()

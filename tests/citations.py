#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Checks that docs/protocol.md and the sources that cite it lead to each other.

    citations.py            says what differs and exits 1 when anything does
    citations.py --write    writes the page's index

A citation is the page's path, a hash sign and an anchor. The check fails where a citation names an
anchor that the page lacks; where the page has an anchor twice, one that no source under modules/
or kernels/ cites, or a link to one that it lacks; where the index is not that of the page; and
where a file cites a section of an earlier specification by number, or marks an extension its way.
"""
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = "docs/protocol.md"

# Inputs of fuzzers and dumps: any bytes.
DATA = ("fuzz/corpus/", "fuzz/regressions/", "samples/", "tests/golden/")
SOURCES = ("modules/", "kernels/")
NOT_OURS = {".git", ".venv", "build", "node_modules", "__pycache__"}

CITATION = re.compile(r"\bprotocol\.md#([A-Za-z0-9_-]*)")
ANCHOR = re.compile(r'^<a id="([^"]*)"></a>\n(#+) (.*)$', re.M)
ANY_ANCHOR = re.compile(r'<a (?:id|name)="([^"]*)"')
OWN_LINK = re.compile(r"\]\(#([^)]*)\)")
RETIRED = re.compile(r"\bSPEC [0-9]|\[ours\]")
INDEX = re.compile(r"(<!-- index -->\n).*?(<!-- end of index -->)", re.S)


def files():
    """Paths from the root: those that git tracks or would, in a checkout, else all there are."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            cwd=ROOT, capture_output=True, check=False) \
        if os.path.exists(os.path.join(ROOT, ".git")) else None
    if listed is not None and listed.returncode == 0:
        found = listed.stdout.decode().split("\0")[:-1]
    else:
        found = []
        for folder, folders, names in os.walk(ROOT):
            folders[:] = [f for f in folders if f not in NOT_OURS and not f.startswith("build")]
            found += [os.path.relpath(os.path.join(folder, name), ROOT) for name in names]
    return sorted(path for path in found if not path.startswith(DATA))


def text_of(path):
    """The file's text; empty for what is no text, a link or gone."""
    whole = os.path.join(ROOT, path)
    if os.path.islink(whole) or not os.path.isfile(whole):
        return ""
    with open(whole, "rb") as file:
        data = file.read()
    try:
        return "" if b"\0" in data else data.decode()
    except UnicodeDecodeError:
        return ""


def index_of(page):
    """A row a section: its name, and a link to each of its rules."""
    rows = ["| | |\n|---|---|\n"]
    for section in page.split("\n## ")[1:]:
        rules = ANCHOR.findall(section)
        if rules:
            links = ", ".join(f"[{anchor}](#{anchor})" for anchor, _, _ in rules)
            rows.append(f"| {section.splitlines()[0]} | {links} |\n")
    return "".join(rows)


def with_index(page):
    return INDEX.sub(lambda at: at.group(1) + index_of(page) + at.group(2), page)


def main():
    page = text_of(PAGE)
    if sys.argv[1:] == ["--write"]:
        with open(os.path.join(ROOT, PAGE), "w") as file:
            file.write(with_index(page))
        return

    wrong = []
    anchors = [anchor for anchor, _, _ in ANCHOR.findall(page)]
    known = set(anchors)
    if not anchors:
        wrong.append(f"{PAGE}: no anchors were found")
    for anchor in sorted(known):
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", anchor):
            wrong.append(f"{PAGE}: #{anchor} is not in kebab-case")
        if anchors.count(anchor) > 1:
            wrong.append(f"{PAGE}: #{anchor} is there {anchors.count(anchor)} times")
    for anchor in sorted(set(ANY_ANCHOR.findall(page)) - known):
        wrong.append(f"{PAGE}: #{anchor} stands on no line of its own before a heading")
    for anchor in sorted(set(OWN_LINK.findall(page)) - known):
        wrong.append(f"{PAGE}: links to #{anchor}, which it lacks")
    if with_index(page) != page or not INDEX.search(page):
        wrong.append(f"{PAGE}: the index is not that of the page: tests/citations.py --write")

    cited = set()
    for path in files():
        for number, line in enumerate(text_of(path).split("\n"), 1):
            if RETIRED.search(line):
                wrong.append(f"{path}:{number}: cite an anchor of {PAGE}: {line.strip()}")
            for anchor in CITATION.findall(line):
                if path == PAGE or anchor in known:
                    continue
                wrong.append(f"{path}:{number}: {PAGE} has no #{anchor}")
            if path.startswith(SOURCES):
                cited.update(CITATION.findall(line))
    for anchor in sorted(known - cited):
        wrong.append(f"{PAGE}: no source under modules/ or kernels/ cites #{anchor}")
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"{len(anchors)} anchors, each cited")


if __name__ == "__main__":
    main()

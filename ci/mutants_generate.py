#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes a copy of the sources in which every mutant can be chosen at run time.

    mutants_generate.py BUILD TREE

BUILD is a build of this tree, whose compile commands say how each file is read; TREE is the copy.
Each mutant is a change of one expression: a comparison that includes or excludes its bound, a
condition dropped, a word or constant exchanged for its neighbour, an arithmetic or bitwise operator
exchanged, a statement left out. Leaves the list of them in TREE/mutants.json. Uses libclang
(python3-clang-19), which knows where each expression begins and ends.
"""
import json
import os
import re
import subprocess
import sys
from collections import Counter

from clang.cindex import CursorKind as K, Index, TypeKind

SOURCE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDERS = ["modules/protocol", "modules/decoder", "modules/health", "modules/sketch",
           "modules/scaling", "modules/metrics", "modules/testing"]
# What only writes sentences: its own tests read them, and a mutant of a word proves little.
WORDS = ["modules/health/diagnosis_words.cpp", "modules/scaling/explain.cpp"]
HEADERS = ["kernels/megakernel/interpreter.h", "kernels/megakernel/packed_slot.h",
           "kernels/megakernel/sketch_hash.h"]
INCLUDE = "#include <megakernel/mutants_switch.h>\n"

COMPARISONS = {
    "<": ("lt", "<="), "<=": ("le", "<"), ">": ("gt", ">="), ">=": ("ge", ">"),
    "==": ("eq", "!="), "!=": ("ne", "=="),
}
ARITHMETIC = {
    "+": ("add", "-"), "-": ("sub", "+"), "*": ("mul", "+"), "/": ("div", "*"), "%": ("rem", "/"),
    "<<": ("shl", ">>"), ">>": ("shr", "<<"), "&": ("band", "|"), "|": ("bor", "&"),
    "^": ("bxor", "|"),
}
ASSIGNMENTS = {
    "+=": ("add_assign", "-="), "-=": ("sub_assign", "+="), "|=": ("or_assign", "&="),
    "&=": ("and_assign", "|="), "^=": ("xor_assign", "|="),
}
NUMBERS = {
    TypeKind.BOOL, TypeKind.CHAR_U, TypeKind.UCHAR, TypeKind.USHORT, TypeKind.UINT, TypeKind.ULONG,
    TypeKind.ULONGLONG, TypeKind.UINT128, TypeKind.CHAR_S, TypeKind.SCHAR, TypeKind.SHORT,
    TypeKind.INT, TypeKind.LONG, TypeKind.LONGLONG, TypeKind.DOUBLE,
}
INTEGERS = NUMBERS - {TypeKind.DOUBLE, TypeKind.BOOL}
# Evaluated when the program is compiled, or not at all: no run could tell.
CONSTANT = {
    K.STATIC_ASSERT, K.ENUM_DECL, K.ENUM_CONSTANT_DECL, K.FIELD_DECL, K.PARM_DECL,
    K.TEMPLATE_TYPE_PARAMETER, K.TEMPLATE_NON_TYPE_PARAMETER, K.CONCEPT_DECL, K.TYPE_ALIAS_DECL,
    K.TYPE_ALIAS_TEMPLATE_DECL, K.CXX_UNARY_EXPR, K.USING_DECLARATION,
    K.REQUIRES_EXPR, K.CONCEPT_SPECIALIZATION_EXPR,
}
FUNCTIONS = {K.FUNCTION_DECL, K.CXX_METHOD, K.FUNCTION_TEMPLATE, K.CONSTRUCTOR,
             K.CONVERSION_FUNCTION, K.DESTRUCTOR}
DECLARATIONS = FUNCTIONS | {K.VAR_DECL}
REFERENCES = {K.DECL_REF_EXPR, K.MEMBER_REF_EXPR, K.TYPE_REF, K.TEMPLATE_REF, K.OVERLOADED_DECL_REF}


class File:
    """The mutants of one file, as edits of its text."""

    def __init__(self, path, first):
        self.path = path
        self.text = open(os.path.join(SOURCE, path), "rb").read()
        self.edits = []  # (start, end, order, build): build(render) gives what stands there instead
        self.mutants = []
        self.next = first
        self.where = "file"

    def at(self, start, end):
        return self.text[start:end].decode()

    def mutant(self, kind, start, end, to):
        number = self.next
        self.next += 1
        text = re.sub(r"\s+", " ", self.at(start, end))
        line = self.text.count(b"\n", 0, start) + 1
        self.mutants.append(
            {"id": number, "file": self.path, "line": line, "function": self.where, "kind": kind,
             "text": text, "to": to})
        return number

    def edit(self, start, end, build):
        self.edits.append((start, end, len(self.edits), build))

    def rendered(self):
        # Outermost first; of edits of one range, the one made first.
        edits = sorted(self.edits, key=lambda e: (e[0], -e[1], e[2]))

        def render(start, end, after=-1):
            out = []
            at = start
            i = after + 1
            while i < len(edits):
                first, last, _, build = edits[i]
                if first >= at and last <= end:
                    out.append(self.at(at, first))
                    out.append(build(lambda a, b, i=i: render(a, b, i)))
                    at = last
                    while i < len(edits) and edits[i][0] < at:
                        i += 1
                    continue
                i += 1
            out.append(self.at(at, end))
            return "".join(out)

        return render(0, len(self.text))


def span(cursor):
    return cursor.extent.start.offset, cursor.extent.end.offset


def inside(file, cursor):
    start, end = span(cursor)
    place = cursor.extent.start.file
    return end > start and place is not None and place.name.endswith(file.path)


def number_type(cursor):
    return cursor.type.get_canonical().kind


def is_constant_variable(file, cursor):
    start, _ = span(cursor)
    return re.search(r"\bconst(expr|init|eval)\b", file.at(start, cursor.location.offset)) and \
        "constexpr" in file.at(start, cursor.location.offset)


def enumerators(cursor):
    return [c for c in cursor.semantic_parent.get_children() if c.kind == K.ENUM_CONSTANT_DECL]


def constant_reference(file, cursor, start, end):
    """A named constant that stands for a number, or an enumerator, by its neighbour."""
    to = cursor.referenced
    if to is None:
        return
    text = file.at(start, end)
    if not re.fullmatch(r"[\w:]+", text):
        return
    if to.kind == K.ENUM_CONSTANT_DECL:
        all_of_them = enumerators(to)
        names = [c.spelling for c in all_of_them]
        other = names[(names.index(to.spelling) + 1) % len(names)]
        if other == to.spelling:
            return
        swapped = re.sub(r"\w+$", other, text)
        n = file.mutant("constant", start, end, swapped)
        name = f"decltype({text})::{other}"
        file.edit(start, end,
                  lambda r: f"::megakernel_mutants::enumerator({n}, {text}, {name})")
    elif to.kind == K.VAR_DECL and number_type(cursor) in INTEGERS:
        declared = to.extent
        source = declared.start.file
        if source is None:
            return
        with open(source.name, "rb") as whole:
            words = whole.read()[declared.start.offset:declared.end.offset].decode()
        if "constexpr" not in words:
            return
        n = file.mutant("constant", start, end, text + " + 1")
        file.edit(start, end, lambda r: f"::megakernel_mutants::number({n}, {text})")


def binary(file, cursor, start, end):
    left, right = list(cursor.get_children())
    ls, le = span(left)
    rs, re_ = span(right)
    op = re.sub(r"/\*.*?\*/|//[^\n]*", "", file.at(le, rs)).strip()
    if op in COMPARISONS:
        name, other = COMPARISONS[op]
        n = file.mutant("comparison", start, end, other)
        file.edit(start, end, lambda r: f"::megakernel_mutants::{name}({n}, {r(ls, le)}, "
                                        f"{r(rs, re_)})")
    elif op in ("&&", "||"):
        on = "::megakernel_mutants::on"
        first = file.mutant("dropped check", ls, le, f"without it: {op}")
        second = file.mutant("dropped check", rs, re_, f"without it: {op}")
        bang = "" if op == "&&" else "!"
        join = "||" if op == "&&" else "&&"
        file.edit(start, end, lambda r: f"(({bang}{on}({first}) {join} ({r(ls, le)})) {op} "
                                        f"({bang}{on}({second}) {join} ({r(rs, re_)})))")
    elif op in ARITHMETIC and all(number_type(c) in NUMBERS for c in (cursor, left, right)):
        name, other = ARITHMETIC[op]
        n = file.mutant("arithmetic", start, end, other)
        file.edit(start, end, lambda r: f"::megakernel_mutants::{name}({n}, {r(ls, le)}, "
                                        f"{r(rs, re_)})")


def compound_assignment(file, cursor, start, end):
    left, right = list(cursor.get_children())
    ls, le = span(left)
    rs, re_ = span(right)
    op = file.at(le, rs).strip()
    if op not in ASSIGNMENTS or number_type(left) not in INTEGERS:
        return
    name, other = ASSIGNMENTS[op]
    n = file.mutant("arithmetic", start, end, other)
    file.edit(start, end, lambda r: f"::megakernel_mutants::{name}({n}, {r(ls, le)}, "
                                    f"{r(rs, re_)})")


def closing(file, at):
    depth = 0
    for i in range(at, len(file.text)):
        depth += {ord("("): 1, ord(")"): -1}.get(file.text[i], 0)
        if depth == 0:
            return i
    return at


def dropped_if(file, cursor, start):
    head = re.match(r"if\s*(constexpr|consteval)?\s*", file.at(start, start + 40))
    if head is None or head.group(1):
        return
    open_at = start + head.end()
    close_at = closing(file, open_at)
    within = [c for c in cursor.get_children() if span(c)[1] <= close_at]
    declares = r"[^;]*\b(auto|\w+&|\w+\*)\s+\w+\s*=[^=;]*$"
    if not within or re.search(declares, file.at(open_at, close_at)):
        return
    cs, ce = span(within[-1])
    n = file.mutant("dropped check", cs, ce, "false")
    file.edit(cs, ce, lambda r: f"(!::megakernel_mutants::on({n}) && ({r(cs, ce)}))")


def dropped_statement(file, cursor):
    start, end = span(cursor)
    if cursor.kind not in (K.CALL_EXPR, K.BINARY_OPERATOR, K.COMPOUND_ASSIGNMENT_OPERATOR,
                           K.UNARY_OPERATOR):
        return
    if end <= start or file.at(start, end).startswith(("__builtin_prefetch", "static_assert")):
        return
    n = file.mutant("dropped statement", start, end, "nothing")
    file.edit(start, end,
              lambda r: f"(::megakernel_mutants::on({n}) ? (void)0 : (void)({r(start, end)}))")


def literal(file, cursor, start, end):
    text = file.at(start, end)
    if not re.fullmatch(r"[0-9][0-9a-fA-FxX'uUlL]*", text) or number_type(cursor) not in INTEGERS:
        return
    n = file.mutant("constant", start, end, text + " + 1")
    file.edit(start, end, lambda r: f"::megakernel_mutants::number({n}, {text})")


def visit(file, cursor, parent=None):
    for child in cursor.get_children():
        place = child.extent.start.file
        if place is None or not place.name.endswith(file.path):
            continue
        if child.kind in CONSTANT:
            continue
        if child.kind == K.VAR_DECL and is_constant_variable(file, child):
            continue
        start, end = span(child)
        # Template arguments: in the type of a declaration, or in the name of what is called.
        if cursor.kind in REFERENCES:
            continue
        if cursor.kind in DECLARATIONS and end <= cursor.location.offset:
            continue
        if cursor.kind == K.CASE_STMT and child == next(cursor.get_children()):
            continue
        if cursor.kind == K.IF_STMT and child == next(cursor.get_children()) and \
                re.match(r"if\s+constexpr", file.at(cursor.extent.start.offset, start)):
            continue
        if child.kind in FUNCTIONS:
            text = file.at(start, end)
            if "= default" in text[-12:] or "consteval" in text[:40]:
                continue
            file.where = child.spelling
        one(file, child, start, end, cursor)
        visit(file, child, cursor)


def one(file, child, start, end, parent):
    if end <= start:
        return
    if parent.kind == K.COMPOUND_STMT:
        dropped_statement(file, child)
    if child.kind == K.BINARY_OPERATOR and len(list(child.get_children())) == 2:
        binary(file, child, start, end)
    elif child.kind == K.COMPOUND_ASSIGNMENT_OPERATOR:
        compound_assignment(file, child, start, end)
    elif child.kind == K.IF_STMT:
        dropped_if(file, child, start)
    elif child.kind == K.CONDITIONAL_OPERATOR:
        cs, ce = span(next(child.get_children()))
        n = file.mutant("condition", cs, ce, "not so")
        file.edit(cs, ce, lambda r: f"(::megakernel_mutants::on({n}) != static_cast<bool>("
                                    f"{r(cs, ce)}))")
    elif child.kind == K.INTEGER_LITERAL:
        literal(file, child, start, end)
    elif child.kind == K.DECL_REF_EXPR:
        constant_reference(file, child, start, end)


def flags(build):
    out = {}
    for entry in json.load(open(os.path.join(build, "compile_commands.json"))):
        path = os.path.relpath(entry["file"], SOURCE)
        if os.path.dirname(path) not in FOLDERS or path in WORDS:
            continue
        args = []
        for word in entry["command"].split()[1:]:
            if word.startswith("@"):
                lines = open(os.path.join(build, word[1:])).read().split("\n")
                args += [l.replace('"', "") for l in lines if l and "module-output" not in l]
            elif word.startswith(("-I", "-std", "-D", "-O", "-fstack")):
                args.append(word)
        out[path] = [w for a in args for w in a.split()]
    for header in HEADERS:
        out[header] = ["-x", "c++", "-std=gnu++23", "-I" + os.path.join(SOURCE, "kernels")]
    return out


def main():
    build, tree = sys.argv[1:]
    build, tree = os.path.abspath(build), os.path.abspath(tree)
    os.chdir(build)
    resource = subprocess.check_output(["clang++-19", "-print-resource-dir"], text=True).strip()
    everything = []
    number = 1
    for path, args in sorted(flags(build).items()):
        index = Index.create()
        name = os.path.join(SOURCE, path)
        # libclang does not look into what is exported at once: blanks in its place keep all offsets.
        plain = re.sub(r"^export (?!module)", " " * 7, open(name).read(), flags=re.M)
        unit = index.parse(name, args + ["-resource-dir", resource], unsaved_files=[(name, plain)])
        bad = [d for d in unit.diagnostics if d.severity >= 3]
        if bad:
            sys.exit(f"{path}: {bad[0]}")
        file = File(path, number)
        visit(file, unit.cursor)
        text = file.rendered()
        number = file.next
        everything += file.mutants
        lines = text.split("\n")
        at = next(i for i, l in enumerate(lines) if l.startswith(("module;", "#pragma once")) or
                  l.startswith("export module"))
        if lines[at].startswith("export module"):
            continue  # a table of contents
        lines.insert(at + 1, INCLUDE.rstrip())
        target = os.path.join(tree, path)
        text = "\n".join(lines)
        if not os.path.exists(target) or open(target).read() != text:
            open(target, "w").write(text)
    seen = Counter()
    for m in everything:
        key = f"{m['file']} | {m['function']} | {m['kind']} | {m['text']} | {m['to']}"
        seen[key] += 1
        m["key"] = key if seen[key] == 1 else f"{key} | {seen[key]}"
    json.dump(everything, open(os.path.join(tree, "mutants.json"), "w"), indent=1)
    kinds = Counter(m["kind"] for m in everything)
    print(f"{len(everything)} mutants: " + ", ".join(f"{n} {k}" for k, n in kinds.most_common()))


if __name__ == "__main__":
    main()

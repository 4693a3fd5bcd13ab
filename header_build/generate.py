#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes the header build of a tree of C++ modules: headers and sources for compilers and builds
that know no modules.

    generate.py --out DIR [--headers DIR]... TREE...

Every .cppm below a TREE becomes a header named after its module, `a.b:c` as DIR/a/b/c.h and the
module `megakernel` as DIR/megakernel/headers.h; every .cpp and .h becomes a file of the same path
below DIR/TREE's name. An import becomes the #include of that module's header, so a file sees what
it sees as a module and no more. Lines keep their numbers. --headers names folders of hand-written
headers that no generated one may hide. Files that would not change are left alone.

What cannot be said without modules, or would mean something else, is refused with its place; so is
all that this script does not know.
"""
import argparse
import pathlib
import re
import sys

IMPORT = re.compile(r'^(export\s+)?import\s+(?P<name>:?[A-Za-z_][\w.]*(?::[A-Za-z_]\w*)?)\s*;\s*$')
UNIT = re.compile(r'^(?P<export>export\s+)?module\s+(?P<name>[A-Za-z_][\w.]*(?::[A-Za-z_]\w*)?)\s*;\s*$')
DIRECTIVE = re.compile(r'^\s*#\s*(\w+)')
LITERAL = re.compile(
    r'//[^\n]*'
    r'|/\*.*?\*/'
    r'|(?<![\w])(?:u8|u|U|L)?R"(?P<delimiter>[^()\\\s]{0,16})\(.*?\)(?P=delimiter)"'
    r'|"(?:\\.|[^"\\\n])*"'
    r"|(?<![\w])(?:u8|u|U|L)?'(?:\\.|[^'\\\n])+'", re.S)


class Refused(Exception):
    pass


def code_of(text):
    """`text` with its comments and literals blanked, line by line and column by column."""
    def blank(match):
        return re.sub(r'[^\n]', ' ', match.group())
    return LITERAL.sub(blank, text)


class Source:
    """One file: its lines, and what it says of modules."""

    def __init__(self, path, relative):
        self.path = path
        self.relative = relative
        self.interface = path.suffix == '.cppm'
        text = path.read_text(encoding='utf-8')
        self.lines = text.split('\n')
        self.code = code_of(text).split('\n')
        self.module = None       # name, with its partition if it has one
        self.unit_line = None
        self.fragment_line = None
        for number, code in enumerate(self.code):
            if re.match(r'^module\s*;\s*$', code):
                if self.fragment_line is not None:
                    self.refuse(number, 'a second global module fragment')
                self.fragment_line = number
            elif unit := UNIT.match(code):
                if self.module:
                    self.refuse(number, 'a second module declaration')
                self.module, self.unit_line = unit['name'], number
                if unit['export'] and not self.interface:
                    self.refuse(number, 'an interface unit in a file that is not a .cppm')
        if self.interface and not self.module:
            self.refuse(0, 'a .cppm without a module declaration')
        if self.fragment_line is not None and not self.module:
            self.refuse(self.fragment_line, 'a global module fragment without a module')

    def refuse(self, number, why):
        raise Refused(f'{self.path}:{number + 1}: {why}: {self.lines[number].strip()!r}')

    def full_name(self, imported):
        """The module that `imported` names here, where a partition goes without its module."""
        if not imported.startswith(':'):
            return imported
        if not self.module:
            return None
        return self.module.split(':')[0] + imported

    def translated(self, header_of):
        """The file's text as it is without modules. `header_of` maps modules to headers."""
        out = [self.line(number, header_of) for number in range(len(self.lines))]
        if self.interface and self.fragment_line is None:
            out[self.unit_line] = '#pragma once'
        return '\n'.join(out)

    def line(self, number, header_of):
        line, code = self.lines[number], self.code[number]
        body = self.module is None or number > self.unit_line
        if number == self.fragment_line:
            return '#pragma once' if self.interface else ''
        if number == self.unit_line:
            # An implementation unit sees its module's interface.
            return '' if self.interface else self.include(number, self.module, header_of)
        if found := IMPORT.match(code):
            if not body:
                self.refuse(number, 'an import before the module declaration')
            name = self.full_name(found['name'])
            if name is None:
                self.refuse(number, 'a partition imported outside of a module')
            return self.include(number, name, header_of) + line[len(code.rstrip()):]
        if directive := DIRECTIVE.match(code):
            what = directive[1]
            if self.interface and what in ('define', 'undef'):
                self.refuse(number, 'a macro that a header would give to everyone')
            if self.interface and what == 'pragma':
                self.refuse(number, 'a pragma that a header would give to everyone')
            if self.module and body and what == 'include':
                self.refuse(number, 'an #include behind the module declaration')
            return line
        if self.interface:
            if re.match(r'^(inline\s+)?namespace\s*\{', code):
                self.refuse(number, 'an anonymous namespace in an interface')
            if re.match(r'^(export\s+)?(static\s|(constexpr|const)\s[^(]*[={;])', code):
                self.refuse(number, 'an internal name in an interface: say inline')
        exported = re.match(r'^export\s+(?!\{)', code)
        if exported:
            if not self.interface:
                self.refuse(number, 'an export outside of an interface')
            line, code = line[exported.end():], code[exported.end():]
        if unknown := re.search(r'\b(export|import|module)\b', code):
            self.refuse(number, f'{unknown[1]!r} in a place that this script does not know')
        return line

    def include(self, number, name, header_of):
        if name not in header_of:
            self.refuse(number, f'no interface of {name} among the trees')
        return f'#include <{header_of[name]}>'


def header_name(module):
    path = module.replace('.', '/').replace(':', '/')
    return path + ('/headers.h' if '/' not in path else '.h')


def sources_below(tree):
    root = pathlib.Path(tree)
    if not root.is_dir():
        raise Refused(f'{tree}: not a folder')
    found = sorted(p for p in root.rglob('*') if p.suffix in ('.cppm', '.cpp', '.h'))
    if not found:
        raise Refused(f'{tree}: no .cppm, .cpp or .h below it')
    return [Source(p, pathlib.PurePath(root.resolve().name) / p.relative_to(root)) for p in found]


def header_build_of(trees, header_folders):
    """Path below the output -> text, of every file of the trees."""
    sources = [source for tree in trees for source in sources_below(tree)]
    header_of = {}
    for source in sources:
        if not source.interface:
            continue
        if source.module in header_of:
            source.refuse(source.unit_line, 'a module that another file is, too')
        header_of[source.module] = header_name(source.module)
    for header in header_of.values():
        for folder in header_folders:
            if (pathlib.Path(folder) / header).exists():
                raise Refused(f'{folder}/{header}: hides the header made of a module')
    header_build = {}
    for source in sources:
        path = header_of[source.module] if source.interface else str(source.relative)
        if path in header_build:
            source.refuse(0, f'{path} would be written twice')
        header_build[path] = source.translated(header_of)
    return header_build


def write(out, header_build):
    """Writes what has changed, and removes what an earlier call has written that is no more."""
    listing = out / 'generated.txt'
    before = listing.read_text(encoding='utf-8').splitlines() if listing.exists() else []
    for relative in set(before) - header_build.keys():
        (out / relative).unlink(missing_ok=True)
    files = {**header_build, listing.name: ''.join(f'{relative}\n' for relative in sorted(header_build))}
    for relative, text in files.items():
        path = out / relative
        if path.exists() and path.read_text(encoding='utf-8') == text:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding='utf-8')


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--out', required=True)
    parser.add_argument('--headers', action='append', default=[])
    parser.add_argument('trees', nargs='+', metavar='TREE')
    options = parser.parse_args()
    try:
        write(pathlib.Path(options.out), header_build_of(options.trees, options.headers))
    except (Refused, OSError, UnicodeDecodeError) as why:
        print(f'{parser.prog}: {why}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())

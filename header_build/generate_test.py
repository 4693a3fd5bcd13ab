#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What generate.py makes of the modules, and that it refuses what it cannot say."""
import pathlib
import subprocess
import sys
import tempfile
import unittest

import generate

SCRIPT = pathlib.Path(generate.__file__)
UNIT = 'module;\n#include <span>\nexport module m:a;\nimport :b;\n\n'
OTHER = 'export module m:b;\n'
UMBRELLA = 'export module m;\nexport import :a;  // first\nexport import :b;\n'


class HeaderBuild(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        self.tree = self.root / 'tree'
        self.out = self.root / 'out'
        self.write('m.cppm', UMBRELLA)
        self.write('a.cppm', UNIT)
        self.write('b.cppm', OTHER)

    def write(self, name, text):
        path = self.tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding='utf-8')

    def generate(self, *more):
        return subprocess.run(
            [sys.executable, SCRIPT, '--out', self.out, *more, self.tree],
            capture_output=True, text=True, check=False)

    def made(self, name):
        run = self.generate()
        self.assertEqual(run.returncode, 0, run.stderr)
        return (self.out / name).read_text(encoding='utf-8').split('\n')

    def refused(self, why, name, text):
        self.write(name, text)
        run = self.generate()
        self.assertEqual(run.returncode, 1)
        self.assertIn(why, run.stderr)
        self.assertFalse((self.out / 'm').exists(), 'nothing is written when something is refused')

    def refused_in_interface(self, why, line):
        self.refused(why, 'a.cppm', UNIT + line + '\n')

    def test_an_interface_becomes_a_header(self):
        self.write('a.cppm', UNIT + 'export namespace m {\nint f();\n}\nexport template <>\nint v<1>;\n')
        self.assertEqual(self.made('m/a.h'), [
            '#pragma once', '#include <span>', '', '#include <m/b.h>', '', 'namespace m {',
            'int f();', '}', 'template <>', 'int v<1>;', ''])

    def test_an_umbrella_has_no_fragment(self):
        self.assertEqual(self.made('m/headers.h'), [
            '#pragma once', '#include <m/a.h>  // first', '#include <m/b.h>', ''])

    def test_a_header_is_named_after_its_module(self):
        self.write('c.cppm', 'export module m.n;\nimport m;\n')
        self.write('d.cppm', 'module m.n:d;\n')
        self.assertEqual(self.made('m/n.h'), ['#pragma once', '#include <m/headers.h>', ''])
        self.assertEqual(self.made('m/n/d.h'), ['#pragma once', ''])

    def test_an_implementation_sees_its_interface(self):
        self.write('deep/a.cpp', 'module;\n#include <span>\nmodule m;\nimport :b;\nint m::f() {}\n')
        self.assertEqual(self.made('tree/deep/a.cpp'), [
            '', '#include <span>', '#include <m/headers.h>', '#include <m/b.h>', 'int m::f() {}', ''])

    def test_a_program_includes_what_it_imports(self):
        self.write('main.cpp', '#include <span>\nimport m;\nint main() {}\n')
        self.assertEqual(self.made('tree/main.cpp')[1], '#include <m/headers.h>')

    def test_comments_and_literals_stay(self):
        body = ['// export import module', '/* export', 'import x; */ int i = 1\'000\'000;',
                'auto s = "export \\" import";', 'auto r = R"(', 'export import module', ')";',
                "char c = '\"', d = '\\'';  // import"]
        self.write('a.cppm', UNIT + '\n'.join(body))
        self.assertEqual(self.made('m/a.h')[5:], body)

    def test_what_was_made_before_goes_with_its_source(self):
        self.write('c.cppm', 'export module m:c;\n')
        self.made('m/c.h')
        (self.tree / 'c.cppm').unlink()
        mine = self.out / 'mine.h'
        mine.write_text('')
        self.made('m/a.h')
        self.assertFalse((self.out / 'm/c.h').exists())
        self.assertTrue(mine.exists())

    def test_what_has_not_changed_is_left_alone(self):
        self.made('m/a.h')
        before = (self.out / 'm/a.h').stat().st_mtime_ns
        self.write('b.cppm', OTHER + 'int i;\n')
        self.assertEqual(self.made('m/b.h')[1], 'int i;')
        self.assertEqual((self.out / 'm/a.h').stat().st_mtime_ns, before)

    def test_refusals_of_an_interface(self):
        self.refused_in_interface('an anonymous namespace', 'namespace {')
        self.refused_in_interface('internal name', 'static int f() { return 1; }')
        self.refused_in_interface('internal name', 'constexpr int i = 1;')
        self.refused_in_interface('internal name', 'export const int i = 1;')
        self.refused_in_interface('a macro', '#define X')
        self.refused_in_interface('a pragma', '#pragma clang fp contract(off)')
        self.refused_in_interface('an #include behind', '#include <array>')
        self.refused_in_interface("'module'", 'module :private;')
        self.refused_in_interface("'export'", 'export {')
        self.refused_in_interface("'export'", 'namespace m { export int i; }')
        self.refused_in_interface("'import'", 'import <span>;')
        self.refused_in_interface('no interface of n', 'import n;')
        self.refused_in_interface('no interface of m:c', 'import :c;')
        self.refused_in_interface('a second module declaration', 'export module m:c;')

    def test_refusals_of_a_macro_before_the_declaration(self):
        self.refused('a macro', 'a.cppm', 'module;\n#define X\nexport module m:a;\n')

    def test_refusals_of_other_files(self):
        self.refused('an export outside', 'a.cpp', 'module m;\nexport int i;\n')
        self.refused('not a .cppm', 'a.cpp', 'export module m.x;\n')
        self.refused('a partition imported outside', 'a.cpp', 'import :a;\n')
        self.refused("'import'", 'a.cpp', 'int i; import m;\n')

    def test_refusals_of_trees(self):
        self.refused('another file is, too', 'c.cppm', OTHER)
        self.refused('without a module', 'c.cppm', 'int i;\n')

    def test_a_header_that_would_be_hidden(self):
        headers = self.root / 'headers'
        (headers / 'm').mkdir(parents=True)
        (headers / 'm/a.h').write_text('')
        run = self.generate('--headers', headers)
        self.assertEqual(run.returncode, 1)
        self.assertIn('m/a.h: hides', run.stderr)

    def test_a_folder_that_is_not_there(self):
        (self.root / 'tree').rename(self.root / 'gone')
        run = self.generate()
        self.assertEqual((run.returncode, run.stderr.count('not a folder')), (1, 1))


if __name__ == '__main__':
    unittest.main()

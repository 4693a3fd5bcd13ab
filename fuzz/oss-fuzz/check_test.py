#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""That fuzz/oss-fuzz/check refuses what the images would refuse, on small targets made for it."""
import importlib.machinery
import importlib.util
import pathlib
import subprocess
import tempfile
import types
import unittest
import zipfile

HERE = pathlib.Path(__file__).resolve().parent
loader = importlib.machinery.SourceFileLoader("check", str(HERE / "check"))
check = importlib.util.module_from_spec(importlib.util.spec_from_loader("check", loader))
loader.exec_module(check)

# Branches and accesses enough to count as instrumented.
BODY = """
#include <stdint.h>
#include <stdlib.h>
#include <zlib.h>
int counts[256];
int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  for (size_t i = 0; i < size; ++i) {
    switch (data[i]) {
%s
    }
  }
  %s
  return 0;
}
"""


def body(cases, more=""):
    lines = (f"case {i}: counts[{i}] += data[i / 2] * (int)size; counts[data[i]] -= counts[{i}] / 3;"
             f" counts[data[i / 3]] ^= counts[data[i / 4]] + {i}; break;" for i in range(cases))
    return BODY % ("\n".join(lines), more)


class Refusals(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.seeds({"seed": b"a seed"})
        (self.folder / "t_fuzz.options").write_text("[libfuzzer]\nmax_len = 64\n")

    def seeds(self, files):
        with zipfile.ZipFile(self.folder / "t_fuzz_seed_corpus.zip", "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)

    def refusals(self, source, flags="-fsanitize=address -fsanitize=fuzzer", sanitizer="address"):
        """What is wrong with the target `source`."""
        subprocess.run(["clang-19", "-O1", *flags.split(), "-x", "c", "-", "-o",
                        self.folder / "t_fuzz"], input=source, text=True, check=True)
        given = types.SimpleNamespace(engine="libfuzzer", runs=2000)
        target = check.Target("t_fuzz", self.folder, sanitizer, given)
        self.assertEqual(target.check(), not target.wrong)
        return target.wrong

    def refused(self, why, source, **more):
        wrong = self.refusals(source, **more)
        self.assertTrue(any(why in w for w in wrong), wrong)

    def test_a_good_one(self):
        self.assertEqual(self.refusals(body(256)), [])

    def test_few_edges(self):
        calls = "".join(f"counts[data[{i} % size]] += counts[data[{i}] & size];" for i in range(600))
        self.refused("edges, fewer than 100", body(4, f"if (size > 600) {{ {calls} }}"))

    def test_no_sanitizer(self):
        self.refused("not built with address", body(256), flags="-fsanitize=fuzzer")

    def test_another_sanitizer(self):
        self.refused("is built with address, too", body(256), sanitizer="undefined")

    def test_no_fuzz_target(self):
        self.refused("no ELF file with a fuzz target", "int main() { return 0; }",
                     flags="-fsanitize=address")

    def test_it_does_not_start(self):
        self.refused("does not start", body(256, "if (size == 0) abort();"))

    def test_a_seed_that_crashes(self):
        self.refused("take its seeds", body(256, "if (size > 3 && data[2] == 's') abort();"))

    def test_a_crash_after_a_while(self):
        self.refused("survive 2,000 runs", body(256, "if (size == 3) abort();"))

    def test_a_step_too_far(self):
        self.refused("survive 2,000 runs", body(256, "if (size == 3) counts[0] += data[size];"))

    def test_no_seeds(self):
        self.seeds({})
        self.refused("has no seed", body(256))

    def test_no_options(self):
        (self.folder / "t_fuzz.options").unlink()
        self.refused("has no t_fuzz.options", body(256))

    def test_a_library_that_is_not_there(self):
        self.refused("needs libz.so.1", body(256, "counts[1] = (int)crc32(0, data, (uInt)size);"),
                     flags="-fsanitize=address -fsanitize=fuzzer -lz -Wl,--no-as-needed")


if __name__ == "__main__":
    unittest.main()

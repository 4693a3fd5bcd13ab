#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# The same build as in OSS-Fuzz.
exec bash -eu "$SRC/megakernel/fuzz/oss-fuzz/build.sh"

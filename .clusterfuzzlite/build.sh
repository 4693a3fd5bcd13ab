#!/bin/bash
# The same build as in OSS-Fuzz.
exec bash -eu "$SRC/megakernel/fuzz/oss-fuzz/build.sh"

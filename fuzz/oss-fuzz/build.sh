#!/bin/bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Builds the fuzz targets as OSS-Fuzz and ClusterFuzzLite ask for: with $CC, $CXX and their flags,
# linked with $LIB_FUZZING_ENGINE, into $OUT, each as NAME_fuzz with NAME_fuzz_seed_corpus.zip,
# NAME_fuzz.options and, where there is one, NAME_fuzz.dict. Sources are $SRC/megakernel and, where
# they are there, $SRC/zlib, $SRC/zstd and $SRC/fmt; the flags say which sanitizer it is, and nothing
# here does.
set -euo pipefail

megakernel=$SRC/megakernel
build=$WORK/megakernel
jobs=$(nproc)

# What the targets link with is static, and instrumented as they are where its sources are there.
# Of fmt it is only headers.
libraries=()
source_of() { rm -rf "${WORK:?}/$1" && cp -r "$SRC/$1" "$WORK/$1"; }
if [[ -d $SRC/zlib ]]; then
  source_of zlib
  (cd "$WORK/zlib" && ./configure --static && make -j"$jobs" libz.a)
  libraries+=(-DZLIB_LIBRARY="$WORK/zlib/libz.a" -DZLIB_INCLUDE_DIR="$WORK/zlib")
else
  libraries+=(-DZLIB_LIBRARY="$($CC -print-file-name=libz.a)")
fi
if [[ -d $SRC/zstd ]]; then
  source_of zstd
  make -C "$WORK/zstd/lib" -j"$jobs" libzstd.a
  libraries+=(-DMEGAKERNEL_ZSTD_LIBRARY="$WORK/zstd/lib/libzstd.a"
    -DMEGAKERNEL_ZSTD_INCLUDE="$WORK/zstd/lib")
else
  libraries+=(-DMEGAKERNEL_ZSTD_LIBRARY="$($CC -print-file-name=libzstd.a)")
fi
[[ ! -d $SRC/fmt ]] || libraries+=(-DMEGAKERNEL_FMT_INCLUDE="$SRC/fmt/include")

# The images have neither a module scanner nor a generator that could use one: the header build.
# Without a build type the flags are those of the environment and no more.
cmake -S "$megakernel" -B "$build" -G "Unix Makefiles" -DCMAKE_BUILD_TYPE= \
  -DMEGAKERNEL_HEADER_BUILD=ON -DMEGAKERNEL_FUZZ=ON \
  -DMEGAKERNEL_FUZZING_ENGINE="$LIB_FUZZING_ENGINE" "${libraries[@]}"
cmake --build "$build" --target fuzzers -j "$jobs"

while read -r name _; do
  target=${name}_fuzz
  cp "$build/header_build/fuzz/$target" "$OUT/"
  (
    cd "$megakernel/fuzz"
    inputs=("corpus/$name")
    [[ -d corpus/$name ]] || { echo "$target has no corpus/$name" >&2 && exit 1; }
    [[ ! -d regressions/$name ]] || inputs+=("regressions/$name")
    python3 -m zipfile -c "$OUT/${target}_seed_corpus.zip" "${inputs[@]}"
    for kind in options dict; do
      [[ ! -f $name.$kind ]] || cp "$name.$kind" "$OUT/$target.$kind"
    done
  )
done < <(grep '^[a-z]' "$megakernel/fuzz/targets.txt")

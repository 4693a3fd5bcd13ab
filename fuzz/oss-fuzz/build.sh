#!/bin/bash
# Builds the fuzz targets as OSS-Fuzz and ClusterFuzzLite ask for: with $CC, $CXX and their flags,
# linked with $LIB_FUZZING_ENGINE, into $OUT, each as NAME_fuzz with NAME_fuzz_seed_corpus.zip,
# NAME_fuzz.options and, where there is one, NAME_fuzz.dict. Sources are $SRC/megakernel and, where
# it is there, $SRC/zlib; the flags say which sanitizer it is, and nothing here does.
set -euo pipefail

megakernel=$SRC/megakernel
build=$WORK/megakernel
jobs=$(nproc)

# Checksums are what zlib is for. Of its sources it is as instrumented as everything else.
if [[ -d $SRC/zlib ]]; then
  rm -rf "$WORK/zlib"
  cp -r "$SRC/zlib" "$WORK/zlib"
  (cd "$WORK/zlib" && ./configure --static && make -j"$jobs" libz.a)
  zlib=(-DZLIB_LIBRARY="$WORK/zlib/libz.a" -DZLIB_INCLUDE_DIR="$WORK/zlib")
else
  zlib=(-DZLIB_USE_STATIC_LIBS=ON)
fi

# The images have neither a module scanner nor a generator that could use one: the textual twin.
# Without a build type the flags are those of the environment and no more.
cmake -S "$megakernel" -B "$build" -G "Unix Makefiles" -DCMAKE_BUILD_TYPE= \
  -DMEGAKERNEL_TEXTUAL=ON -DMEGAKERNEL_FUZZ=ON \
  -DMEGAKERNEL_FUZZING_ENGINE="$LIB_FUZZING_ENGINE" "${zlib[@]}"
cmake --build "$build" --target fuzzers -j "$jobs"

while read -r name _; do
  target=${name}_fuzz
  cp "$build/textual/fuzz/$target" "$OUT/"
  (
    cd "$megakernel/fuzz"
    inputs=("corpus/$name")
    [[ -d $inputs ]] || { echo "$target has no corpus/$name" >&2 && exit 1; }
    [[ ! -d regressions/$name ]] || inputs+=("regressions/$name")
    python3 -m zipfile -c "$OUT/${target}_seed_corpus.zip" "${inputs[@]}"
    for kind in options dict; do
      [[ ! -f $name.$kind ]] || cp "$name.$kind" "$OUT/$target.$kind"
    done
  )
done < <(grep '^[a-z]' "$megakernel/fuzz/targets.txt")

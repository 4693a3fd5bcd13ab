# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Sourced by the scripts that test the command, with their arguments MEGAKERNEL SAMPLES CASE.
#
# A case is a function named case_*. `expect STATUS [PATTERN] -- COMMAND...` runs a command and
# compares its exit status; with status 1 or 2 stdout is empty and stderr has PATTERN.
set -u
self=$0
cases() { sed -n 's/^case_\([a-z0-9_]*\)() .*/\1/p' "$self"; }
if [ $# -lt 3 ]; then cases; exit 0; fi

megakernel=$1
samples=$2
name=$3
# A sanitizer's report must not look like one of our exit statuses.
export ASAN_OPTIONS=exitcode=99:detect_leaks=1 UBSAN_OPTIONS=exitcode=99
unset NO_COLOR
work=$(mktemp -d) || exit 99
trap 'rm -rf "$work"' EXIT

fail() {
  echo "FAILED: $*"
  echo "--- stdout"; head -c 2000 "$work/out"
  echo "--- stderr"; head -c 4000 "$work/err"
  exit 1
}

expect() {
  local status=$1 pattern=
  shift
  if [ "$1" != -- ]; then pattern=$1; shift; fi
  shift
  local got=0
  timeout 60 "$@" >"$work/out" 2>"$work/err" </dev/null || got=$?
  [ "$got" = "$status" ] || fail "status $got instead of $status: $*"
  said "$status" "$pattern"
}

# What stands on stdout and stderr fits the status.
said() {
  case $1 in
    0 | 3) [ ! -s "$work/err" ] || fail "something on stderr" ;;
    1)
      [ ! -s "$work/out" ] || fail "something on stdout"
      [ "$(wc -l <"$work/err")" = 1 ] || fail "stderr is not one line"
      grep -q '^megakernel: ' "$work/err" || fail "stderr does not start with our name"
      ;;
  esac
  if [ -n "$2" ]; then grep -qE -- "$2" "$work/err" || fail "stderr lacks: $2"; fi
}

shown() { grep -qE -- "$1" "$work/out" || fail "stdout lacks: $1"; }

# Runs the case that was asked for; the last line of a script.
run_case() {
  declare -F "case_$name" >/dev/null || { echo "no case $name"; exit 99; }
  "case_$name"
}

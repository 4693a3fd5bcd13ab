#!/usr/bin/env bash
# One test of the command: run.sh MEGAKERNEL SAMPLES CASE. Without CASE it lists the cases.
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

# The options that name a sample's files.
files() {
  local at=$samples/$1 kind
  for kind in control ring debug-log io-queue previous-control previous-ring; do
    [ -f "$at/$kind.bin" ] && printf -- '--%s\n%s\n' "$kind" "$at/$kind.bin"
  done
}

inspect_sample() {
  local -a given
  mapfile -t given < <(files "$1")
  shift
  command=("$megakernel" inspect "${given[@]}" --window-opcode 42 --window-opcode 0x4d "$@")
}

# sample NAME STATUS SENTENCE: all three formats.
sample() {
  inspect_sample "$1"
  expect "$2" -- "${command[@]}"
  shown "$3"
  [ "$(LC_ALL=C.UTF-8 wc -L <"$work/out")" -le 100 ] || fail "a line is over 100 columns"
  if LC_ALL=C grep -q $'[\001-\011\013-\037]' "$work/out"; then fail "a control character"; fi
  inspect_sample "$1" --format csv
  expect "$2" -- "${command[@]}"
  local slots=$(($(stat -c %s "$samples/$1/ring.bin") / 64))
  [ "$(wc -l <"$work/out")" = $((slots + 1)) ] || fail "a CSV row a slot"
  [ "$(awk -F, 'NF != 10' "$work/out" | wc -l)" = 0 ] || fail "ten CSV columns"
  inspect_sample "$1" --format json --slots
  expect "$2" -- "${command[@]}"
  shown '"schema": "megakernel.inspect"'
  if command -v python3 >"$work/python"; then
    python3 -m json.tool "$work/out" >"$work/json" 2>"$work/err" || fail "not JSON"
  fi
}

bad_ring() { # bad_ring FILE PATTERN [OPTION...]: the ring FILE cannot be used
  local file=$1 pattern=$2
  shift 2
  expect 1 "$pattern" -- "$megakernel" inspect --control "$samples/idle/control.bin" \
    --ring "$file" "$@"
}

case_idle() { sample idle 0 '^idle: nothing is owed$'; }
case_busy() { sample busy 0 '^busy: 96 slots are owed$'; }
case_progressing() { sample progressing 0 '^progressing: 34 slots were drained'; }
case_stalled() { sample stalled 3 '^stalled: 41 slots are owed and none was drained'; }
case_dead() { sample dead 3 '^dead: the kernel.s heartbeat stood still'; }
case_stopped() { sample stopped 0 '^stopped: the kernel left'; }
case_blocked() { sample blocked 3 '12 for a mask \(not authorised\), 4 for quota'; }
case_faulted() { sample faulted 3 '^faulted: 9 slots are in fault'; }
case_torn() { sample torn 0 '5 slots have no known status'; }
case_truncated() {
  inspect_sample truncated
  expect 1 'truncated/ring.bin: The ring has 2644 bytes' -- "${command[@]}"
}
case_help() {
  expect 0 -- "$megakernel" --help
  shown inspect
  expect 0 -- "$megakernel" inspect --help
  shown Examples:
}
case_version() { expect 0 -- "$megakernel" --version; shown '^megakernel [0-9]'; }
case_usage() {
  local control=$samples/idle/control.bin ring=$samples/idle/ring.bin
  expect 2 -- "$megakernel"
  expect 2 -- "$megakernel" dissect
  expect 2 'required' -- "$megakernel" inspect --control "$control"
  local -a both=("$megakernel" inspect --control "$control" --ring "$ring")
  expect 2 'previous-ring' -- "${both[@]}" --previous-control "$control"
  expect 2 'previous-control' -- "${both[@]}" --previous-ring "$ring"
  expect 2 'opcode is a number' -- "${both[@]}" --window-opcode STORE
  expect 2 'opcode is a number' -- "${both[@]}" --window-opcode 4294967296
  expect 2 'opcode is a number' -- "${both[@]}" --window-opcode -1
  expect 2 -- "${both[@]}" --format xml
  expect 2 -- "${both[@]}" --top 0
  expect 2 -- "${both[@]}" --timeout -1
  expect 2 -- "${both[@]}" --timeout nan
  expect 2 -- "${both[@]}" --max-bytes -1
  expect 2 -- "${both[@]}" --max-bytes 99999999999999999999
  expect 2 -- "${both[@]}" --max-bytes many
  expect 2 'json' -- "${both[@]}" --slots
  expect 2 'Only one' -- "$megakernel" inspect --control - --ring -
  expect 2 'empty' -- "$megakernel" inspect --control "" --ring "$ring"
  expect 2 -- "${both[@]}" leftover
}
case_directory() { bad_ring "$work" "$work: It is a directory"; }
case_missing() { bad_ring "$work/none" 'none: It cannot be opened: No such file'; }
case_unreadable() {
  [ "$(id -u)" != 0 ] || exit 77
  install -m 000 /dev/null "$work/closed"
  bad_ring "$work/closed" 'closed: It cannot be opened: Permission denied'
}
case_odd_name() { bad_ring "$work/"$'\e[2Jx' 'x1b\[2Jx: It cannot be opened'; }
case_fifo_without_writer() {
  mkfifo "$work/fifo"
  bad_ring "$work/fifo" 'fifo: Nothing came from it within 0.3 s' --timeout 0.3
}
case_fifo_writer_leaves() {
  mkfifo "$work/fifo"
  { exec 9>"$work/fifo"; exec 9>&-; } &
  expect 1 'fifo: The control buffer has 0 bytes' -- "$megakernel" inspect \
    --control "$work/fifo" --ring "$samples/idle/ring.bin" --timeout 20
  wait
}
case_slow_pipe() {
  mkfifo "$work/fifo"
  { head -c 6400 /dev/zero; exec sleep 30; } >"$work/fifo" &
  local writer=$!
  bad_ring "$work/fifo" 'fifo: It did not end within 0.5 s; 6,400 bytes came' --timeout 0.5
  kill "$writer"
}
case_pieces() { # a pipe in pieces gives what the file gives
  local -a from=("$megakernel" inspect --control "$samples/busy/control.bin")
  expect 0 -- "${from[@]}" --ring "$samples/busy/ring.bin"
  mv "$work/out" "$work/whole"
  mkfifo "$work/fifo"
  { head -c 1000 "$samples/busy/ring.bin"; sleep 0.2; tail -c +1001 "$samples/busy/ring.bin"; } \
    >"$work/fifo" &
  expect 0 -- "${from[@]}" --ring "$work/fifo"
  wait
  cmp "$work/out" "$work/whole" || fail "a pipe differs from a file"
}
case_standard_input() {
  local got=0
  cat "$samples/faulted/ring.bin" | "$megakernel" inspect --ring - \
    --control "$samples/faulted/control.bin" >"$work/out" 2>"$work/err" || got=$?
  [ "$got" = 3 ] || fail "status $got"
  got=0
  "$megakernel" inspect --control "$samples/idle/control.bin" --ring - <&- \
    >"$work/out" 2>"$work/err" || got=$?
  [ "$got" = 1 ] || fail "status $got for a closed standard input"
  said 1 'standard input: It cannot be'
}
case_endless() {
  bad_ring /dev/zero 'It does not end within the bound of 3 MiB .*--max-bytes' --max-bytes 3M
}
case_endless_default() {
  expect 1 'zero: It does not end within the bound of 64 MiB' -- "$megakernel" inspect \
    --control /dev/zero --ring "$samples/idle/ring.bin"
}
case_sparse() {
  truncate -s 4T "$work/sparse" || exit 77
  bad_ring "$work/sparse" 'It has 4 TiB, over the bound of 1 GiB .*--max-bytes'
}
case_bound_is_inclusive() {
  local size
  size=$(stat -c %s "$samples/idle/ring.bin")
  expect 0 -- "$megakernel" inspect --control "$samples/idle/control.bin" \
    --ring "$samples/idle/ring.bin" --max-bytes "$size"
  bad_ring "$samples/idle/ring.bin" 'over the bound' --max-bytes $((size - 1))
}
case_grows_while_read() { # its size is said to be 0
  [ -r /proc/version ] || exit 77
  expect 1 'version: The control buffer has [1-9][0-9]* bytes but needs' -- "$megakernel" \
    inspect --control /proc/version --ring "$samples/idle/ring.bin"
}
case_empty_control() {
  expect 1 'null: The control buffer has 0 bytes but needs' -- "$megakernel" inspect \
    --control /dev/null --ring "$samples/idle/ring.bin"
}
case_empty_ring() {
  expect 0 -- "$megakernel" inspect --control "$samples/idle/control.bin" --ring /dev/null
  shown '^idle: nothing is owed'
}
case_misaligned() {
  { cat "$samples/idle/control.bin"; printf x; } >"$work/control"
  expect 1 'control: The control buffer has 705 bytes, which is not' -- "$megakernel" inspect \
    --control "$work/control" --ring "$samples/idle/ring.bin"
  head -c 65 /dev/zero >"$work/ring"
  bad_ring "$work/ring" 'ring: The ring has 65 bytes'
  head -c 33 /dev/zero >"$work/queue"
  bad_ring "$samples/idle/ring.bin" 'queue: The IO queue has 33 bytes' --io-queue "$work/queue"
}
damaged() { # any status of the table, no crash, no control character, at most 100 columns
  local -a from=("$megakernel" inspect --control "$1" --ring "$2" --previous-control "$1"
    --previous-ring "$2" --debug-log "$2" --io-queue "$work/queue" --window-opcode 0xffffffff)
  head -c 2048 "$2" >"$work/queue"
  local format
  for format in table csv json; do
    expect 0 -- "${from[@]}" --format $format
  done
  expect 0 -- "${from[@]}"
  if LC_ALL=C grep -q $'[\001-\011\013-\037]' "$work/out"; then fail "a control character"; fi
  [ "$(LC_ALL=C.UTF-8 wc -L <"$work/out")" -le 100 ] || fail "a line is over 100 columns"
}
case_all_ones() {
  head -c 6400 /dev/zero | tr '\0' '\377' >"$work/ones"
  damaged "$work/ones" "$work/ones"
  shown '100 slots have no known status'
}
case_random() {
  seq 1 60000 | gzip -n | head -c 65536 >"$work/random"
  damaged "$work/random" "$work/random"
  shown '1,024 slots have no known status'
}
case_wrong_order() {
  local a=$samples/progressing
  expect 1 'previous-control.bin: The done count fell' -- "$megakernel" inspect \
    --control "$a/previous-control.bin" --ring "$a/previous-ring.bin" \
    --previous-control "$a/control.bin" --previous-ring "$a/ring.bin"
}
case_other_ring() {
  expect 1 'idle/ring.bin: The ring has 64 slots, but the one watched so far had 256' -- \
    "$megakernel" inspect --control "$samples/idle/control.bin" \
    --ring "$samples/idle/ring.bin" --previous-control "$samples/busy/control.bin" \
    --previous-ring "$samples/busy/ring.bin"
}
case_previous_refused() {
  expect 1 'truncated/ring.bin: The ring has 2644' -- "$megakernel" inspect \
    --control "$samples/idle/control.bin" --ring "$samples/idle/ring.bin" \
    --previous-control "$samples/idle/control.bin" --previous-ring "$samples/truncated/ring.bin"
}
unwritable() { # unwritable PATTERN COMMAND...: its stdout is "$sink"
  local pattern=$1 got=0
  shift
  : >"$work/out"
  "$@" >"$sink" 2>"$work/err" || got=$?
  [ "$got" = 1 ] || fail "status $got"
  said 1 "$pattern"
}
case_full_device() {
  sink=/dev/full
  local format
  for format in table csv json; do
    inspect_sample stalled --format $format
    unwritable 'could not be written: No space left' "${command[@]}"
  done
  unwritable 'could not be written: No space left' "$megakernel" --help
  unwritable 'could not be written: No space left' "$megakernel" --version
}
case_closed_stdout() {
  inspect_sample stalled
  : >"$work/out"
  local got=0
  "${command[@]}" >&- 2>"$work/err" || got=$?
  [ "$got" = 1 ] || fail "status $got"
  said 1 'could not be written: Bad file descriptor'
}
case_closed_pipe() {
  head -c 8M /dev/zero >"$work/ring"
  : >"$work/out"
  { "$megakernel" inspect --control "$samples/idle/control.bin" --ring "$work/ring" \
    --format csv 2>"$work/err"; echo $? >"$work/status"; } | head -n 1 >"$work/line"
  [ "$(cat "$work/status")" = 1 ] || fail "status $(cat "$work/status")"
  said 1 'could not be written: Broken pipe'
}
case_no_memory() {
  # Address space of a sanitizer is beyond any such limit.
  if grep -qa __asan_init "$megakernel"; then exit 77; fi
  truncate -s 512M "$work/ring"
  expect 1 'no memory' -- bash -c "ulimit -v 200000; exec \"\$@\"" sh "$megakernel" inspect \
    --control "$samples/idle/control.bin" --ring "$work/ring"
}
case_colour() {
  inspect_sample stalled --color always
  expect 3 -- "${command[@]}"
  shown $'^\e\\[31mstalled'
  inspect_sample stalled --color auto
  expect 3 -- "${command[@]}"
  if grep -q $'\e' "$work/out"; then fail "an escape in a file"; fi
}
case_samples_are_remade() { # MAKE_SAMPLES is the program's path
  "$MAKE_SAMPLES" "$work/made" >"$work/out" 2>"$work/err" || fail "make_samples"
  (cd "$work/made" && find . -name '*.bin' | sort) >"$work/made.list"
  (cd "$samples" && find . -name '*.bin' | sort) >"$work/kept.list"
  cmp "$work/made.list" "$work/kept.list" || fail "the lists of files differ"
  local file
  while read -r file; do
    cmp "$work/made/$file" "$samples/$file" || fail "$file differs"
  done <"$work/made.list"
}

declare -F "case_$name" >/dev/null || { echo "no case $name"; exit 99; }
"case_$name"

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# One test of the command: run.sh MEGAKERNEL SAMPLES CASE. Without CASE it lists the cases.
source "$(dirname "$0")/common.sh"

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
case_recommend() {
  local -a ask=("$megakernel" recommend --queue-len 5000 --nodes 10000 --edges 80000)
  expect 0 -- "${ask[@]}"
  shown '^Launch 64 workgroups of 64 lanes: DenseFrontier, compiled\.$'
  shown 'at least the dense threshold of$'
  [ "$(LC_ALL=C.UTF-8 wc -L <"$work/out")" -le 100 ] || fail "a line is over 100 columns"
  expect 0 -- "${ask[@]}" --density-bps 4200 --previous-topology HybridFrontier
  shown 'HybridFrontier, compiled'
  shown '4,200 bps is not yet over 4,250'
  expect 0 -- "${ask[@]}" --format json
  shown '"schema": "megakernel.recommend"'
  shown '"rule": "frontier_dense_cold"'
  if command -v python3 >"$work/python"; then
    python3 -m json.tool "$work/out" >"$work/json" 2>"$work/err" || fail "not JSON"
  fi
}
case_recommend_from_dumps() {
  local -a ask=("$megakernel" recommend --control "$samples/busy/control.bin"
    --ring "$samples/busy/ring.bin")
  expect 0 -- "${ask[@]}" --window-opcode 42
  shown '96 of the ring.s 256 slots hold work: 3,750 bps'
  shown 'HybridFrontier'
  expect 0 -- "${ask[@]}" --queue-len 0
  shown 'Empty, interpreted'
  expect 1 'truncated/ring.bin: The ring has 2644 bytes' -- "$megakernel" recommend \
    --control "$samples/busy/control.bin" --ring "$samples/truncated/ring.bin"
  expect 1 'none: It cannot be opened' -- "$megakernel" recommend \
    --control "$work/none" --ring "$samples/busy/ring.bin"
  expect 2 'hot-opcodes' -- "${ask[@]}" --hot-opcodes 3
}
case_recommend_refused() {
  local -a ask=("$megakernel" recommend --queue-len 4294967295)
  expect 1 '4294967295 queued items with 3 expected hits each, times 2' -- "${ask[@]}" \
    --hits-per-item 3
  expect 1 'max_workgroup_size_x is 0' -- "${ask[@]}" --max-workgroup-size 0
  expect 1 'needs 26384 bytes of device memory, but its budget is 20000' -- "$megakernel" \
    recommend --queue-len 1 --resident-bytes 10000 --budget-bytes 20000
  expect 1 '18446744073709551615 resident bytes' -- "$megakernel" recommend --queue-len 1 \
    --resident-bytes 18446744073709551615
}
case_recommend_usage() {
  expect 2 'queue-len is required' -- "$megakernel" recommend
  local -a ask=("$megakernel" recommend --queue-len 1)
  expect 2 'from 0 to 4294967295' -- "$megakernel" recommend --queue-len 4294967296
  expect 2 'from 0 to 4294967295' -- "$megakernel" recommend --queue-len=-1
  expect 2 'from 0 to 65535' -- "${ask[@]}" --density-bps 65536
  expect 2 -- "${ask[@]}" --nodes many
  expect 2 -- "${ask[@]}" --previous-topology Dense
  expect 2 -- "${ask[@]}" --format csv
  expect 2 -- "${ask[@]}" --control "$samples/busy/control.bin"
  expect 2 -- "${ask[@]}" --window-opcode 42
  expect 2 'Only one' -- "$megakernel" recommend --control - --ring -
  expect 2 -- "${ask[@]}" leftover
}
case_help() {
  expect 0 -- "$megakernel" --help
  shown inspect
  expect 0 -- "$megakernel" inspect --help
  shown Examples:
  expect 0 -- "$megakernel" recommend --help
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
  if grep -qaE '__(asan|tsan|msan)_init' "$megakernel"; then exit 77; fi
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

sketch_sample() { # sketch_sample NAME FILE [OPTION...]: sketches a sample
  local sample=$1 file=$2
  shift 2
  expect 0 -- "$megakernel" sketch build --control "$samples/$sample/control.bin" \
    --ring "$samples/$sample/ring.bin" -o "$file" "$@"
}
case_sketch() {
  sketch_sample busy "$work/a"
  shown '4 x 1,024 counters, 163,980 bytes\. 256 slots, 96 active\.'
  sketch_sample faulted "$work/b" --format json
  shown '"total_slots": 64'
  expect 0 -- "$megakernel" sketch merge "$work/a" "$work/b" -o "$work/ab" --format json
  shown '"total_slots": 320'
  expect 0 -- "$megakernel" sketch merge "$work/b" "$work/a" -o "$work/ba"
  cmp "$work/ab" "$work/ba" || fail "merging does not commute"
  expect 0 -- "$megakernel" sketch query "$work/ab" --opcode 0x2a --opcode 42 --tenant 4 --status 1
  [ "$(grep -c 'op 42 (0x2a)   42       25               24  7.8 %' "$work/out")" = 2 ] || fail "42"
  shown 'tenant 4    4       51'
  expect 0 -- "$megakernel" sketch top "$work/ab" -k 2 --tenants
  shown 'tenant 2    2       56'
  if grep -qE 'tenant 1 |Opcodes' "$work/out"; then fail "more than was asked for"; fi
  expect 0 -- "$megakernel" sketch top "$work/a" --control "$samples/busy/control.bin" \
    --ring "$samples/busy/ring.bin"
  expect 0 -- "$megakernel" sketch top "$work/a" --candidate 40-50 --candidate 0x4d --format json
  shown '"key": 42'
  if grep -q '"key": 0' "$work/out"; then fail "a key that is no candidate"; fi
}
case_sketch_bytes_are_kept() { # the same bytes from any compiler, and a reader of another kind
  sketch_sample busy "$work/sketch" --depth 2 --width 17
  cmp "$work/sketch" "$samples/busy/telemetry.sketch" || fail "the bytes differ"
  if ! command -v python3 >"$work/python"; then exit 77; fi
  python3 - "$work/sketch" "$samples/busy/ring.bin" >"$work/out" 2>"$work/err" <<'EOF' || fail "python"
import struct, sys, zlib
data, ring = (open(name, 'rb').read() for name in sys.argv[1:])
magic, version, kind, name, seed, depth, width = struct.unpack_from('<8sII16sQQQ', data)
assert (magic, version, kind) == (b'MKSKETCH', 1, 2) and name.rstrip(b'\0') == b'splitmix64'
assert zlib.crc32(data[:-4]) == struct.unpack('<I', data[-4:])[0]
mask = 2**64 - 1
def mix(x):
    x = (x + 0x9E3779B97F4A7C15) & mask
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & mask
    x = (x ^ x >> 27) * 0x94D049BB133111EB & mask
    return x ^ x >> 31
slots = list(struct.iter_unpack('<16I', ring))
for index, word in ((0, 1), (2, 2), (3, 0)):  # ring_opcode, tenant, status
    at = 56 + index * (16 + 8 * depth * width)
    low, high, *counters = struct.unpack_from(f'<{2 + depth * width}Q', data, at)
    assert low + (high << 64) == len(slots)
    wanted = [0] * (depth * width)
    for slot in slots:
        for row in range(depth):
            wanted[row * width + mix(slot[word] ^ row * seed & mask) % width] += 1
    assert counters == wanted
EOF
}
case_sketch_refused() {
  sketch_sample busy "$work/a"
  local -a query=("$megakernel" sketch query --opcode 1)  # the file follows
  head -c 1000 "$work/a" >"$work/cut"
  expect 1 'cut: The sketch has 1000 bytes, but its header says 163980' -- "${query[@]}" "$work/cut"
  { cat "$work/a"; echo; } >"$work/long"
  expect 1 'long: The sketch has 163981 bytes' -- "${query[@]}" "$work/long"
  { head -c 100000 "$work/a"; printf '\1'; tail -c +100002 "$work/a"; } >"$work/damaged"
  expect 1 'damaged: .* checksum' -- "${query[@]}" "$work/damaged"
  expect 1 'ring.bin: The bytes do not start with the mark' -- "${query[@]}" \
    "$samples/busy/ring.bin"
  expect 1 'none: It cannot be opened' -- "${query[@]}" "$work/none"
  sketch_sample busy "$work/b" --width 7
  expect 1 'b: The sketch to merge has 7 rows or columns where this one has 1024' -- \
    "$megakernel" sketch merge "$work/a" "$work/b" -o "$work/c"
  [ ! -e "$work/c" ] || fail "a file in spite of it"
  expect 1 'truncated/ring.bin: The ring has 2644' -- "$megakernel" sketch build \
    --control "$samples/busy/control.bin" --ring "$samples/truncated/ring.bin" -o "$work/c"
  expect 1 'full: It could not be written: No space' -- "$megakernel" sketch merge "$work/a" \
    -o /dev/full
  expect 1 'x: It cannot be written' -- "$megakernel" sketch merge "$work/a" -o "$work/none/x"
}
case_sketch_usage() {
  expect 2 -- "$megakernel" sketch
  expect 2 -- "$megakernel" sketch query "$work/a"
  expect 2 -- "$megakernel" sketch query "$work/a" --opcode 4294967296
  expect 2 -- "$megakernel" sketch top "$work/a" --candidate 9-5
  expect 2 'Only one' -- "$megakernel" sketch merge - - -o "$work/b"
  expect 2 -- "$megakernel" sketch build --control - --ring x -o y --width 0
  expect 0 -- "$megakernel" sketch top --help
}

run_case

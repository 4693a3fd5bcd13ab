#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# One test of captures: capture.sh MEGAKERNEL SAMPLES CASE. Without CASE it lists the cases.
source "$(dirname "$0")/common.sh"
export TSAN_OPTIONS=exitcode=99
cap=$work/run.mkcap
# capture STATUS OPTION...: a short run, captured
capture() {
  local status=$1
  shift
  expect "$status" -- "$megakernel" run --duration 1 --capture "$cap" --format json "$@"
}
replay() { expect 0 -- "$megakernel" replay "$cap" --speed max "$@"; }

# check CODE: Python over `lines`, the JSON of $work/out
check() {
  command -v python3 >"$work/python" || return 0
  python3 - "$work/out" 2>"$work/err" <<END || fail "the JSON does not add up"
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
$1
END
}

case_capture_run_and_replay() {
  capture 0 --capture-rate 50
  check "note = [l for l in lines if l['type'] == 'capture'][0]
assert lines[-1]['type'] == 'end'
assert note['frames'] + note['dropped'] >= 45 and note['frames'] > 10, note
open('$work/frames', 'w').write(str(note['frames']))"
  replay --format json
  check "head, *frames = lines
assert head['type'] == 'capture' and head['whole'] and head['slots'] == 1024, head
assert head['frames'] == len(frames) == int(open('$work/frames').read())
assert [f['frame'] for f in frames] == list(range(len(frames)))
assert all(f['schema'] == 'megakernel.observation' and f['type'] == 'frame' for f in frames)
for before, after in zip(frames, frames[1:]):
    assert before['at_ns'] <= after['at_ns'] and before['accepted'] <= after['accepted']
    assert after['interval_ns'] == after['at_ns'] - before['at_ns']
    assert before['health']['done'] <= after['health']['done']
last = frames[-1]
# The last frame is of after the drain, and perhaps of after the lanes have left.
assert last['verdict'] in ('progressing', 'idle', 'stopped'), last['verdict']
assert last['health']['owed_slots'] == 0 and last['accepted'] == last['health']['done'] > 0
assert len(last['tenants']) == 4 and sum(f['latency_ns']['count'] for f in frames) > 0"
  replay
  shown '^[0-9]+ frames over 1\.[0-9] s, .* of a ring of 1,024 slots, from 20[0-9-]+ [0-9:]+ UTC$'
  shown '^ +0\.[0-9]{2} s  +[0-9,]+ .* progressing$'
  [ "$(LC_ALL=C.UTF-8 wc -L <"$work/out")" -le 100 ] || fail "a line is over 100 columns"
}
case_capture_seek() {
  capture 0 --capture-rate 50
  replay --from 0.5 --to 0.7 --format json
  check "head, *frames = lines
assert frames and all(5e8 <= f['at_ns'] <= 7e8 for f in frames)
assert all(f['verdict'] != 'busy' for f in frames)  # what came before was looked at"
  replay --every 0.25 --format json
  check "head, *frames = lines
assert 3 <= len(frames) <= 6, len(frames)
assert all(b['at_ns'] - a['at_ns'] >= 25e7 for a, b in zip(frames, frames[1:]))"
  # As fast as it was, and twice as fast.
  local began=${EPOCHREALTIME/./}
  expect 0 -- "$megakernel" replay "$cap" --from 0.2 --to 0.8
  local took=$((${EPOCHREALTIME/./} - began))
  [ $took -ge 500000 ] || fail "0.6 s were played in $took us"
  # Two frames for two lines of input.
  printf '\n\n' >"$work/keys"
  timeout 60 "$megakernel" replay "$cap" --step --format json <"$work/keys" >"$work/out" ||
    fail "no step"
  [ "$(wc -l <"$work/out")" = 4 ] || fail "steps: $(wc -l <"$work/out") lines"
  printf 'q\n' >"$work/keys"
  timeout 60 "$megakernel" replay "$cap" --step --format json <"$work/keys" >"$work/out"
  [ "$(wc -l <"$work/out")" = 2 ] || fail "q does not end it"
}
case_capture_other_commands() {
  capture 3 --quotas 0 --drain-timeout 1.5
  expect 3 -- "$megakernel" inspect --capture "$cap"
  shown '^blocked: 64 slots are owed'
  expect 0 -- "$megakernel" inspect --capture "$cap" --at 0 --format json
  expect 3 -- "$megakernel" inspect --capture "$cap" --at 1.2 --format csv
  [ "$(wc -l <"$work/out")" = 1025 ] || fail "a CSV row a slot"
  expect 0 -- "$megakernel" recommend --capture "$cap" --at 1
  shown '^Launch '
  expect 0 -- "$megakernel" sketch build --capture "$cap" --at 1 -o "$work/one.sketch"
  expect 0 -- "$megakernel" sketch top "$work/one.sketch" --capture "$cap" --format json
  expect 2 'requires --capture' -- "$megakernel" inspect --at 1
  expect 2 'excludes' -- "$megakernel" inspect --capture "$cap" --control "$cap" --ring "$cap"
  expect 2 'excludes' -- "$megakernel" recommend --capture "$cap" --hot-opcodes 4
}
case_capture_windows() {
  # The opcodes of windows come from the capture.
  capture 3 --mix window --quotas 0 --drain-timeout 0.2
  expect 3 -- "$megakernel" inspect --capture "$cap"
  shown '^Windows'
  expect 3 -- "$megakernel" inspect --capture "$cap" --window-opcode 42
  if grep -q '^Windows' "$work/out"; then fail "windows of another opcode"; fi
}
case_capture_killed() {
  local child i
  for i in 1 2 3; do
    "$megakernel" run --duration 50 --capture "$cap" --capture-rate 200 >"$work/out" 2>&1 &
    child=$!
    sleep "0.$((5 + i))"
    kill -KILL $child
    wait $child 2>"$work/err"
    : >"$work/err"
    replay --format json
    check "head, *frames = lines
assert not head['whole'] and head['damage'], head
assert head['frames'] == len(frames) > 2, len(frames)"
  done
  expect 0 -- "$megakernel" inspect --capture "$cap"
  shown '^progressing: '
}
case_capture_cut() {
  capture 0
  local size
  size=$(stat -c %s "$cap")
  cp "$cap" "$work/whole"
  head -c $((size / 2)) "$work/whole" >"$cap"
  replay
  shown 'It ends in the middle of frame [0-9]+; [0-9]+ frames? (is|are) whole\.'
  head -c 100 "$work/whole" >"$cap"
  expect 1 'It ends at byte 100, inside its header' -- "$megakernel" replay "$cap"
  : >"$cap"
  expect 1 'It is empty' -- "$megakernel" replay "$cap"
  head -c 5000 /dev/urandom >"$cap"
  expect 1 'It is no capture' -- "$megakernel" replay "$cap"
  expect 1 'It is no capture' -- "$megakernel" inspect --capture "$cap"
  # Damage in the middle: the frame is named, those that do not need it are shown.
  cp "$work/whole" "$cap"
  printf '\377\377\377\377' | dd of="$cap" bs=1 seek=$((size / 2)) conv=notrunc 2>"$work/dd"
  local got=0
  "$megakernel" replay "$cap" --speed max >"$work/out" 2>"$work/err" || got=$?
  [ "$got" = 1 ] || fail "status $got"
  grep -qE '(Frame [0-9]+, at byte|damaged)' "$work/err" "$work/out" || fail "no place"
}
case_capture_refused() {
  local short=("$megakernel" run --duration 0.3 --capture)
  expect 1 'full: It cannot be written: No space' -- "${short[@]}" /dev/full
  expect 1 'cannot be written: Is a directory' -- "${short[@]}" "$work"
  expect 1 'cannot be written: No such file' -- "${short[@]}" "$work/none/run.mkcap"
  mkfifo "$work/pipe"
  expect 1 'It is a pipe' -- "${short[@]}" "$work/pipe"
  expect 2 'is empty' -- "${short[@]}" ''
  expect 1 'It is a directory' -- "$megakernel" replay "$work"
  expect 1 'It is no regular file' -- "$megakernel" replay "$work/pipe"
  expect 1 'It is no regular file' -- "$megakernel" replay /dev/zero
  expect 1 'cannot be opened' -- "$megakernel" replay "$work/none"
  local option
  for option in '--capture-rate 5' "--capture $cap --capture-rate 0" \
    "--capture $cap --capture-rate 10001" "--capture $cap --capture-rate nan"; do
    # shellcheck disable=SC2086
    expect 2 -- "$megakernel" run $option
  done
  for option in '--speed 0' '--speed fast' '--from -1' '--from 2 --to 1' '--every nan' \
    '--format csv' '--from inf'; do
    # shellcheck disable=SC2086
    expect 2 -- "$megakernel" replay "$cap" $option
  done
  expect 0 -- "$megakernel" replay --help
}
case_capture_full_disk() {
  # A limit on the size of files stands for a disk that fills up: the run goes on and says so.
  local got=0
  (
    ulimit -f 100
    exec timeout 60 "$megakernel" run --duration 1.5 --capture "$cap" --capture-rate 300 --format json
  ) >"$work/out" 2>"$work/err" </dev/null || got=$?
  [ "$got" = 1 ] || fail "status $got"
  [ "$(wc -l <"$work/err")" = 1 ] || fail "said more than once"
  grep -qE 'run.mkcap: It could not be written: File too large\. [0-9]+ frames are whole' \
    "$work/err" || fail "no sentence"
  check "assert lines[-1]['type'] == 'end' and lines[-1]['load_ns'] >= 1.4e9"
  : >"$work/err"
  replay --format json
  check "assert len(lines) > 5 and lines[0]['frames'] == len(lines) - 1"
}
case_capture_output_refused() {
  capture 0
  local got=0
  "$megakernel" replay "$cap" --speed max >/dev/full 2>"$work/err" || got=$?
  [ "$got" = 1 ] || fail "status $got with a full disk"
  grep -q 'could not be written: No space' "$work/err" || fail "no sentence"
  # A reader that leaves ends it.
  { timeout 60 "$megakernel" replay "$cap" --format json; echo $? >"$work/status"; } \
    2>"$work/err" | head -n 2 >"$work/out"
  [ "$(cat "$work/status")" = 1 ] || fail "status $(cat "$work/status") without a reader"
}
case_capture_signal() {
  capture 0
  "$megakernel" replay "$cap" --speed 0.001 >"$work/out" 2>"$work/err" &
  local child=$! got=0
  sleep 0.5
  kill -INT $child
  kill -TERM $child
  wait $child || got=$?
  [ "$got" = 0 ] || fail "status $got"
}
case_capture_format() {
  # Another reader, of what needs no decompressor, written from docs/capture.md.
  capture 0 --capture-rate 1500
  replay --format json
  command -v python3 >"$work/python" || exit 77
  python3 - "$cap" "$work/out" 2>"$work/err" <<'END' || fail "it is not what the document says"
import json, struct, sys, zlib
file = open(sys.argv[1], 'rb').read()
head, *frames = [json.loads(line) for line in open(sys.argv[2])]
magic, version, length, revision, windows = struct.unpack_from('<8sIIII', file)
assert magic == b'MKCAPTUR' and version == 1 and revision == 1 and windows == 1
assert zlib.crc32(file[:length - 4]) == struct.unpack_from('<I', file, length - 4)[0]
sizes = struct.unpack_from('<4Q', file, 24)
assert sizes[1] == 65536 and struct.unpack_from('<I', file, 64)[0] == 1001
at, texts = 68, []
for _ in range(3):
    size = struct.unpack_from('<I', file, at)[0]
    texts.append(file[at + 4:at + 4 + size].decode())
    at += 4 + size
assert at == length - 4 and texts == [head['device'], head['build'], head['profile']]
at, found, indexed, key, last_index, ended = length, [], [], 0, 0, False
while at != len(file):
    assert not ended
    mark, kind, number, time, wall, dropped, link, stored, unpacked, crc, own = \
        struct.unpack_from('<4sIQqqQQIIII', file, at)
    assert mark == b'MKRC' and own == zlib.crc32(file[at:at + 60])
    payload = file[at + 64:at + 64 + stored]
    if kind < 4:
        assert crc == zlib.crc32(payload)
    if kind <= 2:
        assert number == len(found) and unpacked > sum(sizes)
        key = number if kind == 1 else key
        assert link == key and number - link < 64
        assert payload[:4] == bytes([0x28, 0xb5, 0x2f, 0xfd])
        found.append((at, time, link))
        assert frames[number]['at_ns'] == time and frames[number]['unix_ns'] == wall
    elif kind == 3:
        assert number == len(indexed) and link == last_index and stored % 24 == 0
        indexed += struct.iter_unpack('<QqQ', payload)
        last_index = at
    else:
        assert kind == 4 and stored == 0 and number == len(found) and link == last_index
        assert time == found[-1][1] and dropped == head['dropped']
        ended = True
    at += 64 + stored
assert ended and indexed == found and len(found) == head['frames'] == len(frames)
END
}
case_capture_sample() {
  expect 0 -- "$megakernel" replay "$samples/run.mkcap" --speed max --format json
  check "head, *frames = lines
assert head['whole'] and head['slots'] == 256 and head['frames'] == len(frames) == 42, head
assert all(f['verdict'] == 'faulted' for f in frames)
last = frames[-1]
assert last['occupancy']['fault'] == 85 and last['health']['done'] == 16878, last
assert last['health']['owed_slots'] == 0 and len(last['faults']) == 64
assert any(f['health']['throttled_slots'] > 100 for f in frames)"
}

run_case

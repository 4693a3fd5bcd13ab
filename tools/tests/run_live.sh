#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# One test of `megakernel run`: run_live.sh MEGAKERNEL SAMPLES CASE. Without CASE it lists the cases.
source "$(dirname "$0")/common.sh"
export TSAN_OPTIONS=exitcode=99
run=("$megakernel" run)
short=("$megakernel" run --duration 0.3)

# The lines of a run as JSON in $work/out obey what docs/run.md says; more of that as Python.
check_json() {
  command -v python3 >"$work/python" || return 0
  python3 - "$work/out" 2>"$work/err" <<END || fail "the JSON does not add up"
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
*looks, end = lines
assert all(l['schema'] == 'megakernel.run' and l['version'] == 1 for l in lines)
assert all(l['type'] == 'look' for l in looks) and end['type'] == 'end'
account = end['account']
assert account['accepted'] == account['done'] + account['faults'] + account['owed']
assert all(law['holds'] == (law['left'] == law['right']) for law in end['conservation'])
assert sum(t['demand'] for t in end['tenants']) == account['accepted']
assert sum(o['slots'] for o in end['opcodes']) == account['accepted']
assert sum(t['served'] for t in end['tenants']) == end['served_under_load'] <= account['accepted']
by_level = end['latency_by_priority_ns'].values()
assert sum(q['count'] for q in by_level) == end['latency_ns']['count'] <= end['publications']
for q in [end['latency_ns'], *by_level, *(l['latency_ns'] for l in looks)]:
    assert q['p50'] <= q['p90'] <= q['p99'] <= q['p999'] <= q['max'], q
for before, after in zip(looks, looks[1:]):
    assert before['elapsed_ns'] <= after['elapsed_ns'] and before['accepted'] <= after['accepted']
    assert after['done'] - before['done'] == after['done_delta']
for look in looks:
    statuses = {k: v for k, v in look['occupancy'].items() if k not in ('total_slots', 'active')}
    assert sum(statuses.values()) == look['occupancy']['total_slots'] == end['profile']['slots']
${1:-}
END
}
holds="assert len(end['conservation']) == 7 and all(l['holds'] for l in end['conservation'])
assert account['owed'] == account['faults'] == 0 and end['verdict'] == 'idle'
assert end['latency_ns']['count'] == end['publications']"

inspect_dump() { # inspect_dump DIR STATUS
  expect "$2" -- "$megakernel" inspect --control "$1/control.bin" --ring "$1/ring.bin" \
    --previous-control "$1/previous-control.bin" --previous-ring "$1/previous-ring.bin" \
    --debug-log "$1/debug-log.bin" --io-queue "$1/io-queue.bin" --window-opcode 1001
}

case_run_table() {
  expect 0 -- "${run[@]}" --duration 1.5 --color never
  for section in Throughput Latency Ring Fairness Opcodes Conservation 'Next launch' Why; do
    shown "^$section"
  done
  shown '^idle: [0-9,]+ slots were run in 1\.[0-9] s; nothing is owed$'
  shown '^ +1\.[0-9] s  +[0-9,]+ .* progressing$'
  shown 'accepted = done \+ faults \+ owed +[0-9,]+ +holds$'
  shown '^  op 1000 \(0x3e8\) '
  [ "$(LC_ALL=C.UTF-8 wc -L <"$work/out")" -le 100 ] || fail "a line is over 100 columns"
  if LC_ALL=C grep -q $'[\001-\011\013-\037]' "$work/out"; then fail "a control character"; fi
}
case_run_colour() {
  expect 0 -- "${run[@]}" --color always --count 100
  grep -q $'\033' "$work/out" || fail "no colour"
  expect 0 -- env NO_COLOR=1 TERM=xterm "${run[@]}" --count 100
  if grep -q $'\033' "$work/out"; then fail "colour in spite of NO_COLOR"; fi
}
case_run_json() {
  expect 0 -- "${run[@]}" --format json --duration 1.5
  check_json "assert looks and end['ended_by'] == 'duration'
assert end['recommend']['schema'] == 'megakernel.recommend'
$holds"
}
case_run_every_kind() {
  local mix=nop,store,add,load,cas,memcpy,dfa,printf,packed,window,batch,user
  expect 0 -- "${run[@]}" --mix $mix --producers 3 --workers 3 --count 50000 --format json
  check_json "assert len(end['opcodes']) == 12 and account['accepted'] == 50000
$holds"
}
case_run_priorities() {
  expect 0 -- "${short[@]}" --form priority --producers 2 --workers 2 --format json
  check_json "assert all(q['count'] for q in by_level) and end['profile']['form'] == 'priority'
$holds"
  expect 0 -- "${run[@]}" --priorities critical,idle=3 --count 2000 --format json
  check_json "assert [name for name, q in end['latency_by_priority_ns'].items() if q['count']] == \
    ['critical', 'normal', 'idle']  # batches are of normal priority
$holds"
}
case_run_rate() {
  expect 0 -- "${run[@]}" --duration 1 --rate 2000 --producers 2 --format json
  check_json "due = 2000 * end['load_ns'] / 1e9
assert abs(account['accepted'] + end['unmet'] - due) < due / 10, (account, due)
$holds"
}
case_run_same_seed() {
  local seed
  for seed in 7 7 8; do
    expect 0 -- "${run[@]}" --count 20000 --producers 2 --tenants 5 --seed $seed --format json
    check_json "print([(t['tenant'], t['demand']) for t in end['tenants']],
      sorted((o['opcode'], o['slots'], o['in_packed']) for o in end['opcodes']))" >"$work/seed"
    sha256sum <"$work/seed" >>"$work/sums"
  done
  [ -s "$work/seed" ] || exit 77
  [ "$(sed -n 1p "$work/sums")" = "$(sed -n 2p "$work/sums")" ] || fail "one seed, two workloads"
  [ "$(sed -n 1p "$work/sums")" != "$(sed -n 3p "$work/sums")" ] || fail "two seeds, one workload"
}
case_run_small_and_large() {
  expect 0 -- "${run[@]}" --slots 1 --tenants 1 --producers 3 --count 500 --format json
  check_json "$holds"
  expect 0 -- "${short[@]}" --slots 1048576 --in-flight 100000 --format json
  check_json "$holds"
  expect 0 -- "${run[@]}" --workers 64 --producers 8 --count 5000 --format json
  check_json "$holds"
  expect 0 -- "${run[@]}" --duration 0.000001 --format json
  check_json "$holds"
  expect 0 -- "${run[@]}" --spin --count 3000 --form priority --slots 5 --format json
  check_json "$holds"
}
case_run_blocked() {
  expect 3 -- "${short[@]}" --quotas 0 --drain-timeout 0.2
  shown '^blocked: 64 slots are owed and none can be claimed: 64 for quota$'
  shown '^Stuck slots  64 of 64 owed'
  expect 3 -- "${short[@]}" --quotas 0 --drain-timeout 0.2 --format json
  check_json "assert end['needs_attention'] and end['verdict'] == 'blocked' and account['owed'] == 64"
}
case_run_throttled() {
  expect 0 -- "${run[@]}" --duration 2.2 --quotas 100 --tenants 2 --format json
  check_json "assert 400 <= account['done'] <= 1000, account"
}
case_run_faulted() {
  expect 3 -- "${short[@]}" --mix nop=9,bad
  shown '^faulted: [0-9,]+ slots faulted; .* nothing is owed$'
  shown 'STORE_U32 .* 2 address out of bounds'
  expect 3 -- "${short[@]}" --mix nop=9,bad --producers 2 --slots 16 --format json
  check_json "assert all(l['holds'] for l in end['conservation']) and account['faults'] > 0
assert end['faults'][0]['fault_code'] == 2"
}
case_run_dump() {
  mkdir "$work/dump"
  echo old >"$work/dump/ring.bin"
  expect 0 -- "${short[@]}" --mix nop,printf,window,user --dump "$work/dump"
  [ "$(ls -A "$work/dump" | wc -l)" = 6 ] || fail "six files: $(ls -A "$work/dump")"
  inspect_dump "$work/dump" 0
  shown '^(progressing|idle): .*nothing is owed$'
  shown '^Windows'
  expect 0 -- "$megakernel" inspect --control "$work/dump/previous-control.bin" \
    --ring "$work/dump/previous-ring.bin"
  expect 3 -- "${short[@]}" --quotas 0 --drain-timeout 1.5 --dump "$work/dump"
  inspect_dump "$work/dump" 3
  shown '^blocked: 64 slots are owed'
}
case_run_dump_refused() {
  expect 1 'none: It is no directory' -- "${short[@]}" --dump "$work/none"
  echo >"$work/file"
  expect 1 'file: It is no directory' -- "${short[@]}" --dump "$work/file"
  expect 1 'proc: No file can be written' -- "${short[@]}" --dump /proc
  expect 2 'is empty' -- "${short[@]}" --dump ''
}
case_run_output_refused() {
  local got=0
  timeout 60 "${short[@]}" >/dev/full 2>"$work/err" || got=$?
  [ "$got" = 1 ] || fail "status $got with a full disk"
  grep -q 'could not be written: No space' "$work/err" || fail "no sentence"
  got=0
  timeout 60 "${short[@]}" >&- 2>"$work/err" || got=$?
  [ "$got" = 1 ] || fail "status $got with a closed stdout"
  # A reader that leaves ends the run.
  { timeout 60 "$megakernel" run --duration 50; echo $? >"$work/status"; } 2>"$work/err" | head -n 1 >"$work/out"
  [ "$(cat "$work/status")" = 1 ] || fail "status $(cat "$work/status") without a reader"
  grep -q 'could not be written: Broken pipe' "$work/err" || fail "no sentence"
}
signalled() { # signalled STATUS SECONDS COUNT OPTION...: ends a run by COUNT signals
  local status=$1 pause=$2 count=$3 got=0
  shift 3
  "$megakernel" run --duration 50 "$@" >"$work/out" 2>"$work/err" &
  local child=$! i
  sleep "$pause"
  for ((i = 0; i < count; ++i)); do
    kill -TERM $child
    sleep 0.5
  done
  wait $child || got=$?
  [ "$got" = "$status" ] || fail "status $got instead of $status"
  said "$got" ''
}
case_run_signal() {
  signalled 0 1 1
  shown '^idle: .*nothing is owed$'
  shown '^- The load was ended by a signal\.$'
}
case_run_signals() {
  # Without tokens the drain does not end: the first waits for it, the second does not.
  signalled 3 1.5 2 --quotas 0 --drain-timeout 50
  shown '^blocked: 64 slots are owed'
  signalled 0 1 2 --quotas 10 --tenants 1 --drain-timeout 50
  shown '^stopped: .*the drain was cut short, [0-9]+ slots are owed$'
}
case_run_usage() {
  expect 2 'At least one kind of work' -- "${short[@]}" --mix nop=0
  expect 2 "There is no kind of work 'nap'" -- "${short[@]}" --mix nap
  expect 2 "'nop' is given twice" -- "${short[@]}" --mix nop,nop
  expect 2 "The weight of 'nop' is not" -- "${short[@]}" --mix nop=-1
  expect 2 "There is no priority 'urgent'" -- "${short[@]}" --priorities urgent
  expect 2 'has no effect with --form ring' -- "${short[@]}" --form ring --priorities idle
  expect 2 'has none for priority critical' -- "${short[@]}" --form priority --slots 4
  expect 2 'Give one of them' -- "${short[@]}" --rate 5 --in-flight 5
  expect 2 'less than one slot for each of 4' -- "${short[@]}" --in-flight 3 --producers 4
  expect 2 'more than the 8 slots' -- "${short[@]}" --in-flight 9 --slots 8
  local option
  for option in '--workers 0' '--workers 1025' '--producers 0' '--slots 0' '--slots 1048577' \
    '--tenants 0' '--tenants 30' '--duration 0' '--duration -1' '--duration nan' '--duration inf' \
    '--count 0' '--rate 0' '--rate 1e10' '--seed -1' '--seed x' '--format csv' '--target tpu' \
    '--form heap' '--quotas -1' '--top 0' '--drain-timeout 0' '--mix ,' '--priorities ='; do
    # shellcheck disable=SC2086
    expect 2 -- "$megakernel" run $option
    [ ! -s "$work/out" ] || fail "stdout with $option"
  done
  expect 0 -- "$megakernel" run --help
}
case_run_without_gpu() { # or without its component
  export CUDA_VISIBLE_DEVICES=-1 HIP_VISIBLE_DEVICES=-1 ROCR_VISIBLE_DEVICES=-1
  expect 1 'There is no GPU' -- "${short[@]}" --target gpu
  expect 0 -- "${short[@]}" --target auto
  shown 'worker'
  export MEGAKERNEL_GPU_PATH=$work
  expect 1 'There is no GPU plugin' -- "${short[@]}" --target gpu
  echo nonsense >"$work/libmegakernel_run_gpu.cuda.so"
  expect 1 'There is no GPU to run on \(libmegakernel_run_gpu.cuda.so: ' -- "${short[@]}" --target gpu
}
case_run_gpu_in_a_process_of_its_own() { # over a component whose lanes are threads
  local fake
  fake=$(dirname "$megakernel")/libfake_works.cuda.so
  [ -e "$fake" ] || exit 77
  cp "$fake" "$work/libmegakernel_run_gpu.cuda.so"
  export MEGAKERNEL_GPU_PATH=$work
  local gpu=("${run[@]}" --target gpu --workers 4 --mix nop,store,add)
  local how
  for how in '' --in-process; do
    # shellcheck disable=SC2086
    expect 0 -- "${gpu[@]}" --count 5000 --format json $how
    check_json "$holds"
  done
  # The process is killed: that is found and said, and the program ends as it would.
  "${gpu[@]}" --duration 4 --drain-timeout 1 --format json >"$work/out" 2>"$work/err" </dev/null &
  local program=$! host= tries
  for ((tries = 0; tries < 100; ++tries)); do
    sleep 0.1
    if [ -s "$work/out" ] && host=$(pgrep -P "$program"); then break; fi
  done
  [ -n "$host" ] || fail "there is no process of the GPU's own"
  kill -KILL "$host"
  local got=0
  wait "$program" || got=$?
  [ "$got" = 3 ] || fail "status $got instead of 3"
  shown '"verdict":"dead"'
}

run_case

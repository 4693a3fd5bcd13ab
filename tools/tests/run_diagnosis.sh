#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Failures that are made to happen, and whether they are found:
# run_diagnosis.sh MEGAKERNEL SAMPLES CASE. Without CASE it lists the cases.
source "$(dirname "$0")/common.sh"
export TSAN_OPTIONS=exitcode=99
# A third of this after the start the failure is injected; so much time is left to find it.
run=("$megakernel" run --duration 4.5 --drain-timeout 1)

need_python() { command -v python3 >"$work/python" || exit 77; }

# found AILMENT CHECK: in the JSON lines of a run in $work/out, the failure that was injected is
# named within a second of it, and nothing before it; CHECK is Python about the finding `f` and
# what was injected, `injected`.
found() {
  python3 - "$work/out" "$1" <<END >"$work/said" 2>"$work/err" || fail "$1 was not found"
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
*looks, end = lines
wanted = sys.argv[2]
injected = end['injected']
assert injected, 'nothing was injected'
at = injected['at_ns']
for look in looks:
    d = look['diagnosis']
    assert d['findings'] and d['primary'] == d['findings'][0]['ailment']
    assert d['alarm'] == any(f['alarm'] for f in d['findings'])
    if look['elapsed_ns'] <= at:
        assert not d['alarm'], ('alarm before the failure', d)
named = [(look, f) for look in looks for f in look['diagnosis']['findings']
         if f['ailment'] == wanted and look['elapsed_ns'] > at]
assert named, 'never named'
look, f = named[0]
delay = (look['elapsed_ns'] - at) / 1e9
print(f'{wanted}: named {delay:.3f} s after it was injected')
assert f['sentence'] and f['advice'] and f['evidence'], f
assert delay <= 1.0, delay
slots = {s['index']: s for s in f['slots']}
tenants = {t['tenant'] for t in f['tenants']}
opcodes = {o['opcode'] for o in f['opcodes']}
${2:-}
END
  cat "$work/said"
}

inject() { # inject FAILURE STATUS [OPTION...]
  need_python
  local failure=$1 status=$2
  shift 2
  expect "$status" -- "${run[@]}" --inject "$failure" --format json "$@"
}

case_inject_stall() {
  inject stall 3
  found stalled "assert set(injected['slots']) == set(slots) and tenants == {3} and opcodes == {1002}
assert all(s['status'] == 'claimed' for s in slots.values())
assert f['remedy'] == 'find_the_handler'
assert any(l['diagnosis']['primary'] == l['verdict'] == 'stalled' for l, _ in named)
assert end['needs_attention'] and end['verdict'] == 'stalled' and end['account']['running'] == 0"
  # One handler of several lanes: the others go on for as long as there is room in the ring.
  inject stall 3 --workers 1 --form priority
  found stalled "assert set(injected['slots']) == set(slots) and opcodes == {1002}"
}
case_inject_dead() {
  inject dead 3
  found dead "assert any(l['diagnosis']['primary'] == l['verdict'] == 'dead' for l, _ in named)
assert f['remedy'] == 'relaunch' and f['slots_in_all'] > 0 and slots
assert any(e['measure'] == 'heartbeats' and e['found'] == 0 for e in f['evidence'])"
}
case_inject_fault() {
  inject fault 3
  found faulted "assert set(slots) <= set(injected['slots']) and slots, (slots, injected)
assert tenants == {3} and opcodes == {1}
assert all(s['fault_code'] == 2 for s in slots.values())
assert end['verdict'] == 'faulted'"
}
case_inject_unauthorised() {
  inject unauthorised 3
  found unauthorised "assert tenants == {injected['tenant']} == {3} and slots
assert all(s['tenant'] == 3 and s['status'] == 'published' for s in slots.values())
assert end['verdict'] == 'blocked'"
  inject unauthorised 3 --tenants 1
  found unauthorised "assert any(l['diagnosis']['primary'] == 'unauthorised' for l, _ in named)
assert tenants == {0}"
}
case_inject_quota() {
  inject quota 3
  found throttled "assert tenants == {injected['tenant']} == {3} and slots
assert all(s['tenant'] == 3 for s in slots.values()) and f['remedy'] == 'refill_the_quota'
assert end['verdict'] == 'blocked'"
}
case_inject_lost_io() {
  inject lost-io 3
  found waiting_for_io "assert set(slots) <= set(injected['slots']) and slots
assert tenants == {0} and opcodes == {0xFFFD}
assert all(s['status'] == 'wait_io' and s['arguments'][0] == 404 for s in slots.values())
assert not f['whole'] and look['diagnosis']['primary'] == 'healthy'"
}
case_inject_torn() {
  inject torn 0
  found torn "assert injected['slots'] == list(slots), (injected, slots)
assert look['torn_pages'] >= 1 and f['remedy'] == 'find_the_producer'"
}
case_inject_regressed() {
  inject regressed 3
  found count_regressed "assert look['diagnosis']['primary'] == 'count_regressed'
was = [e for e in f['evidence'] if e['measure'] == 'done_count'][0]
assert was['found'] < was['bound']
assert not looks[-1]['diagnosis']['alarm'], 'it is followed from there'"
}
case_inject_table() {
  need_python
  expect 3 -- "$megakernel" run --duration 3 --drain-timeout 1 --inject stall --color never
  shown '^  stalled: [0-9]+ slots are owed and may run, and nothing was finished for'
  shown '^ +[0-9,]+ +claimed +op 1002 \(0x3ea\) +3 +normal'
  shown '^    Try: Find out why the handler'
  shown "^- The failure 'stall' was injected 1.0 s after the load began"
  shown '^Diagnosis  of the last look'
  [ "$(LC_ALL=C.UTF-8 wc -L <"$work/out")" -le 100 ] || fail "a line is over 100 columns"
}
case_inject_never() {
  expect 0 -- "$megakernel" run --count 100 --inject stall
  shown "The load ended before the failure 'stall' was injected"
}
case_inject_usage() {
  expect 2 -- "$megakernel" run --inject flood
  expect 2 -- "$megakernel" run --inject nothing
}

# diagnosed SAMPLE STATUS CHECK: what `inspect` says of two snapshots; CHECK is Python about it, `d`.
diagnosed() {
  local at=$samples/$1
  expect "$2" -- "$megakernel" inspect --control "$at/control.bin" --ring "$at/ring.bin" \
    --previous-control "$at/previous-control.bin" --previous-ring "$at/previous-ring.bin" \
    --format json
  python3 - "$work/out" <<END 2>"$work/err" || fail "the diagnosis of $1"
import json, sys
found = json.load(open(sys.argv[1]))
d = found['diagnosis']
assert d['primary'] == d['findings'][0]['ailment'], d
first = d['findings'][0]
$3
END
}
case_inspect_diagnosis() {
  need_python
  diagnosed stalled 3 "assert d['primary'] == 'stalled' and [s['index'] for s in first['slots']] == [50, 61, 62]"
  diagnosed dead 3 "assert d['primary'] == 'dead' and first['remedy'] == 'relaunch'"
  diagnosed blocked 3 "assert d['primary'] == 'unauthorised' and first['slots_in_all'] == 12
assert d['findings'][1]['ailment'] == 'throttled'
assert {t['tenant'] for t in first['tenants']} == {9, 30, 400}"
  diagnosed progressing 0 "assert d['primary'] == 'healthy'"
  diagnosed stopped 0 "assert d['primary'] == 'stopped' and not d['alarm']"
  expect 0 -- "$megakernel" inspect --control "$samples/busy/control.bin" \
    --ring "$samples/busy/ring.bin" --format json
  shown '"diagnosis": null'
}

# no_alarm OPTION...: a run that does well, where no look raises an alarm.
no_alarm() {
  need_python
  expect 0 -- "$megakernel" run --format json "$@"
  python3 - "$work/out" <<'END' >"$work/said" 2>"$work/err" || fail "an alarm"
import json, sys
*looks, end = [json.loads(line) for line in open(sys.argv[1])]
for look in looks:
    assert not look['diagnosis']['alarm'], look['diagnosis']
assert not end['diagnosis']['alarm'] and end['diagnosis']['primary'] == 'idle', end['diagnosis']
END
}
# Mixed load at full speed, at a rate with pauses between the slots, and hardly any; MEGAKERNEL_LONG
# is how many seconds each of them takes, 3 unless it is set.
case_no_alarm() {
  local seconds=${MEGAKERNEL_LONG:-3}
  no_alarm --duration "$seconds" --mix nop=4,store,add,load,cas,memcpy,dfa,packed,window,batch,user,printf
  no_alarm --duration "$seconds" --rate 20000 --producers 2 --tenants 8
  no_alarm --duration "$seconds" --rate 3
  no_alarm --duration "$seconds" --mix nop --tenants 1 --slots 64
}

run_case

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# One test of `megakernel report`: report.sh MEGAKERNEL SAMPLES CASE. Without CASE it lists the cases.
source "$(dirname "$0")/common.sh"
check=$(dirname "$0")/report_check.py

captured() { # captured FRAMES PERIOD_US SLOTS KIND [NAME]: the capture in $capture
  capture=$work/${5:-a.capture}
  "$MAKE_CAPTURE" "$capture" "$1" "$2" "$3" "$4" || fail "no capture"
}
# report STATUS FORMAT FILE: made of $capture
report() { expect "$1" -- "$megakernel" report "$capture" -o "$3" --format "$2"; }

# The report in FILE says what the lines of the same capture say.
checked() { # checked FORMAT FILE
  "$megakernel" report "$capture" -o "$work/lines" --format json 2>"$work/err"
  command -v python3 >"$work/python" || exit 77
  python3 "$check" "$1" "$2" "$work/lines" >"$work/out" 2>"$work/err" || fail "$1 is wrong"
  cat "$work/out"
}
both() { # both STATUS
  report "$1" html "$work/page.html"
  checked html "$work/page.html"
  report "$1" perfetto "$work/trace.json"
  checked perfetto "$work/trace.json"
}
at_most() { # at_most FILE BYTES
  [ "$(stat -c %s "$1")" -le "$2" ] || fail "$1 has $(stat -c %s "$1") bytes, over $2"
}

case_report_plain() {
  captured 300 10000 1024 plain
  both 0
}
case_report_eventful() {
  captured 3000 20000 256 eventful
  both 0
  report 0 html "$work/page.html"
  for said in 'stalled' 'address out of bounds' 'STORE_U32' 'Slots that stood longest' \
    'Latency distribution' 'Jain index' 'frames</dt><dd>3,000, none dropped'; do
    grep -q -- "$said" "$work/page.html" || fail "the page lacks: $said"
  done
}
case_report_few_frames() {
  local frames
  for frames in 1 2 3; do
    captured $frames 1000000 64 plain
    both 0
  done
}
case_report_one_slot() {
  captured 10 1000 1 eventful
  both 3  # its one slot faults, two frames before the end
}
case_report_hostile() {
  captured 500 10000 512 hostile '<b>&"'"'.capture"
  both 0
  grep -q '&lt;/script&gt;&lt;script&gt;alert(1)' "$work/page.html" || fail "the device is not shown"
  if grep -q '<script>alert\|<img\|<b>&' "$work/page.html"; then fail "markup of somebody else's"; fi
}
# However long it is, the page and the trace are not.
case_report_long() {
  captured 1000 100000 64 eventful
  report 0 html "$work/short.html"
  captured 20000 100000 64 eventful
  report 0 html "$work/page.html"
  report 0 perfetto "$work/trace.json"
  at_most "$work/page.html" 1000000
  at_most "$work/page.html" $(($(stat -c %s "$work/short.html") * 2))
  at_most "$work/trace.json" 20000000
}
case_report_is_the_same_again() {
  captured 700 10000 128 eventful
  report 0 html "$work/1"
  report 0 html "$work/2"
  cmp "$work/1" "$work/2" || fail "two pages of one capture differ"
  report 0 perfetto "$work/1"
  report 0 perfetto "$work/2"
  cmp "$work/1" "$work/2" || fail "two traces of one capture differ"
}
case_report_stdout() {
  captured 50 10000 64 plain
  expect 0 -- "$megakernel" report "$capture" -o -
  shown '^<!DOCTYPE html>$'
  cp "$work/out" "$work/piped"
  report 0 html "$work/page.html"
  cmp "$work/page.html" "$work/piped" || fail "standard output has another page"
  expect 0 -- "$megakernel" report "$capture" -o - --format json
  [ "$(grep -c '"type":"frame"' "$work/out")" = 50 ] || fail "a line a frame"
}
case_report_cut() {
  captured 200 10000 128 plain
  local size
  size=$(stat -c %s "$capture")
  truncate -s $((size / 2)) "$capture"
  both 0
  grep -q '<ul class="warnings"><li>' "$work/page.html" || fail "the page does not say that it is cut"
  grep -q 'cut short' "$work/page.html" || fail "nor among its facts"
}
case_report_damaged_frame() {
  captured 200 10000 128 eventful
  printf 'XXXXXXXXXXXXXXXX' | dd of="$capture" bs=1 seek=$(($(stat -c %s "$capture") / 3)) \
    conv=notrunc status=none
  # A page of the others, and a status that says so.
  local got=0
  "$megakernel" report "$capture" -o "$work/page.html" >"$work/out" 2>"$work/err" || got=$?
  [ "$got" = 1 ] || fail "status $got instead of 1"
  [ "$(wc -l <"$work/err")" = 1 ] || fail "stderr is not one line"
  grep -q 'frames\? cannot be read' "$work/err" || fail "it does not say what is missing"
  checked html "$work/page.html"
  grep -q 'frames\? cannot be read' "$work/page.html" || fail "the page does not say so"
}
case_report_bad_captures() {
  : >"$work/empty"
  head -c 5000 /dev/urandom >"$work/noise"
  expect 1 "$work/empty: " -- "$megakernel" report "$work/empty" -o "$work/page.html"
  expect 1 "$work/noise: " -- "$megakernel" report "$work/noise" -o "$work/page.html"
  expect 1 "$work/none: " -- "$megakernel" report "$work/none" -o "$work/page.html"
  expect 1 "$work: " -- "$megakernel" report "$work" -o "$work/page.html"
  expect 1 -- "$megakernel" report "$samples/busy/ring.bin" -o "$work/page.html"
  [ ! -e "$work/page.html" ] || fail "a page of nothing"
}
case_report_bad_outputs() {
  captured 20 10000 64 plain
  expect 1 'It is a directory' -- "$megakernel" report "$capture" -o "$work"
  expect 1 'No such file' -- "$megakernel" report "$capture" -o "$work/none/page.html"
  expect 1 'the capture itself' -- "$megakernel" report "$capture" -o "$capture"
  ln -s "$capture" "$work/link"
  expect 1 'the capture itself' -- "$megakernel" report "$capture" -o "$work/link"
  expect 1 'No space left' -- "$megakernel" report "$capture" -o /dev/full
  expect 2 -- "$megakernel" report "$capture"
  expect 2 -- "$megakernel" report -o "$work/page.html"
  expect 2 -- "$megakernel" report "$capture" -o "$work/page.html" --format pdf
  expect 2 -- "$megakernel" report "$capture" -o "$work/page.html" --patience -1
  expect 2 -- "$megakernel" report "$capture" -o "$work/page.html" --patience nan
  local got=0
  "$megakernel" report "$capture" -o - >/dev/full 2>"$work/err" || got=$?
  [ "$got" = 1 ] || fail "status $got on a full disk"
  grep -q 'could not be written: No space left' "$work/err" || fail "it does not say why"
  [ "$(find "$work" -name '.megakernel*' | wc -l)" = 0 ] || fail "something is left behind"
}
# Whatever fails, the page that was there is there.
case_report_keeps_the_old_one() {
  captured 20 10000 64 plain
  echo old >"$work/page.html"
  chmod 640 "$work/page.html"
  local limited='ulimit -f 8; trap "" XFSZ; "$0" report "$1" -o "$2"' # 8 KiB a file
  expect 1 'File too large' -- bash -c "$limited" "$megakernel" "$capture" "$work/page.html"
  [ "$(cat "$work/page.html")" = old ] || fail "the old page is gone"
  head -c 100 "$capture" >"$work/cut"
  expect 1 -- "$megakernel" report "$work/cut" -o "$work/page.html"
  [ "$(cat "$work/page.html")" = old ] || fail "the old page is gone"
  report 0 html "$work/page.html"
  grep -q '</html>' "$work/page.html" || fail "the new page is not whole"
  [ "$(stat -c %a "$work/page.html")" = 640 ] || fail "it has another mode"
  ln -s page.html "$work/link.html"
  echo old >"$work/page.html"
  report 0 html "$work/link.html"
  [ -L "$work/link.html" ] || fail "the link is gone"
  grep -q '</html>' "$work/page.html" || fail "what the link names is as it was"
  [ "$(find "$work" -name '.megakernel*' | wc -l)" = 0 ] || fail "something is left behind"
}
case_report_attention() {
  # The patience of the observer decides what an alarm is; the end of this capture is in order.
  captured 500 20000 256 eventful
  expect 0 -- "$megakernel" report "$capture" -o "$work/page.html" --patience 1000
  if grep -q 'state-stalled"' "$work/page.html"; then fail "an alarm within the patience"; fi
  expect 0 -- "$megakernel" report "$capture" -o "$work/page.html" --patience 0.1
  grep -q 'state-stalled"' "$work/page.html" || fail "no alarm"
  # Cut while slots are in fault: somebody should look.
  truncate -s $(($(stat -c %s "$capture") * 80 / 100)) "$capture"
  expect 3 -- "$megakernel" report "$capture" -o "$work/page.html" --patience 0.1
}

run_case

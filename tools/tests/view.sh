#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# One test of the full-screen view on a real terminal: view.sh MEGAKERNEL SAMPLES CASE. Without CASE
# it lists the cases. Needs tmux; without it the cases are skipped.
source "$(dirname "$0")/common.sh"
command -v tmux >/dev/null || exit 77

# A server of its own for each terminal: one that is killed takes a while to go.
server=megakernel-$$
session() { tmux -L "$server" "$@"; }
trap 'session kill-server 2>/dev/null; rm -rf "$work"' EXIT

# open COLUMNS ROWS COMMAND...: in a terminal of that size; its exit status comes to $work/status.
open() {
  local columns=$1 rows=$2 command
  shift 2
  printf -v command '%q ' "$@"
  session -f /dev/null -u new-session -d -x "$columns" -y "$rows" \
    "LC_ALL=C.UTF-8 $command 2>$work/err; echo \$? >$work/status; sleep 60"
}
press() { session send-keys "$@"; }
# wait_for PATTERN: until the screen, or what has scrolled off it, has it, at most 20 s.
wait_for() {
  local i
  for ((i = 0; i < 200; ++i)); do
    session capture-pane -p -S -500 >"$work/out"
    grep -qE -- "$1" "$work/out" && return
    sleep 0.1
  done
  fail "the screen never had: $1"
}
# gone PATTERN: waits until the screen has it no more.
gone() {
  local i
  for ((i = 0; i < 200; ++i)); do
    session capture-pane -p >"$work/out"
    grep -qE -- "$1" "$work/out" || return 0
    sleep 0.1
  done
  fail "the screen still has: $1"
}
wait_for_end() { # STATUS
  local i
  for ((i = 0; i < 200; ++i)); do
    [ -s "$work/status" ] && break
    sleep 0.1
  done
  [ "$(cat "$work/status")" = "$1" ] || fail "status $(cat "$work/status") instead of $1"
}

case_view_sizes() {
  local size columns rows
  for size in 80x24 200x60 40x10 20x3 5x1; do
    columns=${size%x*} rows=${size#*x}
    rm -f "$work/status"
    server=megakernel-$$-$size
    open "$columns" "$rows" "$megakernel" run --duration 50
    if [ "$rows" -ge 3 ]; then wait_for 'progressing'; else sleep 1; fi
    session capture-pane -p >"$work/out"
    if [ "$columns" -ge 40 ]; then wait_for 'Tenants 4'; fi
    [ "$(LC_ALL=C.UTF-8 wc -L <"$work/out")" -le "$columns" ] || fail "a line is too long"
    press q
    wait_for_end 0
    session kill-server
  done
}
case_view_keys() {
  open 100 30 "$megakernel" run --duration 50
  wait_for 'progressing'
  press '?'
  wait_for 'Any key closes this'
  press x
  wait_for 'live'
  press Space
  wait_for 'paused'
  local before
  before=$(head -n 1 "$work/out")
  sleep 1
  session capture-pane -p >"$work/out"
  [ "$(head -n 1 "$work/out")" = "$before" ] || fail "it goes on while paused"
  press .
  gone "^$before\$"
  press s
  wait_for 'Tenants 4 by rate'
  press Tab
  wait_for 'Opcodes [0-9]+ by rate'
  press 1
  press t
  wait_for 'Show only tenant'
  press 2 Enter
  gone '^ 3 +[0-9]'
  wait_for '^ 2 +[0-9]'
  press q
  wait_for_end 0
  wait_for '^idle: '  # the summary, on the ordinary screen
}
case_view_resized() {
  open 100 30 "$megakernel" run --duration 50
  wait_for 'progressing'
  session resize-window -x 44 -y 12
  wait_for '^ .*live$'
  session resize-window -x 180 -y 50
  wait_for '6 Launch'
  press q
  wait_for_end 0
}
case_view_ends_with_the_run() {
  open 100 30 "$megakernel" run --duration 1.5
  wait_for 'progressing'
  wait_for_end 0
  wait_for '^Conservation|holds'
}
case_view_without_colour_or_utf8() {
  open 80 24 env NO_COLOR=1 LC_ALL=C "$megakernel" run --duration 50
  wait_for 'progressing'
  session capture-pane -p -e >"$work/out"
  if grep -q $'\033\\[[0-9;]*3[1-7]m' "$work/out"; then fail "colour in spite of NO_COLOR"; fi
  if LC_ALL=C grep -q $'[\200-\377]' "$work/out"; then fail "UTF-8 in a terminal of ASCII"; fi
  press q
  wait_for_end 0
}
case_view_no_terminal() {
  expect 0 -- env TERM=xterm "$megakernel" run --duration 0.3
  if grep -q $'\033' "$work/out"; then fail "an escape without a terminal"; fi
  expect 1 'There is no terminal' -- "$megakernel" run --duration 0.3 --view always
  open 80 24 env TERM=dumb "$megakernel" run --duration 1.5
  wait_for '^ +time +slots/s'
  wait_for_end 0
}
case_watch_lines() {
  cp "$samples"/stalled/previous-control.bin "$work/control"
  cp "$samples"/stalled/previous-ring.bin "$work/ring"
  # A kernel that stands still, whose buffers are copied again and again all the same.
  for _ in {1..12}; do
    sleep 0.3
    cp "$samples"/stalled/control.bin "$work/c" && cp "$samples"/stalled/ring.bin "$work/r"
    mv "$work/c" "$work/control" && mv "$work/r" "$work/ring"
  done 2>/dev/null &
  expect 3 -- "$megakernel" watch --control "$work/control" --ring "$work/ring" \
    --interval 0.1 --duration 3
  shown 'dead$'  # its heartbeat never moves
  expect 1 'No such file' -- "$megakernel" watch --control "$work/none" --ring "$work/ring"
  expect 1 'no regular file' -- "$megakernel" watch --control "$work" --ring "$work/ring"
  head -c 100 "$work/control" >"$work/short"
  expect 1 -- "$megakernel" watch --control "$work/short" --ring "$work/ring"
  expect 2 -- "$megakernel" watch --control "$work/control"
}
case_watch_view() {
  cp "$samples"/stalled/control.bin "$work/control"
  cp "$samples"/stalled/ring.bin "$work/ring"
  open 100 30 "$megakernel" watch --control "$work/control" --ring "$work/ring" --interval 0.1
  wait_for 'owed'
  wait_for 'not rewritten for'
  rm "$work/ring"
  touch "$work/control"
  wait_for 'unreadable now'
  cp "$samples"/stalled/ring.bin "$work/ring"
  touch "$work/control" "$work/ring"
  gone 'unreadable now'
  press q
  wait_for_end 0
}

run_case

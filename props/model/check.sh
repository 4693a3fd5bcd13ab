#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Checks ring.pml with spin. Prints one line and exits 0 when the outcome is the one demanded, else 1.
#
#   check.sh ring | snapshot | liveness   the correct model holds, over its whole state space
#   check.sh finds BUG                    spin finds the planted bug, by the property it breaks
#   check.sh bugs                         lists the planted bugs
set -euo pipefail
model=$(cd "$(dirname "$0")" && pwd)/ring.pml

# Each bug: its name, the runs of the model that must find it (the first of them is made), and what pan
# must say, blanks aside.
bugs='
publish-without-release     ring     copied==copied_argument
done-without-release        ring     result[from_lane_work[1]]==runs[from_lane_work[1]]
claim-without-swap          ring     !(held[slot])
count-before-done           ring     done_count<=visible_dones
count-without-release       ring     done_count<=visible_dones
authorise-before-claim-only ring     assertionviolated(copied!=2)
copy-before-claim           ring     copied==content[slot]
refused-not-put-back        ring     content[0]==2
yield-not-resumed           ring     result[4]==2
reserve-without-swap        ring     !(written[slot])
status-before-generation    ring     !(held[slot])&&
reclaim-without-reservation ring     !(held[slot])&&
generation-without-release  ring     !(written[slot])
generation-used-again       let_go   !(held[slot])&&
generation-not-bumped       writer   snapshot_tenant==snapshot_argument
reserve-without-fence       writer   snapshot_tenant==snapshot_argument
snapshot-without-fence      writer   snapshot_tenant==snapshot_argument
lane-stays                  liveness acceptancecycle
'

fail() {
  echo "$name: $*"
  exit 1
}

# run_pan DEFINES: leaves pan's output in $work/out. Liveness needs more of pan than safety does.
run_pan() {
  local cc_flags=(-DSAFETY) pan_flags=()
  if [[ " $* " == *" -DSCAN "* ]]; then
    cc_flags=(-DNFAIR=3)
    pan_flags=(-a -f)
  fi
  (
    cd "$work"
    spin "$@" -a "$model" >spin.out 2>&1 || { cat spin.out; exit 1; }
    "${CC:-cc}" -w -O2 -DCOLLAPSE -DMEMLIM=1024 "${cc_flags[@]}" -o pan pan.c
    TIMEFORMAT=%U
    # The outcome is read from the output: pan's exit status does not tell.
    { time ./pan -m100000 "${pan_flags[@]}" >out 2>&1 || true; } 2>seconds
  ) || fail "spin or the compiler of its verifier failed"
}

# What a check explores: one list of macros a run.
runs_of() {
  case $1 in
    ring) printf '%s\n' "-DWORKS=4" "-DLET_GO -DWORKS=3" ;;
    let_go) echo "-DLET_GO -DWORKS=3" ;;
    snapshot) echo "-DREADER -DWORKS=3" ;;
    writer) echo "-DREADER -DWORKS=3 -DPRODUCERS=1 -DLANES=1" ;;
    liveness) printf '%s\n' "-DSCAN -DWORKS=3" "-DSCAN -DWORKS=4 -DPRODUCERS=1" ;;
  esac
}

figure() { sed -nE "s/$1/\1/p" "$work/out" | head -n 1; }
figures() {
  echo "$(figure '^ *([0-9.e+]+) states, stored.*') states," \
    "depth $(figure '.*depth reached ([0-9]+).*')," \
    "$(figure '^ *([0-9.]+)\ttotal actual memory usage') MB," \
    "$(<"$work/seconds") s of processor"
}

# A run whose search was cut short proves nothing, whatever it counts as errors.
demand_verified() {
  grep -q 'errors: 0$' "$work/out" || {
    grep '^pan:' "$work/out" || cat "$work/out"
    fail "an error was found or the search did not end"
  }
  if grep -qiE 'max search depth|search not completed|MEMLIM|out of memory|truncated|interrupted' "$work/out"; then
    cat "$work/out"
    fail "the search was cut short"
  fi
}

# A statement that no run reached was not checked. Named: the processes whose every statement counts.
demand_reached() {
  local missed
  missed=$(awk -v "processes=$1" '
    /^unreached in / { wanted = index(" " processes " ", " " $NF " "); next }
    /^\t.*\.pml:/ && wanted && !/"-end-"/' "$work/out")
  [[ -z $missed ]] || { echo "$missed"; fail "statements were never reached"; }
}

check() {
  local run
  while read -r run; do
    # shellcheck disable=SC2086  # a list of macros
    run_pan $run
    demand_verified
    # Runs with fewer works leave out the statements that those works need.
    case $run in
      -DWORKS=4) demand_reached "memory producer lane auditor init" ;;
      -DLET_GO*) demand_reached "producer" ;;
      -DREADER*) demand_reached "reader" ;;
    esac
    echo "$name: verified: $(figures) ($run)"
  done < <(runs_of "$1")
}

find_bug() {
  local bug=$1 where said run line
  read -r _ where said < <(grep "^$bug " <<<"$bugs") || fail "no such bug"
  read -r run < <(runs_of "$where")
  # shellcheck disable=SC2086
  run_pan $run "-DBUG_$(tr a-z- A-Z_ <<<"$bug")"
  grep -qE 'errors: [1-9]' "$work/out" || { cat "$work/out"; fail "spin did not find it"; }
  line=$(sed -n 's/^pan:1: //p' "$work/out")
  [[ $(tr -d ' ' <<<"$line") == *"$said"* ]] ||
    fail "an error was found, but by another property: $line; wanted: $said"
  echo "$name: found: $line; $(figures)"
}

name=model.${1:-}
if [[ ${1:-} == bugs ]]; then
  awk 'NF { print $1 }' <<<"$bugs"
  exit
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [[ $# == 2 && $1 == finds ]]; then
  name=model.finds.$2
  find_bug "$2"
elif [[ $# == 1 && " ring snapshot liveness " == *" $1 "* ]]; then
  check "$1"
else
  sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
  exit 1
fi

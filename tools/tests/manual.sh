#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# One test of the manual: manual.sh MEGAKERNEL SAMPLES CASE. Without CASE it lists the cases.
source "$(dirname "$0")/common.sh"
page=$(dirname "$0")/../../docs/man/megakernel.1

case_manual_is_sound() {
  command -v mandoc >"$work/out" || exit 77
  # Not the style notes: they depend on which other pages are installed.
  mandoc -Tlint -Wwarning "$page" >"$work/out" 2>"$work/err" || fail "mandoc finds fault"
  mandoc -Tutf8 "$page" >"$work/out" || fail "it does not render"
  shown 'MEGAKERNEL\(1\)'
}
case_manual_has_every_option() {
  command -v python3 >"$work/out" || exit 77
  python3 - "$megakernel" "$page" >"$work/out" 2>"$work/err" <<'END' || fail "the manual is stale"
import re, subprocess, sys

def ask(words):
    answer = subprocess.run([sys.argv[1], *words, '--help'], capture_output=True, text=True)
    assert answer.returncode == 0, (words, answer.stderr)
    options, commands, listing = set(), [], False
    for line in answer.stdout.splitlines():
        if not line.startswith(' '):
            listing = line == 'Subcommands:'
        elif listing:
            commands.append(line.split()[0])
        # An option stands at the left; what an example shows does not begin with a dash.
        elif found := re.match(r' {2,4}(-[-a-z0-9,]+)', line):
            options |= set(found[1].split(','))
    return options - {'-h', '--help', '--version'}, commands

helped = {}
def walk(words):
    options, commands = ask(words)
    helped[' '.join(words)] = options
    for command in commands:
        walk([*words, command])
walk([])
assert helped.pop('') == set() and len(helped) > 5, helped

written, section = {}, None
for line in open(sys.argv[2]):
    if line.startswith('.Ss megakernel '):
        section = line.split(maxsplit=2)[2].strip()
        assert section not in written, f'{section} stands twice in the manual'
        written[section] = set()
    elif line.startswith('.Sh '):
        section = None
    elif line.startswith('.It Fl ') and section is not None:
        # Options of one entry: `.It Fl o , Fl -output Ar FILE`.
        written[section] |= {'-' + o for o in re.findall(r'Fl (-?[-a-z0-9]+)', line)}

stale = 0
for command in sorted(helped.keys() | written.keys()):
    for option in sorted(helped.get(command, set()) - written.get(command, set())):
        print(f'megakernel {command} {option}: not in docs/man/megakernel.1', file=sys.stderr)
        stale += 1
    for option in sorted(written.get(command, set()) - helped.get(command, set())):
        print(f'megakernel {command} {option}: not in its --help', file=sys.stderr)
        stale += 1
    if (command in helped) != (command in written):
        print(f'megakernel {command}: in one of the manual and --help only', file=sys.stderr)
        stale += 1
sys.exit(stale != 0)
END
}
run_case

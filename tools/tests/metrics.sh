#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# One test of the metrics: metrics.sh MEGAKERNEL SAMPLES CASE. Without CASE it lists the cases.
source "$(dirname "$0")/common.sh"
export TSAN_OPTIONS=exitcode=99
docs=$(dirname "$0")/../../docs/metrics.md
command -v python3 >"$work/python" || exit 77
started=()
trap 'kill -KILL "${started[@]}" 2>/dev/null; wait; rm -rf "$work"' EXIT

# Starts COMMAND... and waits for the address it says: in $url then, its process in $server.
start() {
  "$@" >"$work/out" 2>"$work/err" </dev/null &
  server=$!
  started+=("$server")
  for _ in $(seq 200); do
    url=$(sed -n 's/.*The metrics are at \(http:.*\)/\1/p' "$work/out" "$work/err")
    [ -z "$url" ] || return 0
    kill -0 $server 2>/dev/null || fail "it ended"
    sleep 0.05
  done
  fail "it says no address"
}
stop() { # stop STATUS
  local got=0
  kill -TERM $server
  wait $server || got=$?
  [ "$got" = "$1" ] || fail "status $got instead of $1 at SIGTERM"
}

# Python with what the cases need; $url is its first argument.
python() { # python ARGUMENT... <PROGRAM
  { cat "$work/common.py"; cat; } >"$work/case.py"
  python3 "$work/case.py" "$url" "$@" >"$work/said" 2>&1 || fail "$(tail -n 5 "$work/said")"
}
cat >"$work/common.py" <<'END'
import json, re, sys, time, urllib.error, urllib.request

OPEN = 'application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5'

def get(url, accept='*/*', method='GET', data=None):
    asked = urllib.request.Request(url, data=data, method=method, headers={'Accept': accept})
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.headers, answer.read().decode()

def samples(page):
    """{series: value} of an OpenMetrics page, which must be one; families in page.families."""
    assert page.endswith('\n# EOF\n') and page.count('# EOF') == 1
    found, types, helps, current = {}, {}, set(), None
    for line in page.splitlines()[:-1]:
        if line.startswith('# '):
            _, what, name, text = line.split(' ', 3)
            if what == 'HELP':
                assert name not in helps, line
                helps.add(name)
            elif what == 'TYPE':
                assert name not in types and name in helps, line
                types[name] = text
                current = name
            else:
                assert what == 'UNIT' and name.endswith('_' + text), line
            continue
        series = re.fullmatch(r'([a-z0-9_]+)((?:\{[a-z_]+="[^"]*"(?:,[a-z_]+="[^"]*")*\})?) (\S+)',
                              line)
        assert series and series[1].startswith(current), line
        suffix = series[1][len(current):]
        assert suffix in {'counter': ['_total'], 'info': ['_info'],
                          'histogram': ['_bucket', '_sum', '_count']}.get(types[current], ['']), line
        key = series[1] + series[2]
        assert key not in found, line
        found[key] = float(series[3])
    samples.families |= types.keys()
    return found
samples.families = set()

def scrape(url):
    status, headers, page = get(url, OPEN)
    assert status == 200, (status, page)
    assert headers['Content-Type'] == 'application/openmetrics-text; version=1.0.0; charset=utf-8'
    return samples(page)
END

case_metrics_of_files() {
  local now=$work/now
  mkdir "$now"
  start "$megakernel" serve --listen 127.0.0.1:0 --control "$now/c" --ring "$now/r" --top 2
  python "$now" "$samples/stalled" <<'END'
import os, shutil
url, now, sample = sys.argv[1:]
gone = scrape(url)
assert gone['megakernel_up'] == 0 and gone['megakernel_lost_looks_total'] == 1
assert not any('slots' in s or 'health' in s for s in gone), gone

def put(control, ring):
    shutil.copy(f'{sample}/{control}', f'{now}/c')
    shutil.copy(f'{sample}/{ring}', f'{now}/r')
put('previous-control.bin', 'previous-ring.bin')
first = scrape(url)
assert first['megakernel_up'] == 1 and first['megakernel_ring_slots{status="done"}'] > 0
put('control.bin', 'ring.bin')
second = scrape(url)
assert second['megakernel_done_slots_total'] == 12850
assert second['megakernel_ring_slots{status="published"}'] == 37
assert second['megakernel_owed_slots'] == 41
assert sum(v for s, v in second.items() if s.startswith('megakernel_tenant_owed_slots')) == 41
assert sum(s.startswith('megakernel_tenant_owed_slots') for s in second) == 3
assert second['megakernel_tenant_claims_total{tenant="0"}'] == 12013
assert second['megakernel_opcode_owed_slots{opcode="memcpy"}'] == 30
# The same files are no second look, or a kernel would seem dead between two copies.
time.sleep(1.1)
third = scrape(url)
assert third['megakernel_health{megakernel_health="watching"}'] == 1, third
assert 1 < third['megakernel_snapshot_age_seconds'] < 60 and third['megakernel_stuck_slots'] >= 40
# A new copy, in which the kernel passes and nothing is drained: with a second's patience, stalled.
def write(word, value):
    with open(f'{now}/c', 'r+b') as control:
        control.seek(4 * word)
        control.write(value.to_bytes(4, 'little'))
write(142, 99999)
third = scrape(url)
assert third['megakernel_health{megakernel_health="stalled"}'] == 1, third
assert third['megakernel_quiet_seconds'] >= 1 and third['megakernel_oldest_stuck_seconds'] >= 1
assert third['megakernel_stuck_slots'] >= 40

# A kernel that is started anew goes on from where its counters were.
put('previous-control.bin', 'previous-ring.bin')
write(1, 7)  # done
anew = scrape(url)
assert anew['megakernel_done_slots_total'] == 12857 and anew['megakernel_restarts_total'] == 1
assert anew['megakernel_health{megakernel_health="watching"}'] == 1

os.truncate(f'{now}/r', 100)
cut = scrape(url)
assert cut['megakernel_up'] == 0 and len(cut) == len(gone), cut
os.remove(f'{now}/c')
assert scrape(url)['megakernel_up'] == 0
put('control.bin', 'ring.bin')
back = scrape(url)
assert back['megakernel_up'] == 1 and back['megakernel_lost_looks_total'] == 3
assert back['megakernel_done_slots_total'] >= 12857
END
  # A line when what is wrong changes, not one a scrape.
  grep -q 'now/r: The ring' "$work/err" || grep -qi 'ring' "$work/err" || fail "no word of the ring"
  [ "$(grep -c 'The files are read again' "$work/err")" = 2 ] || fail "not told that files are back"
  [ "$(wc -l <"$work/err")" = 5 ] || fail "another number of lines"
  stop 0
}
case_metrics_over_http() {
  start "$megakernel" serve --listen 127.0.0.1:0 \
    --control "$samples/stalled/control.bin" --ring "$samples/stalled/ring.bin"
  python <<'END'
url = sys.argv[1]
plain = 'text/plain; version=0.0.4; charset=utf-8'
for accept, wanted in [('*/*', plain), ('text/plain', plain), ('', plain), (';;,,=q;', plain),
                       ('application/openmetrics-text;q=0', plain),
                       ('application/openmetrics-text;q=0.1, text/plain;q=0.5', plain),
                       ('text/plain;q=0.5, APPLICATION/openmetrics-text; q=0.7', None)]:
    status, headers, page = get(url, accept)
    assert status == 200 and (headers['Content-Type'] == wanted) == (wanted is not None), accept
    assert ('# EOF' in page) == ('# UNIT' in page) == (wanted is None)
    assert int(headers['Content-Length']) == len(page.encode())
status, headers, page = get(url, method='HEAD')
assert status == 200 and page == '' and int(headers['Content-Length']) > 1000
root = url.removesuffix('metrics')
status, headers, page = get(root)
assert status == 200 and headers['Content-Type'].startswith('text/html') and '/metrics' in page
for wrong in ['metric', 'metrics/', 'metrics/x', '..', '%00', 'favicon.ico']:
    assert get(root + wrong)[0] in (400, 404), wrong
assert get(url, method='POST', data=b'x')[0] in (400, 404)
assert get(url, method='POST', data=b'x' * 100000)[0] in (400, 404, 413)

# Clients that say nothing, half of something or nonsense keep nobody else waiting for long.
import socket
host, port = url.split('/')[2].split(':')
idle = [socket.create_connection((host, int(port))) for _ in range(12)]
for i, s in enumerate(idle):
    s.sendall([b'', b'GET /met', b'\0\xff\r\n\r\n'][i % 3])
began = time.monotonic()
assert scrape(url)['megakernel_up'] == 1
assert time.monotonic() - began < 9, time.monotonic() - began
END
  python <<'END'
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(16) as pool:
    pages = list(pool.map(lambda _: scrape(sys.argv[1]), range(200)))
looks = sorted(p['megakernel_looks_total'] for p in pages)
assert len(set(looks)) == 200, 'each scrape is a look of its own'
END
  [ "$(find /proc/$server/task -mindepth 1 -maxdepth 1 | wc -l)" -le 8 ] || fail "many threads"
  stop 0
}
case_metrics_refusals() {
  local serve=("$megakernel" serve --control c --ring r)
  expect 2 HOST:PORT -- "${serve[@]}" --listen 9464
  expect 2 HOST:PORT -- "${serve[@]}" --listen ::1:0
  expect 2 '0, for any that is free, to 65535' -- "${serve[@]}" --listen 127.0.0.1:65536
  expect 2 HOST:PORT -- "${serve[@]}" --listen ''
  expect 2 'only once' -- "$megakernel" serve --control - --ring r
  expect 2 '--ring' -- "$megakernel" serve --control c
  expect 2 HOST:PORT -- "$megakernel" run --serve nowhere
  expect 1 'no.such.host.invalid:0 cannot be listened on' -- "${serve[@]}" \
    --listen no.such.host.invalid:0
  expect 1 '192.0.2.1:9464 cannot be listened on: Cannot assign' -- "${serve[@]}" \
    --listen 192.0.2.1:9464
  start "${serve[@]}" --listen 127.0.0.1:0
  local taken=${url#http://}
  taken=${taken%/metrics}
  cp "$work/out" "$work/said"
  expect 1 'cannot be listened on: Address already in use' -- "${serve[@]}" --listen "$taken"
  expect 1 'Address already in use' -- "$megakernel" run --duration 0.1 --serve "$taken"
  stop 0
  # The port is free again at once.
  start "${serve[@]}" --listen "$taken"
  stop 0
  expect 1 'output could not be written' -- sh -c '"$@" >&-' - "${serve[@]}" --listen 127.0.0.1:0
}
case_metrics_by_promtool() {
  command -v promtool >"$work/out" || exit 77
  start "$megakernel" run --duration 60 --serve 127.0.0.1:0
  python "$work/page" <<'END'
time.sleep(0.3)
open(sys.argv[2], 'w').write(get(sys.argv[1])[2])
END
  grep -q '^megakernel_publication_latency_seconds_count [1-9]' "$work/page" || fail "no latency"
  promtool check metrics <"$work/page" >"$work/lint" 2>&1 || fail "promtool: $(cat "$work/lint")"
  [ ! -s "$work/lint" ] || fail "promtool: $(cat "$work/lint")"
  stop 0
}
case_metrics_are_documented() {
  cp "$samples"/stalled/{control,ring}.bin "$work"
  start "$megakernel" serve --listen 127.0.0.1:0 --window-opcode 1001 \
    --control "$work/control.bin" --ring "$work/ring.bin"
  local files=$url
  local first=$server
  start "$megakernel" run --duration 60 --serve 127.0.0.1:0
  python "$files" "$docs" "$work/control.bin" <<'END'
import os
live, files, docs, control = sys.argv[1:]
scrape(files)
os.utime(control)  # another look, which finds slots stuck
scrape(files)
text = open(docs).read()
written = re.findall(r'^\| `(megakernel_[a-z_]+)(?:\{[^`]*\})?` \|', text, re.M)
assert len(written) == len(set(written)), 'a metric is described twice'
families = {re.sub('_(total|info)$', '', name) for name in written}
for _ in range(100):  # a run has some only once it has done something
    scrape(live)
    if families <= samples.families: break
    time.sleep(0.1)
assert families == samples.families, families ^ samples.families
END
  stop 0
  server=$first
  stop 0
}
# A real Prometheus scrapes a run, and knows afterwards what the run itself says.
case_metrics_by_prometheus() {
  command -v prometheus >"$work/out" || exit 77
  start "$megakernel" run --duration 60 --slots 512 --serve 127.0.0.1:0
  local target=${url#http://}
  cat >"$work/prometheus.yml" <<END
global: {scrape_interval: 1s, scrape_timeout: 1s}
scrape_configs:
  - job_name: megakernel
    static_configs: [{targets: ["${target%/metrics}"]}]
END
  local port
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  prometheus --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/tsdb" \
    --web.listen-address="127.0.0.1:$port" --log.level=warn >"$work/prometheus.log" 2>&1 &
  local prometheus=$!
  started+=("$prometheus")
  python "http://127.0.0.1:$port" "$work/prometheus.log" "$docs" <<'END'
url, api, log, docs = sys.argv[1:]

def ask(query):
    from urllib.parse import quote
    status, _, body = get(f'{api}/api/v1/query?query={quote(query)}')
    return json.loads(body)['data']['result'] if status == 200 else []

def value(query):
    result = ask(query)
    return float(result[0]['value'][1]) if result else None

before = scrape(url)
end = time.monotonic() + 12
while time.monotonic() < end:
    try:
        # Two scrapes, so that there is a rate.
        if value('count_over_time(up{job="megakernel"}[1m])') >= 3 and value('up') == 1: break
    except Exception:
        pass
    time.sleep(0.1)
else:
    raise SystemExit('nothing was scraped: ' + open(log).read() + json.dumps(ask('up')))

# Everything that a scrape shows is there, and nothing else.
known = {r['metric']['__name__'] for r in ask('{__name__=~"megakernel_.*"}')}
seen = {s.split('{')[0] for s in before}
assert not seen - known, seen - known
assert value('count({__name__=~"megakernel_.*"})') < 400
assert value('megakernel_up') == 1
assert value('sum(megakernel_ring_slots)') == 512
assert value('megakernel_ring_bytes') == 512 * 64
assert value('sum(megakernel_health)') == 1
assert value('rate(megakernel_done_slots_total[1m])') > 0
assert value('histogram_quantile(0.5, rate(megakernel_publication_latency_seconds_bucket[1m]))') > 0
build = ask('megakernel_build_info')[0]['metric']
assert build['target'] == 'cpu' and build['version'], build

# The questions of the documentation can be asked.
from urllib.parse import quote
questions = re.findall(r'^\| .* \| `(.*)` \|$', open(docs).read().split('## Questions')[1], re.M)
assert len(questions) == 7, questions
for question in questions:
    query = question.replace('\\|', '|')
    assert get(f'{api}/api/v1/query?query={quote(query)}')[0] == 200, query

# Counters lie between what was scraped before and what is after.
between = {s: value(s) for s in before if s.split('{')[0].endswith('_total')}
after = scrape(url)
assert len(between) > 30
for series, count in between.items():
    assert before[series] <= count <= after[series], (series, before[series], count, after[series])
assert after['megakernel_done_slots_total'] > before['megakernel_done_slots_total']
assert after['megakernel_restarts_total'] == 0 == after['megakernel_lost_looks_total']
END
  if grep -qiE 'append|parse|duplicate|out of order' "$work/prometheus.log"; then
    fail "$(cat "$work/prometheus.log")"
  fi
  kill -TERM $prometheus
  wait $prometheus
  stop 0
  shown 'Conservation'
}
run_case

# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Checks what `megakernel report` wrote against the lines of the same capture.

report_check.py html FILE LINES | perfetto FILE LINES
"""

import collections
import html.parser
import json
import re
import sys

VOID = {"meta", "br", "img", "input", "link", "hr"}
KNOWN = {
    "html", "head", "meta", "title", "style", "body", "main", "header", "span", "bdi", "button",
    "h1", "h2", "p", "b", "i", "ul", "li", "small", "dl", "dt", "dd", "div", "section", "figure",
    "figcaption", "svg", "g", "path", "table", "thead", "tbody", "tr", "th", "td", "script",
}


class Page(html.parser.HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.text, self.scripts, self.styles = [], [], [], []
        self.ids, self.paths, self.tags = [], [], collections.Counter()

    def handle_starttag(self, tag, attributes):
        self.handle_tag(tag, attributes)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_tag(tag, attributes)

    def handle_tag(self, tag, attributes):
        assert tag in KNOWN or "title" == tag, f"<{tag}> is none of the page's own"
        self.tags[tag] += 1
        for name, value in attributes:
            assert not name.startswith("on"), f"{name} on <{tag}>"
            assert name not in ("src", "href", "xlink:href", "action"), f"{name} on <{tag}>"
            assert not re.search(r"https?:|//|url\(|@import", value or "", re.I), (name, value)
            if name == "id":
                self.ids.append(value)
            if name == "d":
                self.paths.append(value)

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> in {self.open}"
        self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif self.open and self.open[-1] == "style":
            self.styles.append(data)
        else:
            self.text.append(data)


def read_lines(name):
    lines = [json.loads(line) for line in open(name, encoding="utf-8")]
    assert lines[0]["type"] == "capture", lines[0]
    return lines[0], [line for line in lines[1:] if line["type"] == "frame"]


def faults_seen(frames):
    """Each fault once, however many frames show it; lists of 64 are cut."""
    seen, before = [], []
    for frame in frames:
        for fault in frame["faults"]:
            if fault not in before:
                seen.append(fault)
        before = frame["faults"]
    return seen


def check_html(name, lines):
    head, frames = read_lines(lines)
    source = open(name, encoding="utf-8").read()  # strictly
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", source), "a control character"
    page = Page()
    page.feed(source)
    page.close()
    assert page.open == [], page.open
    assert len(page.ids) == len(set(page.ids)), "an id twice"
    assert page.tags["script"] == 2 and page.tags["style"] == 1, page.tags
    assert page.tags["h1"] == page.tags["main"] == page.tags["svg"] - page.tags["figure"] + 1 == 1
    assert "Content-Security-Policy" in source
    for style in page.styles:
        assert not re.search(r"url\(|@import|https?:", style), "the style asks the network"
    assert not re.search(r"https?:|fetch\(|XMLHttp|import\(", page.scripts[1]), "a script does"
    assert not any("nan" in path.lower() or "inf" in path.lower() for path in page.paths)
    text = "".join(page.text)

    first, last = frames[0], frames[-1]
    done = last["health"]["done"] - first["health"]["done"]
    grouped = f"{done:,} slot" + ("" if done == 1 else "s")
    for needed in (
        grouped,
        f"At the end the kernel is {last['health']['tracker_verdict']}",
        f"looks{len(frames):,}",
        f"{head['slots']:,} slot",
    ):
        assert needed in text, f"the page lacks {needed!r}"
    owed = last["occupancy"]["active"]
    assert (f"{owed:,} slot" if owed else "nothing is owed") in text
    most = max(frame["occupancy"]["active"] for frame in frames)
    assert f"Most owed{most:,} slot" in text
    faults = faults_seen(frames)
    assert f"Faults seen{len(faults):,}" in text, len(faults)
    for fault in faults[:8]:
        assert fault["fault_name"] in text and f"slot {fault['slot']}" in text, fault
    alarming = {"blocked", "stalled", "dead"}
    verdicts = [frame["health"]["tracker_verdict"] for frame in frames]
    alarms = sum(a in alarming and a != b for a, b in zip(verdicts, [None, *verdicts]))
    assert f"Alarms{alarms:,}" in text, alarms
    for tenant in last["tenants"][:20]:
        if tenant["tenant"] < 32 and tenant["claims"] != 0:
            assert f"tenant {tenant['tenant']}" in text, tenant
            assert f"{tenant['claims']:,}" in text, tenant
    if last["recommend"]:
        assert last["recommend"]["reasons"][0]["sentence"] in text

    data = json.loads(page.scripts[0])
    assert 0 < len(data["columns"]) <= 400 and sum(c[3] for c in data["columns"]) == len(frames)
    for plot in data["plots"].values():
        for series in plot["series"]:
            for values in (series["mean"], series.get("least", []), series.get("most", [])):
                assert len(values) in (0, len(data["columns"])), series["name"]
    # No spike is lost: the greatest value of every kind is among the columns.
    if len(frames) > 400:
        owed = {s["name"]: s for s in data["plots"]["owed"]["series"]}
        published = max(frame["occupancy"]["published"] for frame in frames)
        assert abs(max(owed["published"]["most"]) - published) <= published / 1000
        rate = {s["name"]: s for s in data["plots"]["throughput"]["series"]}["drained"]
        greatest = max(frame["done_per_second"] for frame in frames)
        assert abs(max(filter(None, rate["most"])) - greatest) <= greatest / 1000
    print(f"{len(source):,} bytes, {len(frames):,} looks, {len(data['columns'])} columns")


def check_perfetto(name, lines):
    _, frames = read_lines(lines)
    trace = json.load(open(name, encoding="utf-8"))
    events = trace["traceEvents"]
    named, depth, at = set(), collections.defaultdict(list), -1.0
    counters = collections.defaultdict(list)
    instants = 0
    for event in events:
        kind = event["ph"]
        assert isinstance(event["pid"], int)
        if kind == "M":
            assert event["args"]["name"]
            named.add((event["pid"], event["tid"]) if event["name"] == "thread_name" else event["pid"])
            continue
        assert event["ts"] >= at, "time goes back"
        at = event["ts"]
        assert event["pid"] in named, event
        if kind == "C":
            ((_, value),) = event["args"].items()
            counters[event["name"]].append(value)
            continue
        track = (event["pid"], event["tid"])
        assert track in named, event
        if kind == "B":
            assert event["name"]
            depth[track].append(event["ts"])
            assert len(depth[track]) == 1, "slices of a track overlap"
        elif kind == "E":
            assert event["ts"] > depth[track].pop(), event
        elif kind == "i":
            assert event["s"] == "t" and event["name"] and "slot" in event["args"]
            instants += 1
        else:
            raise AssertionError(kind)
    assert not any(depth.values()), "a slice does not end"
    last = (frames[-1]["at_ns"] - frames[0]["at_ns"]) / 1000
    assert at <= last
    assert instants == min(256, len(faults_seen(frames)))
    for status in ("published", "done"):
        values = [frame["occupancy"][status] for frame in frames]
        if max(values):
            assert max(counters[f"slots {status}"]) == max(values)
            assert min(counters[f"slots {status}"]) == min(values)
    greatest = max(frame["done_per_second"] for frame in frames)
    if len(frames) > 1:
        assert abs(max(counters["rate drained"]) - greatest) <= greatest * 1e-9
    print(f"{len(events):,} events")


if __name__ == "__main__":
    {"html": check_html, "perfetto": check_perfetto}[sys.argv[1]](*sys.argv[2:])

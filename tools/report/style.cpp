// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include <fmt/format.h>

#include <string>
#include <string_view>

#include "observe/frame.h"
#include "observe/histogram.h"
#include "render/layout.h"
#include "render/run.h"
#include "report/page.h"
#include "report/plot.h"
#include "report/report.h"
#include "view/canvas.h"

// Hues are those of Okabe and Ito, made darker or lighter for contrast; what matters most differs
// in lightness or in pattern, too.
namespace megakernel::tool::detail {
namespace {

constexpr std::string_view light_colours = R"css(
:root{color-scheme:light;
--page:#f3f5f8;--card:#fff;--text:#15202b;--dim:#566474;--line:#d9dfe7;--rule:#e6eaf0;
--idle:#93a1b1;--progressing:#0b8f69;--stopped:#5d6b7d;--watching:#4a90c9;
--blocked:#d98e00;--stalled:#cf4f00;--dead:#a3123f;
--fault:#c2185b;--unknown:#6a3d9a;--claimed:#0072b2;--wait_io:#8467bd;--yield:#12909a;
--requeue:#c46a9b;--published:#e69f00;--done:#a9bccd;--empty:#e4e9ef;--peak:#15202b;
--p50:#3b9bd6;--p90:#0067a5;--p99:#d97700;--max:#b3124f;
--c0:#0072b2;--c1:#d97700;--c2:#00875f;--c3:#a8438f;--c4:#3b9bd6;--c5:#86700a;--other:#7b8794;
--bar:#0072b2;--bar2:#93a1b1}
)css";

constexpr std::string_view dark_colours = R"css(color-scheme:dark;
--page:#0e1216;--card:#161c23;--text:#e6ebf1;--dim:#9aa8b7;--line:#2b343f;--rule:#232b35;
--idle:#6f7f91;--progressing:#22b68a;--stopped:#8797a9;--watching:#5aa9e6;
--blocked:#f0b030;--stalled:#ff7a2e;--dead:#f0467e;
--fault:#ff5c93;--unknown:#b58be0;--claimed:#3f9fe0;--wait_io:#a78bdc;--yield:#3cbfc9;
--requeue:#e59ac2;--published:#f0b030;--done:#465a6f;--empty:#222b35;--peak:#e6ebf1;
--p50:#7cc3f2;--p90:#3f9fe0;--p99:#f0a030;--max:#ff5c93;
--c0:#4aa5e8;--c1:#f0a030;--c2:#25c08f;--c3:#dd86c8;--c4:#9bd4f7;--c5:#cdb844;--other:#8b99a8;
--bar:#3f9fe0;--bar2:#56677a)css";

constexpr std::string_view layout = R"css(*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--text);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;
font-variant-numeric:tabular-nums;-webkit-text-size-adjust:100%}
main{max-width:1560px;margin:0 auto;padding:20px clamp(12px,2.5vw,32px) 48px}
header{display:flex;gap:12px;align-items:baseline;flex-wrap:wrap;color:var(--dim);font-size:13px}
header bdi{color:var(--text);font-weight:600;overflow-wrap:anywhere}
button{font:inherit;color:inherit;background:none;border:1px solid var(--line);border-radius:6px;
cursor:pointer;padding:2px 10px}
#theme{margin-left:auto}
[hidden]{display:none!important}
h1{font-size:clamp(20px,2.4vw,30px);line-height:1.25;font-weight:650;margin:14px 0 6px;
max-width:62ch;text-wrap:balance}
h1 .state{color:var(--ink)}
.lead{margin:0 0 18px;color:var(--dim);max-width:95ch}
.lead b{color:var(--text);font-weight:600}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(148px,1fr));gap:12px;margin:0 0 14px;
padding:0}
.tiles>div{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:10px 14px}
.tiles dt{color:var(--dim);font-size:12.5px}
.tiles dd{margin:0;font-size:22px;font-weight:650;line-height:1.3;white-space:nowrap}
.tiles dd+dd{font-size:12.5px;font-weight:400;color:var(--dim);white-space:normal;line-height:1.4}
.tiles .bad dd:first-of-type{color:var(--stalled)}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,520px),1fr));gap:14px}
.card,.plot{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:14px 16px;
margin:0 0 14px;min-width:0}
.grid{margin-bottom:14px}.grid>*{margin:0}.grid>:last-child:nth-child(odd){grid-column:1/-1}
h2{font-size:15px;margin:0;font-weight:650}
figcaption p,.note{margin:0;color:var(--dim);font-size:12.5px;line-height:1.45}
.legend{list-style:none;margin:8px 0 10px;padding:0;display:flex;flex-wrap:wrap;gap:2px 14px;
font-size:12.5px}
.legend li{display:flex;align-items:center;gap:6px;white-space:nowrap;border-radius:4px}
.legend small{color:var(--dim);font-size:inherit}
.legend i{width:11px;height:11px;border-radius:2px;background:var(--ink);flex:none;
box-shadow:inset 0 0 0 1px rgb(128 128 128/.35)}
.legend i.stroke{height:0;border-top:3px solid var(--ink);border-radius:0;background:none;
width:16px;box-shadow:none}
.legend i.dashed{border-top-style:dashed}
.js .plot .legend li{cursor:pointer;user-select:none}
.js .plot .legend li:focus-visible,.canvas:focus-visible{outline:2px solid var(--claimed);outline-offset:2px}
.legend li.off{opacity:.4;text-decoration:line-through}
.frame{display:grid;grid-template-columns:auto 1fr;column-gap:8px}
.ys{position:relative;height:210px;min-width:52px;font-size:11.5px;color:var(--dim)}
.ys span{position:absolute;right:0;transform:translateY(50%);white-space:nowrap;line-height:1}
.canvas{position:relative;height:210px;border-bottom:1px solid var(--line)}
.canvas svg{position:absolute;inset:0;width:100%;height:100%;display:block;overflow:visible}
.xs{grid-column:2;position:relative;height:20px;font-size:11.5px;color:var(--dim);margin-top:4px}
.xs span{position:absolute;transform:translateX(-50%);white-space:nowrap;line-height:1.4}
.xs span:first-child{transform:none}
.xs .end{transform:translateX(-100%)}
svg path{vector-effect:non-scaling-stroke}
.rules path{stroke:var(--rule);stroke-width:1}
.area{fill:var(--ink);stroke:var(--card);stroke-width:.5}
.line{fill:none;stroke:var(--ink);stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}
.line.dashed{stroke-dasharray:6 5;stroke-linecap:butt}
.band{fill:var(--ink);opacity:.16}
.mark{stroke:var(--ink);stroke-width:2;fill:none}
.bin{fill:var(--bar2)}.bin:hover{fill:var(--bar)}
.cross{position:absolute;top:0;bottom:0;width:0;border-left:1px solid var(--text);opacity:.55;
pointer-events:none}
#tip{position:fixed;z-index:9;pointer-events:none;background:var(--card);color:var(--text);
border:1px solid var(--line);border-radius:8px;box-shadow:0 4px 18px rgb(0 0 0/.22);padding:8px 10px;
font-size:12.5px;line-height:1.45;max-width:min(320px,92vw)}
#tip table{width:auto}#tip td{padding:0 0 0 10px;border:0;text-align:right;white-space:nowrap}
#tip td:first-child{padding:0;text-align:left}
#tip i{display:inline-block;width:9px;height:9px;border-radius:2px;background:var(--ink);margin-right:6px}
#tip small{color:var(--dim)}
.lane{display:grid;grid-template-columns:70px 1fr;align-items:center;margin-top:8px;font-size:12.5px}
.lane>b{font-weight:400;color:var(--dim)}
.track{position:relative;height:calc(var(--rows,1)*16px + 2px);background:var(--rule);border-radius:4px}
.track.health{height:30px;overflow:hidden}
.track>span{position:absolute;top:calc(var(--row,0)*16px + 2px);height:14px;min-width:2px;border-radius:2px;
background:var(--ink)}
.track.health>span{top:0;height:100%;border-radius:0}
.track>span.tick{width:3px;margin-left:-1px}
.state-blocked{background-image:repeating-linear-gradient(90deg,transparent 0 5px,rgb(0 0 0/.22) 5px 7px)!important}
.state-stalled{background-image:repeating-linear-gradient(45deg,transparent 0 5px,rgb(0 0 0/.25) 5px 8px)!important}
.state-dead{background-image:repeating-linear-gradient(135deg,transparent 0 3px,rgb(0 0 0/.4) 3px 6px)!important}
.lane .xs{margin:2px 0 0;grid-column:auto}
.scroll{overflow-x:auto;margin-top:8px}
table{border-collapse:collapse;width:100%;font-size:13px}
th,td{text-align:right;padding:4px 0 4px 14px;border-top:1px solid var(--rule);white-space:nowrap}
th{font-weight:400;color:var(--dim);border-top:0}
th:first-child,td:first-child,th.text,td.text{text-align:left}
th:first-child,td:first-child{padding-left:0}
td .bar{display:inline-block;width:70px;height:9px;margin-left:8px;border-radius:2px;background:var(--rule);
vertical-align:baseline}
td .bar i{display:block;height:100%;border-radius:2px;background:var(--bar);min-width:1px}
.why{margin:8px 0 0;padding:0;font-size:13.5px;display:grid;
grid-template-columns:max-content 1fr;gap:4px 16px}
.why dt{color:var(--dim)}.why dd{margin:0;max-width:85ch;overflow-wrap:anywhere}
.warnings{margin:0 0 14px;padding:10px 16px 10px 34px;background:var(--card);border:1px solid var(--line);
border-left:4px solid var(--blocked);border-radius:8px;font-size:13.5px}
@media (max-width:640px){.minor{display:none}.lane{grid-template-columns:1fr}.lane>b:empty{display:none}
.tiles{grid-template-columns:1fr 1fr;gap:8px}.tiles>div{padding:8px 10px}.tiles dd{font-size:19px}
.card,.plot{padding:12px}.ys{min-width:46px}.why{grid-template-columns:1fr;gap:0}.why dd{margin-bottom:8px}
.frame{column-gap:6px}}
@media print{body{background:#fff;font-size:12px}
main{padding:0;max-width:none}#theme,#tip,.cross{display:none!important}
.card,.plot,.tiles>div{break-inside:avoid;border-color:#bbb}.grid{grid-template-columns:1fr 1fr}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
)css";

}  // namespace

std::string_view report_style() noexcept {
  // Paper is light. A theme that was asked for is stronger than the browser's.
  static const std::string whole = fmt::format(
      "{0}@media screen and (prefers-color-scheme:dark){{:root:not([data-theme=light]){{{1}}}}}\n"
      "@media screen{{:root[data-theme=dark]{{{1}}}}}{2}",
      light_colours, dark_colours, layout);
  return whole;
}

std::string_view report_script() noexcept {
  return R"js(
(() => {
'use strict';
const root = document.documentElement;
root.classList.add('js');
const data = JSON.parse(document.getElementById('data').textContent);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];

const theme = document.getElementById('theme');
const preferred = matchMedia('(prefers-color-scheme: dark)');
const dark = () => root.dataset.theme ? root.dataset.theme === 'dark' : preferred.matches;
const label = () => { theme.textContent = dark() ? 'Light' : 'Dark'; };
const fromHash = () => {
  const asked = location.hash.slice(1);
  if (asked === 'dark' || asked === 'light') root.dataset.theme = asked;
  label();
};
theme.hidden = false;
theme.onclick = () => { root.dataset.theme = dark() ? 'light' : 'dark'; label(); };
preferred.onchange = label;
addEventListener('hashchange', fromHash);
fromHash();

const short = v => {
  for (const [size, unit] of [[1e15, ' P'], [1e12, ' T'], [1e9, ' G'], [1e6, ' M'], [1e4, ' k']])
    if (Math.abs(v) >= size * 0.99995) return +(v / (size === 1e4 ? 1e3 : size)).toPrecision(3) + unit;
  return String(+v.toPrecision(Math.abs(v) >= 1000 ? 4 : 3));
};
const duration = v => {
  for (const [size, unit] of [[1e9, ' s'], [1e6, ' ms'], [1e3, ' µs']])
    if (v >= size) return +(v / size).toPrecision(3) + unit;
  return Math.round(v) + ' ns';
};
const text = {count: short, rate: v => short(v) + '/s', duration, index: v => v.toFixed(3)};
const clock = s => s < 1 ? duration(s * 1e9) : s < 120 ? +s.toPrecision(4) + ' s' :
    s < 7200 ? Math.floor(s / 60) + ':' + String(Math.floor(s % 60)).padStart(2, '0') + ' min' :
    Math.floor(s / 3600) + ':' + String(Math.floor(s % 3600 / 60)).padStart(2, '0') + ' h';

const canvases = all('.canvas[data-plot]');
const tip = document.createElement('div');
tip.id = 'tip';
tip.hidden = true;
document.body.append(tip);
const crosses = canvases.map(canvas => {
  const cross = document.createElement('div');
  cross.className = 'cross';
  cross.hidden = true;
  canvas.append(cross);
  return cross;
});
const off = {};
for (const canvas of canvases) off[canvas.dataset.plot] = new Set();

const nearest = x => {
  let low = 0, high = data.columns.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (data.columns[middle][0] < x) low = middle + 1; else high = middle;
  }
  return low > 0 && x - data.columns[low - 1][0] < data.columns[low][0] - x ? low - 1 : low;
};
const element = (name, content) => {
  const made = document.createElement(name);
  if (content !== undefined) made.textContent = content;
  return made;
};
const inks = (canvas, s) => canvas.querySelector(`g[data-series="${s}"]`).style.getPropertyValue('--ink');

const show = (canvas, at, left, top) => {
  const plot = data.plots[canvas.dataset.plot];
  const [place, from, to, looks] = data.columns[at];
  for (const cross of crosses) { cross.hidden = false; cross.style.left = place * 100 + '%'; }
  tip.replaceChildren();
  tip.append(element('b', looks > 1 ? clock(from) + ' to ' + clock(to) : clock(from)));
  if (looks > 1) tip.append(element('small', ' ' + looks + ' looks'));
  const table = element('table');
  const order = plot.series.map((_, i) => i);
  if (plot.stacked) order.reverse();
  for (const s of order) {
    const series = plot.series[s];
    const mean = series.mean[at];
    if (off[canvas.dataset.plot].has(s) || mean === null) continue;
    const row = element('tr'), name = element('td'), swatch = element('i');
    swatch.style.setProperty('--ink', inks(canvas, s));
    name.append(swatch, series.name);
    row.append(name, element('td', text[plot.unit](mean)));
    if (looks > 1 && series.least) {
      const range = element('td');
      range.append(element('small', text[plot.unit](series.least[at]) + ' – ' +
                                    text[plot.unit](series.most[at])));
      row.append(range);
    }
    table.append(row);
  }
  tip.append(table);
  tip.hidden = false;
  const box = tip.getBoundingClientRect();
  tip.style.left = Math.max(4, left + 16 + box.width > innerWidth ? left - 16 - box.width : left + 16) + 'px';
  tip.style.top = Math.max(4, Math.min(top + 12, innerHeight - box.height - 4)) + 'px';
};
const hide = () => { tip.hidden = true; for (const cross of crosses) cross.hidden = true; };

for (const canvas of canvases) {
  let at = 0;
  canvas.tabIndex = 0;
  canvas.addEventListener('pointermove', event => {
    const box = canvas.getBoundingClientRect();
    at = nearest((event.clientX - box.left) / box.width);
    show(canvas, at, event.clientX, event.clientY);
  });
  canvas.addEventListener('pointerleave', hide);
  canvas.addEventListener('blur', hide);
  canvas.addEventListener('keydown', event => {
    const step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
    if (event.key === 'Escape') hide();
    if (!step) return;
    event.preventDefault();
    at = Math.max(0, Math.min(data.columns.length - 1, at + step));
    const box = canvas.getBoundingClientRect();
    show(canvas, at, box.left + data.columns[at][0] * box.width, box.top);
  });
}

// A stack closes up where a part of it is left out.
const restack = canvas => {
  const plot = data.plots[canvas.dataset.plot], hidden = off[canvas.dataset.plot];
  const below = data.columns.map(() => 0);
  plot.series.forEach((series, s) => {
    if (series.over || hidden.has(s)) return;
    const upper = [], lower = [];
    series.mean.forEach((mean, i) => {
      if (mean === null) return;
      const x = (data.columns[i][0] * 1000).toFixed(1);
      const y = v => (300 - Math.min(1, v / plot.high) * 300).toFixed(1);
      lower.unshift(x + ' ' + y(below[i]));
      below[i] += mean;
      upper.push(x + ' ' + y(below[i]));
    });
    canvas.querySelector(`g[data-series="${s}"] path`).setAttribute('d',
        upper.length ? 'M' + upper.concat(lower).join('L') + 'Z' : '');
  });
};
for (const canvas of canvases) {
  const id = canvas.dataset.plot;
  for (const item of all('.legend li', document.getElementById(id))) {
    const s = +item.dataset.series;
    item.tabIndex = 0;
    item.setAttribute('role', 'button');
    item.setAttribute('aria-pressed', 'true');
    const toggle = () => {
      const now = !off[id].delete(s);
      if (now) off[id].add(s);
      item.classList.toggle('off', now);
      item.setAttribute('aria-pressed', String(!now));
      canvas.querySelector(`g[data-series="${s}"]`).toggleAttribute('hidden', now);
      canvas.querySelector(`g[data-series="${s}"]`).style.display = now ? 'none' : '';
      if (data.plots[id].stacked) restack(canvas);
    };
    item.addEventListener('click', toggle);
    item.addEventListener('keydown', event => {
      if (event.key !== 'Enter' && event.key !== ' ') return;
      event.preventDefault();
      toggle();
    });
  }
}
})();
)js";
}

}  // namespace megakernel::tool::detail

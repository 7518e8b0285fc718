// The preference plane: how both answers' log-probabilities have moved since the base, one trajectory a method.
//
// x is the chosen answer, y the rejected one. Where a method drains both, its curve bends back to the left. On a dotted line
// the margin, x minus y, which DPO scales by beta, is the same.

import { byId, now } from "./page_run.js";
import { node, written, brief, ticks } from "./page_svg.js";

const FRAME = { left: 44, right: 310, top: 14, bottom: 212 };
const CHOSEN = "chosen_logp", REJECTED = "rejected_logp";

export function plane(methods) {
  const svg = byId("chart-plane"), { left, right, top, bottom } = FRAME;
  svg.replaceChildren();
  const xs = span(methods, CHOSEN), ys = span(methods, REJECTED);
  const x = value => left + (right - left) * (value - xs[0]) / (xs[1] - xs[0]);
  const y = value => bottom - (bottom - top) * (value - ys[0]) / (ys[1] - ys[0]);
  const clip = node("clipPath", { id: "frame" }, node("defs", {}, svg));
  node("rect", { x: left, y: top, width: right - left, height: bottom - top }, clip);
  const margins = ticks(xs[0] - ys[1], xs[1] - ys[0]).map(margin => margined(margin, { xs, ys, x, y }));
  node("path", { class: "margin", d: margins.map(({ d }) => d).join(""), "clip-path": "url(#frame)" }, svg);
  axes(svg, { xs, ys, x, y });
  for (const m of methods) {
    const points = m.steps.map((_, k) => `${x(m.pair[CHOSEN].mean[k]).toFixed(1)},${y(m.pair[REJECTED].mean[k]).toFixed(1)}`);
    node("polyline", { points: points.join(" "), class: `line hue${m.hue}`, style: `stroke-dasharray:${m.dash}`, "data-curve": m.name }, svg);
  }
  node("circle", { cx: x(0), cy: y(0), r: 3.5, class: "origin" }, svg);
  named(svg, margins);
  for (const m of methods) {
    const k = now(m), c = m.pair[CHOSEN], r = m.pair[REJECTED], px = x(c.mean[k]), py = y(r.mean[k]);
    const whiskers = `M${x(c.low[k])} ${py}H${x(c.high[k])}M${px} ${y(r.low[k])}V${y(r.high[k])}`;
    node("path", { class: `whisker hue${m.hue}`, d: whiskers, "clip-path": "url(#frame)" }, svg);
    const place = `translate(${px.toFixed(1)} ${py.toFixed(1)}) scale(5)`;
    node("path", { class: `dot hue${m.hue}`, d: m.marker, transform: place, "data-dot": m.name }, svg);
  }
  svg.setAttribute("aria-label", methods.map(m => `${m.title} at update ${m.steps[now(m)]}: the chosen answer's log-probability ` +
    `has changed by ${written(m.pair[CHOSEN].mean[now(m)])} nats, the rejected one's by ${written(m.pair[REJECTED].mean[now(m)])}`).join("; "));
}

// The range of the means of all updates, so that nothing moves but the markers.
function span(methods, part) {
  const values = [0, ...methods.flatMap(m => m.pair[part].mean)];
  const low = Math.min(...values), high = Math.max(...values), room = .06 * (high - low || 1);
  return [low - room, high + room];
}

function axes(svg, { xs, ys, x, y }) {
  const { left, right, top, bottom } = FRAME, text = (at, words) => node("text", at, svg, words);
  node("path", { class: "axis", d: `M${left} ${y(0)}H${right}M${x(0)} ${top}V${bottom}` }, svg);
  for (const value of ticks(...xs)) text({ x: x(value), y: bottom + 13, "text-anchor": "middle" }, brief(value));
  for (const value of ticks(...ys)) text({ x: left - 4, y: y(value) + 4, "text-anchor": "end" }, brief(value));
  text({ x: right, y: bottom + 28, "text-anchor": "end" }, "chosen answer, nats");
  text({ x: left, y: bottom + 28 }, "○ base  ··· equal margin");
  text({ x: 11, y: top + 2, transform: `rotate(-90 11 ${top + 2})`, "text-anchor": "end" }, "rejected answer, nats");
}

// A line of equal margin, and its number where it leaves the frame at the right or below.
function margined(margin, { xs, ys, x, y }) {
  const { right, top, bottom } = FRAME, atRight = xs[1] - margin, below = ys[0] + margin;
  const d = `M${x(xs[0])} ${y(xs[0] - margin)}L${x(xs[1])} ${y(atRight)}`;
  if (atRight > ys[0] && y(atRight) > top + 10) return { d, margin, x: right - 2, y: y(atRight) - 3, anchor: "end" };
  if (below > xs[0] && x(below) < right - 40) return { d, margin, x: x(below) + 8, y: bottom - 4, anchor: "start" };
  return { d };
}

// Numbers that would touch one that is there already are left out.
function named(svg, margins) {
  const there = [];
  for (const { margin, x, y, anchor } of margins) {
    if (margin === undefined || there.some(other => Math.abs(other.x - x) < 34 && Math.abs(other.y - y) < 12)) continue;
    there.push({ x, y });
    node("text", { x, y, "text-anchor": anchor, class: "named" }, svg, brief(margin));
  }
}

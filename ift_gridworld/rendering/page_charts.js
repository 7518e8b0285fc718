// Curves over the updates: means over seeds, with their intervals.

import { byId, run, shown, now, update } from "./page_run.js";
import { node, element, sample, escaped, written, brief, ticks } from "./page_svg.js";
import { plane } from "./page_plane.js";

const WIDE = 320, HIGH = 174, LEFT = 44, RIGHT = 310, TOP = 8, BELOW = 144;

export function prepareCharts() {
  for (const { name, title } of run.charts) byId("charts").append(figure(name, title, HIGH));
  if (run.methods.some(m => m.pair)) byId("charts").append(figure("plane", "log-probability of both answers, change since the base", 250));
}

function figure(name, title, high) {
  const box = element("figure");
  element("figcaption", "", title, box);
  node("svg", { class: "chart", id: `chart-${name}`, viewBox: `0 0 ${WIDE} ${high}`, role: "img" }, box);
  return box;
}

export function charts() {
  const methods = shown();
  byId("lines").innerHTML = methods.map(m => `<span>${sample(m)}${escaped(m.title)}</span>`).join("");
  const seeds = [...new Set(methods.map(m => m.seeds))];
  byId("averaged").textContent = seeds.join() === "1" ? "one seed" :
    seeds.length === 1 ? `mean of ${seeds[0]} seeds, 95 % interval` : `means of ${seeds.join(" and ")} seeds, 95 % intervals`;
  run.charts.forEach(chart => curves(chart, methods));
  if (byId("chart-plane")) plane(methods.filter(m => m.pair));
}

function curves({ name, title, limit }, methods) {
  const svg = byId(`chart-${name}`), end = run.updates.at(-1) || 1;
  svg.replaceChildren();
  const values = methods.flatMap(m => [...m.curves[name].high, ...m.curves[name].low]);
  const [bottom, top] = limit ? [0, limit] : [Math.min(0, ...values), Math.max(...values) * 1.08 || 1];
  const x = step => LEFT + (RIGHT - LEFT) * Math.sqrt(step / end), y = value => BELOW - (BELOW - TOP) * (value - bottom) / (top - bottom);
  for (const value of ticks(bottom, top)) {
    node("line", { x1: LEFT, x2: RIGHT, y1: y(value), y2: y(value), class: "axis" }, svg);
    node("text", { x: LEFT - 4, y: y(value) + 4, "text-anchor": "end" }, svg, brief(value));
  }
  for (const tick of run.ticks) node("text", { x: x(tick), y: BELOW + 13, "text-anchor": tick === end ? "end" : "middle" }, svg, tick);
  node("text", { x: RIGHT, y: BELOW + 27, "text-anchor": "end" }, svg, "update, on a square-root axis");
  node("line", { x1: x(update()), x2: x(update()), y1: TOP, y2: BELOW, class: "cursor" }, svg);
  const best = methods.map(m => m.optimum[name]).find(value => value !== undefined);
  if (best !== undefined) node("line", { x1: LEFT, x2: RIGHT, y1: y(best), y2: y(best), class: "best" }, svg);
  for (const m of methods) {
    const c = m.curves[name], group = node("g", { class: `hue${m.hue}`, "data-curve": m.name }, svg);
    const points = heights => m.steps.map((step, k) => `${x(step).toFixed(1)},${y(heights[k]).toFixed(1)}`);
    node("polygon", { points: [...points(c.high), ...points(c.low).reverse()].join(" "), class: "band" }, group);
    node("polyline", { points: points(c.mean).join(" "), class: "line", style: `stroke-dasharray:${m.dash}` }, group);
  }
  for (const m of methods) {
    const k = now(m), place = `translate(${x(m.steps[k]).toFixed(1)} ${y(m.curves[name].mean[k]).toFixed(1)}) scale(5)`;
    node("path", { class: `dot hue${m.hue}`, d: m.marker, transform: place, "data-dot": m.name }, svg);
  }
  svg.setAttribute("aria-label", methods.map(m => {
    const c = m.curves[name], k = now(m), range = m.seeds > 1 ? ` [${written(c.low[k])}, ${written(c.high[k])}]` : "";
    return `${title} of ${m.title} at update ${m.steps[k]}: ${written(c.mean[k])}${range}`;
  }).join("; "));
}

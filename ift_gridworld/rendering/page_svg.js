// Elements, text and numbers.

import { row, column } from "./page_run.js";

export function node(name, attributes = {}, parent = null, text = null) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

export function element(name, className = "", text = "", parent = null) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

// Names are text: what stands in a string of HTML is escaped.
const SIGNS = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
export const escaped = name => String(name).replace(/[&<>"']/g, sign => SIGNS[sign]);

// Three decimals, fewer of large numbers.
export function written(x) {
  const size = Math.abs(x), digits = size < 10 ? 3 : size < 100 ? 2 : size < 1000 ? 1 : 0;
  const text = size.toFixed(digits);
  return (x < 0 && Number(text) > 0 ? "−" : "") + text;
}
// At most three decimals.
export const plain = x => String(Number(x.toFixed(3))).replace("-", "−");
// As few digits as say it, for ticks.
export const brief = x => (x < 0 ? "−" : "") + String(Number(Math.abs(x).toPrecision(2)));

// A few round numbers within an interval.
export function ticks(low, high) {
  const rough = (high - low) / 4, power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map(part => part * power).find(part => part >= .7 * rough), values = [];
  for (let i = Math.ceil(low / step); i * step <= high; i++) values.push(i * step);
  return values;
}

// A method's marker on its line, as charts draw it.
export function sample(m) {
  return `<svg class="sample hue${m.hue}" viewBox="0 0 34 14" aria-hidden="true">` +
    `<path class="line" style="stroke-dasharray:${m.dash}" d="M0 7H34"/><path class="dot" transform="translate(17 7) scale(5)" d="${m.marker}"/></svg>`;
}

// ---- arrows and marks, in units of a hundredth of a tile ----

export function arrow(x, y, dx, dy, p, through) {
  const [tip, shaft, head] = through ? [10 + 30 * p, 2.5 + 3.5 * p, 8 + 14 * p] : [6 + 38 * p, 1.4 + 2.4 * p, 3.5 + 7.5 * p];
  const neck = tip - Math.min(1.45 * head, .7 * tip), start = through ? -tip : 5;
  const corners = [[start, -shaft], [neck, -shaft], [neck, -head], [tip, 0], [neck, head], [neck, shaft], [start, shaft]];
  return "M" + corners.map(([u, v]) => `${(x + u * dx - v * dy).toFixed(1)} ${(y + u * dy + v * dx).toFixed(1)}`).join("L") + "Z";
}

// An action that is no move: a disc for the first, a square for the second, growing with its probability.
export function stay(x, y, p, nth) {
  const r = (nth ? 30 : 34) * p;
  return nth ? `M${x - r} ${y - r}h${2 * r}v${2 * r}h${-2 * r}Z` : `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0`;
}

export const diamond = (x, y, r) => `M${x} ${y - r}L${x + r} ${y}L${x} ${y + r}L${x - r} ${y}Z`;

export const MARKS = {
  passenger: (x, y) => `M${x + 14} ${y + 95}L${x + 28} ${y + 50}H${x + 72}L${x + 86} ${y + 95}Z M${x + 30} ${y + 27}a20 20 0 1 0 40 0a20 20 0 1 0 -40 0`,
  destination: (x, y) => `M${x + 14} ${y + 97}V${y + 5}H${x + 23}L${x + 95} ${y + 33}L${x + 23} ${y + 61}V${y + 97}Z`,
};

export const goalBox = (x, y) => `M${x + 22} ${y + 34}h56v14h-4v32h-48v-32h-4z M${x + 50} ${y + 34}q-26 -4 -20 -18q14 -6 20 18q6 -24 20 -18q6 14 -20 18`;

// Through the tiles, with a gap where it goes on in another small map.
export const trace = path => path.map((s, i) => {
  const near = i && Math.max(Math.abs(row(s) - row(path[i - 1])), Math.abs(column(s) - column(path[i - 1]))) <= 1;
  return `${near ? "L" : "M"}${100 * column(s) + 50} ${100 * row(s) + 50}`;
}).join("");

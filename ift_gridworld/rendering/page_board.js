// A board: the map of the environment under one method. What never changes is drawn here, once.

import { run, lake, letter, row, column, open, nameOf, kindOf, standing } from "./page_run.js";
import { node, element, sample, escaped, goalBox, MARKS } from "./page_svg.js";

const STATIONS = "rgyb";

export function board(m) {
  const box = element("div", "board"), heading = element("h2", "", "", box);
  heading.innerHTML = `${sample(m)}${escaped(m.title)}`;
  const long = m.full.split(" · ").filter(part => part !== m.title).join(" · ");
  if (long) element("small", "muted", long, heading);
  const view = { viewBox: `0 0 ${100 * lake.columns} ${100 * lake.rows}`, role: "grid", "aria-label": `map under ${m.title}` };
  const marked = Object.keys(lake.marks).length ? "marked" : "";
  const svg = node("svg", { ...view, class: marked, "aria-rowcount": lake.rows, "aria-colcount": lake.columns }, box);
  const b = { m, box, svg, cells: [], signs: [] };
  ground(svg);
  cells(b);
  landmarks(svg);
  const rejected = outlines(m.rejected, 14), shown = outlines(m.shown, 8);
  node("path", { class: "rejected", d: rejected }, svg);
  node("path", { class: "shown", d: shown }, svg);
  for (const s of standing.values()) {
    if (letter(s) !== "S") continue;
    const x = 100 * column(s), y = 100 * row(s);
    node("text", { x: x + 20, y: y + 41, class: "letter" }, svg, "S");
    node("circle", { cx: x + 50, cy: y + 50, r: 44, class: "ring" }, svg);
  }
  b.arrows = node("path", { class: "arrows" }, svg);
  b.ties = node("path", { class: "tie" }, svg);
  b.diamonds = node("path", { class: "prediction" }, svg);
  signs(b);
  b.edge = node("path", { class: "trail edge" }, svg);
  b.trail = node("path", { class: "trail" }, svg);
  b.walker = node("circle", { class: "walker", r: 17, visibility: "hidden" }, svg);
  b.here = node("g", { class: "here" }, svg);
  for (const part of ["rim", "line"]) node("rect", { x: 3, y: 3, width: 94, height: 94, rx: 4, class: part }, b.here);
  b.score = element("p", "score", "", box);
  return b;
}

// Squares of one kind as one path.
const squares = (states, inset) => states.map(s =>
  `M${100 * column(s) + inset} ${100 * row(s) + inset}h${100 - 2 * inset}v${100 - 2 * inset}h${2 * inset - 100}z`).join("");

const outlines = (steps, inset) => squares([...new Set(steps.map(pair => pair[0]))], inset);

function ground(svg) {
  const all = [...standing.values()], dark = all.filter(s => "HC".includes(letter(s)));
  node("path", { class: "ice", d: squares(all.filter(s => !"HC ".includes(letter(s))), 4) }, svg);
  node("path", { class: "hole", d: squares(dark, 5) }, svg);
  node("path", { class: "water", d: dark.map(s => `M${100 * column(s) + 20} ${100 * row(s) + 50}a30 30 0 1 0 60 0a30 30 0 1 0 -60 0`).join("") }, svg);
}

// One element a tile takes its colour, the pointer and the focus.
function cells(b) {
  const rows = node("g", { class: "cells", role: "rowgroup" }, b.svg);
  const tiles = [...standing].sort((one, other) => one[0] - other[0]);
  let line = null, last = -1;
  for (const [, s] of tiles) {
    if (row(s) !== last) {
      last = row(s);
      line = node("g", { role: "row", "aria-rowindex": last + 1 }, rows);
    }
    b.cells[s] = node("rect", {
      x: 100 * column(s) + 4, y: 100 * row(s) + 4, width: 92, height: 92, class: open(s) ? "tile" : "tile shut", "data-tile": s,
      role: "gridcell", tabindex: -1, "aria-colindex": column(s) + 1, "aria-label": `${nameOf(s)}, ${kindOf(s)}`,
    }, line);
  }
}

function landmarks(svg) {
  for (const s of standing.values()) if (letter(s) === "G") goal(100 * column(s), 100 * row(s), svg);
  const flags = new Set((lake.marks.destination || []).map(([r, c]) => r * lake.columns + c));
  lake.layout.forEach((line, r) => [...line].forEach((kind, c) => {
    if (!STATIONS.includes(kind)) return;
    const frame = { x: 100 * c + 9.5, y: 100 * r + 9.5, width: 81, height: 81 };
    node("rect", { ...frame, class: "place rim" }, svg);
    node("rect", { ...frame, class: `place ${kind}` }, svg);
    const low = flags.has(r * lake.columns + c);  // a flag flies above
    node("text", { x: 100 * c + 80, y: 100 * r + (low ? 88 : 42), class: "letter station" }, svg, kind.toUpperCase());
  }));
  for (const [r, c, text] of lake.headings) node("text", { x: 100 * c + 4, y: 100 * r + 85, class: "heading" }, svg, text);
  for (const [from, to] of lake.walls)
    node("line", { x1: 100 * from[1], y1: 100 * from[0], x2: 100 * to[1], y2: 100 * to[0], class: "wall" }, svg);
  for (const [kind, tiles] of Object.entries(lake.marks))
    for (const [r, c] of tiles) node("path", { class: `mark ${lake.layout[r][c]}`, d: MARKS[kind](100 * c, 100 * r) }, svg);
}

function goal(x, y, parent) {
  node("path", { class: "goal", d: goalBox(x, y) }, parent);
  node("rect", { x: x + 46, y: y + 34, width: 8, height: 46, class: "ribbon" }, parent);
}

// What is to be found has a least size: where tiles are smaller, start and goal become signs, and lines are as wide as on any map.
const SIGN = 18, LEAST = 13, SMALL = 30;  // pixels: of a sign, of a tile that needs none, of one with several arrows

function signs(b) {
  for (const s of standing.values()) {
    if (letter(s) !== "G" && letter(s) !== "S") continue;
    const group = node("g", { class: "sign" }, b.svg);
    node("rect", { width: 100, height: 100, class: "ice frame" }, group);
    if (letter(s) === "G") goal(0, 0, group);
    else node("text", { x: 50, y: 82, "text-anchor": "middle", class: "heading" }, group, "S");
    b.signs.push({ s, group });
  }
}

// Returns whether there is room for one arrow a tile alone.
export function resize(b) {
  const tile = Math.min(b.svg.clientWidth / lake.columns, b.svg.clientHeight / lake.rows) || 100;
  const tiny = tile < LEAST, scale = tiny ? SIGN / tile : 1;
  b.svg.classList.toggle("tiny", tiny);
  b.svg.classList.toggle("small", tile < SMALL);
  b.walker.setAttribute("r", Math.max(17, 400 / tile));
  const inside = (middle, count) => Math.max(0, Math.min(100 * count - 100 * scale, 100 * middle + 50 - 50 * scale));
  for (const { s, group } of b.signs)
    group.setAttribute("transform", `translate(${inside(column(s), lake.columns)} ${inside(row(s), lake.rows)}) scale(${scale})`);
  b.tile = tile;  // in pixels
  return tile < SMALL;
}

// As many boards as a browser redraws without effort.
export const mostBoards = () => Math.max(1, Math.min(run.methods.length, Math.floor(24000 / standing.size)));

// Four at first, and of each kind, which a hue stands for, one before a second.
export function methodsAtFirst() {
  const hues = run.methods.map(m => m.hue), all = hues.map((_, which) => which);
  const firsts = all.filter(which => hues.indexOf(hues[which]) === which);
  const chosen = [...firsts, ...all.filter(which => !firsts.includes(which))].slice(0, Math.min(4, mostBoards()));
  return chosen.sort((one, other) => one - other);
}

// One board: a lake with a policy on it. Everything is drawn from a scene, a plain object, with a pen.

import { MOVES } from "./mdp.js";

const LEAST = 0.02; // arrows of a smaller probability are not drawn

// scene: lake, colour [S] of 0 to 1 with its kind, arrows [{ state, action, size, tone }], shown and rejected tiles,
// predictions [[from tile, to tile, weight]], selected tile.
export function drawBoard(pen, scene, tile, theme) {
  const { lake } = scene;
  for (let s = 0; s < lake.states; s++) drawTile(pen, scene, s, tile, theme);
  drawPath(pen, lake, scene.rejected, tile, { stroke: theme.rejected, inset: 0.2, dash: [tile * 0.11, tile * 0.08] });
  drawPath(pen, lake, scene.shown, tile, { stroke: theme.shown, inset: 0.09, dash: [] });
  for (let s = 0; s < lake.states; s++) {
    if (lake.letters[s] === "S") drawStart(pen, lake, s, tile, theme);
    if (lake.letters[s] === "G") drawGoal(pen, lake, s, tile, theme);
  }
  for (const { state, action, size, tone } of scene.arrows) drawArrow(pen, lake, state, action, size, theme[tone], tile);
  for (const [from, to, weight] of scene.predictions ?? []) drawPrediction(pen, lake, from, to, weight, tile, theme);
  if (scene.agent) drawAgent(pen, scene.agent, tile, theme);
}

const corner = (lake, s, tile) => [(s % lake.width) * tile, Math.floor(s / lake.width) * tile];
const centre = (lake, s, tile) => corner(lake, s, tile).map((x) => x + tile / 2);

function square(x, y, side, inset) {
  const [a, b] = [inset, side - inset];
  return [x + a, y + a, x + b, y + a, x + b, y + b, x + a, y + b];
}

function drawTile(pen, { lake, colour, kind }, s, tile, theme) {
  const [x, y] = corner(lake, s, tile);
  const gap = tile * 0.03;
  if (lake.letters[s] === "H") {
    pen.shape(square(x, y, tile, gap), { fill: theme.hole, stroke: theme.rim, width: 1 });
    pen.circle(x + tile / 2, y + tile / 2, tile * 0.28, { fill: theme.water });
    return;
  }
  const share = lake.terminal[s] || !colour ? 0 : Math.max(0, Math.min(1, colour[s]));
  const full = { visits: theme.visited, value: theme.value, change: theme.changed }[kind] ?? theme.ice;
  pen.shape(square(x, y, tile, gap), { fill: blend(theme.ice, full, share) });
}

// A colour between two, "#rrggbb".
export function blend(from, to, share) {
  const channel = (colour, i) => parseInt(colour.slice(1 + 2 * i, 3 + 2 * i), 16);
  return `#${[0, 1, 2].map((i) => Math.round(channel(from, i) + share * (channel(to, i) - channel(from, i))).toString(16).padStart(2, "0")).join("")}`;
}

function drawPath(pen, lake, tiles, tile, { stroke, inset, dash }) {
  for (const s of new Set(tiles ?? [])) {
    if (lake.terminal[s]) continue;
    const [x, y] = corner(lake, s, tile);
    pen.shape(square(x, y, tile, inset * tile), { stroke, width: Math.max(1.5, tile * 0.045), dash });
  }
}

function drawStart(pen, lake, s, tile, theme) {
  const [x, y] = corner(lake, s, tile);
  if (tile >= 34) pen.text(x + tile * 0.2, y + tile * 0.22, "S", { size: tile * 0.24, fill: theme.ink, weight: 700, halo: theme.ice, align: "center" });
  else pen.circle(x + tile / 2, y + tile / 2, tile * 0.44, { stroke: theme.ink, width: 1.5 });
}

// The goal is a flag on its pole.
function drawGoal(pen, lake, s, tile, theme) {
  const [x, y] = corner(lake, s, tile);
  const at = (...shares) => shares.map((share, i) => (i % 2 ? y : x) + share * tile);
  pen.shape(at(0.3, 0.15, 0.37, 0.15, 0.37, 0.86, 0.3, 0.86), { fill: theme.goal });
  pen.shape(at(0.37, 0.15, 0.82, 0.33, 0.37, 0.51), { fill: theme.goal });
  pen.shape(at(0.2, 0.82, 0.48, 0.82, 0.48, 0.88, 0.2, 0.88), { fill: theme.goal });
}

function drawArrow(pen, lake, s, action, size, colour, tile) {
  if (size < LEAST) return;
  const p = Math.min(1, size);
  const [cx, cy] = centre(lake, s, tile);
  const [dy, dx] = MOVES[action];
  const [tip, shaft, head] = [0.06 + 0.38 * p, 0.014 + 0.024 * p, 0.035 + 0.075 * p];
  const neck = tip - Math.min(1.45 * head, 0.7 * tip);
  const outline = [[0.05, -shaft], [neck, -shaft], [neck, -head], [tip, 0], [neck, head], [neck, shaft], [0.05, shaft]];
  pen.shape(outline.flatMap(([along, across]) => [cx + tile * (along * dx - across * dy), cy + tile * (along * dy + across * dx)]), { fill: colour });
}

// Where IFT's prediction leads: a diamond on that tile, its area the weight, tied to the tile that is right.
function drawPrediction(pen, lake, right, predicted, weight, tile, theme) {
  const place = (s) => corner(lake, s, tile).map((x, i) => x + tile * (i ? 0.8 : 0.2));
  const [[x, y], [rx, ry]] = [place(predicted), place(right)];
  if (predicted !== right) pen.shape([rx, ry, x, y], { stroke: theme.predicted_edge, width: 3.5, closed: false });
  if (predicted !== right) pen.shape([rx, ry, x, y], { stroke: theme.predicted, width: 2, dash: [2, 2], closed: false });
  const r = tile * 0.14 * Math.sqrt(weight);
  pen.shape([x, y - r, x + r, y, x, y + r, x - r, y], { fill: theme.predicted, stroke: theme.predicted_edge, width: 1 });
}

// The agent, between two tiles.
function drawAgent(pen, { x, y }, tile, theme) {
  pen.circle(x * tile, y * tile, tile * 0.2, { fill: theme.ink, stroke: theme.background, width: 2 });
}

// Arrows of a policy, or of any numbers from 0 to 1 by state and action.
export function policyArrows(lake, table, tone = "arrow") {
  const arrows = [];
  for (const s of lake.walkable) {
    for (let a = 0; a < lake.actions; a++) arrows.push({ state: s, action: a, size: table[s * lake.actions + a], tone });
  }
  return arrows;
}

// Arrows of signed numbers by state and action, the largest of full size: what grows in one colour, what shrinks in another.
export function signedArrows(lake, table, largest = null) {
  const scale = largest ?? table.reduce((most, x, i) => (lake.terminal[Math.floor(i / lake.actions)] ? most : Math.max(most, Math.abs(x))), 1e-12);
  return policyArrows(lake, table.map((x) => Math.abs(x) / scale)).map((arrow) => ({
    ...arrow, tone: table[arrow.state * lake.actions + arrow.action] > 0 ? "more" : "less",
  }));
}

// How far two policies are apart on each tile, from 0 to 1: total variation.
export function totalVariation(lake, one, other) {
  const apart = new Float64Array(lake.states);
  one.forEach((p, i) => (apart[Math.floor(i / lake.actions)] += Math.abs(p - other[i]) / 2));
  return apart;
}

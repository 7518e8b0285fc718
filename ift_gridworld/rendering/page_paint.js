// What changes from update to update on a board: colours of tiles, arrows, predictions and the numbers below.

import { run, lake, S, A, row, column, open, state, at, now, age, tables, probability } from "./page_run.js";
import { arrow, stay, diamond, written, escaped } from "./page_svg.js";
import { resize } from "./page_board.js";

const LEAST_DRAWN = .02;  // arrows of a smaller probability are not drawn

// The scale of the colours that tiles have now.
export function scale() {
  if (state.colour === "visits") return { ...run.visits, class: "visits" };
  if (state.colour === "value") return { ...run.values, class: "visits" };
  const unit = "change since the base: total variation of the moves";
  return { low: 0, high: 1, log: false, ticks: [0, .5, 1], below: false, unit, class: "changed" };
}

// Where a number lies on the scale, from 0 to 1.
export function share(x, { low, high, log }) {
  const part = log ? Math.log(Math.max(x, low) / low) / Math.log(high / low) : (x - low) / (high - low);
  return Math.max(0, Math.min(1, part));
}

// How far the probabilities in a state have moved: half the sum of the differences.
export function variation(m, k, s) {
  let sum = 0;
  for (let a = 0; a < A; a++) sum += Math.abs(probability(m, k, s, a) - probability(m, 0, s, a));
  return sum / 2;
}

export function paint(b) {
  const { m, svg } = b, k = at(m), small = resize(b), colours = scale(), arrows = [];
  const changing = state.colour === "change";
  svg.classList.toggle("changing", changing);
  for (let s = 0; s < S; s++) {
    if (!open(s)) continue;
    const number = changing ? variation(m, k, s) : tables(m)[state.colour][k * S + s];
    b.cells[s].style.fillOpacity = share(number, colours).toFixed(3);
    arrows.push(changing ? changeArrow(m, k, s) : policyArrows(m, k, s, small));
  }
  b.arrows.setAttribute("d", arrows.join(""));
  diamonds(b);
  const curve = name => written(m.curves[name].drawn[state.seed][now(m)]);
  b.score.innerHTML = `<span>${escaped(tables(m).seed)}: ${escaped(run.headline)} <b>${curve(run.headline)}</b></span> ` +
    `<span>distance to optimal <b>${curve("distance")}</b></span> <span class="age">${escaped(age(m))}</span>`;
}

function policyArrows(m, k, s, small) {
  const chances = lake.moves.map((_, a) => probability(m, k, s, a)), most = chances.indexOf(Math.max(...chances));
  const x = 100 * column(s) + 50, y = 100 * row(s) + 50;
  let path = "", still = 0;
  lake.moves.forEach(([dr, dc], a) => {
    const p = chances[a], moves = dr || dc, nth = moves ? 0 : still++;
    if (p >= LEAST_DRAWN && (!small || a === most)) path += moves ? arrow(x, y, dc, dr, p, small) : stay(x, y, p, nth);
  });
  return path;
}

// One arrow: by how much, and where to, the mean move has changed.
function changeArrow(m, k, s) {
  let dx = 0, dy = 0;
  lake.moves.forEach(([dr, dc], a) => {
    const change = probability(m, k, s, a) - probability(m, 0, s, a);
    dx += dc * change;
    dy += dr * change;
  });
  const length = Math.hypot(dx, dy);
  return length < LEAST_DRAWN ? "" : arrow(100 * column(s) + 50, 100 * row(s) + 50, dx / length, dy / length, Math.min(1, length), true);
}

// Of each step of the demonstration but the first, the tiles that IFT predicts and their weights.
function predicted(m, k) {
  if (!m.mixing) return [];
  const slots = m.predicted[0].length, steps = m.predicted.length;
  return m.predicted.map((states, n) => {
    const weights = new Map();
    states.forEach((s, i) => {
      const weight = tables(m).weights[(k * steps + n) * slots + i];
      if (weight > .005) weights.set(s, (weights.get(s) || 0) + weight);
    });
    return { step: n + 1, tile: m.shown[n + 1][0], weights };
  });
}

// In the tile's corner, where no arrow is hidden; its area is the weight.
function diamonds(b) {
  b.predicted = state.predictions ? predicted(b.m, at(b.m)) : [];
  const size = Math.max(15, 350 / b.tile);
  b.diamonds.setAttribute("d", b.predicted.flatMap(({ weights }) => [...weights].filter(([s]) => row(s) >= 0)
    .map(([s, weight]) => diamond(100 * column(s) + 79, 100 * row(s) + 79, size * Math.sqrt(weight)))).join(""));
}

// Where there are many, only those of the tile that is looked at.
const TIES = 16;
export function ties(b) {
  const all = b.predicted.flatMap(({ tile: wanted, weights }) =>
    [...weights.keys()].filter(s => s !== wanted && row(s) >= 0).map(s => [wanted, s]));
  const drawn = all.length <= TIES ? all : all.filter(pair => pair.includes(state.tile));
  b.ties.setAttribute("d", drawn.map(([wanted, s]) =>
    `M${100 * column(s) + 79} ${100 * row(s) + 79}L${100 * column(wanted) + 50} ${100 * row(wanted) + 50}`).join(""));
}

// What colours, arrows and marks mean: a key of all that is on the boards. Its marks are drawn as the boards are.

import { blend, drawBoard } from "./board.js";
import { tileOf } from "./layout.js";
import { escaped, SvgPen } from "./pen.js";
import { PREFERENCE } from "./glossary.js";
import { shareOf } from "./scene.js";

const SIDE = 40; // pixels of a mark's tile, which the page shows smaller
const ARROWS = {
  policy: "probability of a move", optimal: "T*, the optimal policy", change: "likelier (blue) or less likely (orange) than the base",
  push: "what the next update moves", advantage: "better (blue) or worse (orange) than average",
};
const brief = (x) => (x < 0 ? "−" : "") + String(Number(Math.abs(x).toPrecision(2)));

// A tile with a mark; `corner`: the part of it that is shown, [left, top, side].
function mark(letter, parts, theme, layout = tileOf(letter), corner = [0, 0, SIDE]) {
  const pen = new SvgPen(SIDE, SIDE);
  drawBoard(pen, { layout, colour: null, arrows: [], ...parts }, SIDE, theme);
  const [left, top, side] = corner;
  return pen.toString().replace(/viewBox="[^"]*"/, `viewBox="${left} ${top} ${side} ${side}" aria-hidden="true"`);
}

// The key as HTML; names in it are escaped.
export function keyOf(world, state, scale, full, theme) {
  const { layout, tracks } = world;
  const entries = [];
  const add = (picture, words) => entries.push(`<span>${picture}${escaped(words)}</span>`);
  const arrow = (action, tone, moves) => mark("F", { arrows: [{ state: 0, action, size: 1, tone }] }, theme, tileOf("F", { moves }));
  add(arrow(2, ["policy", "optimal"].includes(state.arrows) ? "arrow" : "more"), ARROWS[state.arrows]);
  const still = layout.actions.map((_, a) => a).filter((a) => !layout.moves[a][0] && !layout.moves[a][1]);
  for (const action of still.slice(0, 2)) add(arrow(action, "arrow", layout.moves), layout.actions[action]);
  add(mark("F", { shown: [0] }, theme), pathWords(tracks));
  if (tracks.some((track) => world.rejected(track).length)) add(mark("F", { rejected: [0] }, theme), "rejected answer");
  const letters = new Set(layout.tiles.map((s) => layout.letter(s)));
  if (letters.has("S")) add(mark("S", {}, theme, tileOf("S"), [0, 0, SIDE / 2]), "start");
  if (letters.has("G")) add(mark("G", {}, theme), "goal");
  for (const letter of ["H", "C"]) if (letters.has(letter) && layout.words[letter]) add(mark(letter, {}, theme), layout.words[letter].join(": "));
  for (const kind of Object.keys(layout.marks)) add(mark("F", {}, theme, tileOf("F", { marks: { [kind]: [[0, 0]] } })), kind);
  const mixing = state.predictions ? [...new Set(tracks.map((track) => track.mixing ?? track.learner?.method.options.mixing).filter(Boolean))] : [];
  if (mixing.length) add(mark("F", { predictions: [[0, 0, 1]] }, theme, tileOf("F"), [-1, SIDE / 2 + 1, SIDE / 2]), `IFT's own prediction, mixed in with λ = ${mixing.map(brief).join(", ")}`);
  return (scale ? strip(scale, full, theme) : "") + entries.join("");
}

function pathWords(tracks) {
  const kinds = [...new Set(tracks.map((track) => track.needs ?? (PREFERENCE.includes(track.name) ? "pairs" : "demonstrations")))];
  return kinds.every((kind) => kind === "pairs") ? "chosen answer" : kinds.includes("pairs") ? "demonstration or chosen answer" : "demonstration";
}

function strip(scale, full, theme) {
  const ramp = [0, 0.25, 0.5, 0.75, 1].map((share) => blend(theme.ice, theme[full], share)).join(",");
  const marks = scale.ticks.map((tick, i) => {
    const at = 100 * shareOf(tick, scale);
    const side = at < 1 ? "first" : at > 99 ? "last" : "";
    return `<i class="${side}" style="left:${at.toFixed(1)}%">${i === 0 && scale.below ? "≤ " : ""}${brief(tick)}</i>`;
  });
  return `<span class="scale"><span>${escaped(scale.unit)}</span><span class="ramp" style="background:linear-gradient(90deg,${ramp})"></span><span class="ticks">${marks.join("")}</span></span>`;
}

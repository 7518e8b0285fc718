// Controls: which methods are shown, at which update, and what the keyboard and the pointer do.

import { byId, run, lake, row, column, standing, state, update, unpackAll } from "./page_run.js";
import { element, sample, escaped } from "./page_svg.js";
import { board, mostBoards, methodsAtFirst } from "./page_board.js";
import { paint } from "./page_paint.js";
import { look, inspect } from "./page_tile.js";
import { drop, stopAgent } from "./page_walk.js";
import { charts, prepareCharts } from "./page_charts.js";
import { keys, notes } from "./page_keys.js";

function build() {
  stopAgent();
  state.boards = state.methods.map(which => board(run.methods[which]));
  byId("boards").replaceChildren(...state.boards.map(b => b.box));
  for (const b of state.boards) listen(b);
  document.querySelectorAll("#methods button").forEach((chip, which) => chip.setAttribute("aria-pressed", state.methods.includes(which)));
  show();
}

export function show() {
  byId("step").value = state.index;
  byId("when").textContent = `update ${update()}`;
  byId("step").setAttribute("aria-valuetext", byId("when").textContent);
  state.boards.forEach(paint);
  inspect();
  charts();
  keys();
}

function choose(methods) {
  state.methods = methods.slice(-mostBoards());
  build();
}

// A method joins the others or leaves them; one stays.
function toggle(which) {
  const without = state.methods.filter(other => other !== which);
  const joined = state.methods.includes(which) ? without : [...without, which];
  if (joined.length > mostBoards()) joined.shift();
  if (joined.length) choose(joined.sort((one, other) => one - other));
}

function go(index) {
  state.index = Math.max(0, Math.min(run.updates.length - 1, index));
  show();
}

function play(on) {
  clearInterval(state.playing);
  state.playing = 0;
  const last = run.updates.length - 1;
  if (on) {
    if (state.index >= last) go(0);
    state.playing = setInterval(() => (state.index >= last ? play(false) : go(state.index + 1)), 110);
  } else byId("status").textContent = byId("when").textContent;
  byId("play").textContent = state.playing ? "⏸ pause" : "▶ play";
}

function theme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
}

// ---- the pointer and the keyboard on a board ----

const tileOf = event => event.target.dataset.tile === undefined ? null : Number(event.target.dataset.tile);

function listen(b) {
  const act = (kind, action) => b.svg.addEventListener(kind, event => {
    const s = tileOf(event);
    if (s !== null) action(s, event);
  });
  act("pointerover", look);
  act("focusin", look);
  act("click", drop);
  act("keydown", (s, event) => {
    if (event.key === "Enter") drop(s);
    else if (!move(b, s, event.key)) return;
    event.preventDefault();
  });
}

const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], Home: [0, -1], End: [0, 1] };

// To the next tile, or with Home and End to the last one; beyond a blank lies the next small map.
function move(b, s, key) {
  if (!STEPS[key]) return false;
  const [dr, dc] = STEPS[key];
  let found = null;
  for (let r = row(s) + dr, c = column(s) + dc; r >= 0 && r < lake.rows && c >= 0 && c < lake.columns; r += dr, c += dc) {
    const next = standing.get(r * lake.columns + c);
    if (next === undefined) continue;
    found = next;
    if (key.startsWith("Arrow")) break;
  }
  if (found !== null) {
    look(found);
    b.cells[found].focus();
  }
  return true;
}

const SHORTCUTS = {
  " ": () => play(!state.playing),
  ",": () => { play(false); go(state.index - 1); },
  ".": () => { play(false); go(state.index + 1); },
  Escape: stopAgent,
  t: theme,
  m: () => choose([(state.methods.at(-1) + 1) % run.methods.length]),
};

function shortcut(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || ["SELECT", "INPUT"].includes(event.target.tagName)) return;
  if (event.key === " " && event.target.tagName === "BUTTON") return;  // which presses it
  const action = SHORTCUTS[event.key];
  if (!action) return;
  action();
  event.preventDefault();
}

// ---- the start ----

function prepare() {
  run.methods.forEach((m, which) => {
    const chip = element("button", "chip", "", byId("methods"));
    chip.type = "button";
    chip.title = m.full;
    chip.innerHTML = sample(m) + escaped(m.title);
    chip.addEventListener("click", () => toggle(which));
  });
  byId("methods").hidden = run.methods.length < 2;
  byId("predictions").parentElement.hidden = !run.methods.some(m => m.mixing);
  byId("predictions").addEventListener("change", () => { state.predictions = byId("predictions").checked; show(); });
  run.methods[0].maps.forEach(({ seed }, choice) => byId("seed").add(new Option(seed, choice)));
  byId("seed").parentElement.hidden = run.methods[0].maps.length < 2;
  byId("seed").addEventListener("change", () => { state.seed = Number(byId("seed").value); show(); });
  byId("step").max = run.updates.length - 1;
  byId("step").addEventListener("input", () => { play(false); go(Number(byId("step").value)); });
  byId("colour").addEventListener("change", () => { state.colour = byId("colour").value; show(); });
  byId("play").addEventListener("click", () => play(!state.playing));
  byId("theme").addEventListener("click", theme);
  addEventListener("resize", show);
  document.addEventListener("keydown", shortcut);
  const wide = Math.min(1.5, Math.max(1, lake.columns / lake.rows));  // a wide map takes a wide column
  byId("boards").style.setProperty("--least", `${15 * wide}rem`);
  notes();
  prepareCharts();
}

unpackAll().then(() => {
  prepare();
  choose(methodsAtFirst());
  globalThis.page = { run, lake, state };  // for whoever opens the browser's console
  document.body.dataset.ready = "yes";
}).catch(error => {
  byId("about").textContent = `This browser cannot show the page (${error.message}); it needs JavaScript's DecompressionStream.`;
});

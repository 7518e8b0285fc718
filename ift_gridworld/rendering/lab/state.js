// The state of the page, its defaults, and its text form: the fragment of the page's address, from which the same page and the
// same numbers come back.

import { mapProblem } from "./mdp.js";
import { METHODS } from "./training.js";
import { NORMS, PROPAGATIONS } from "./losses.js";

export const PRESETS = {
  "two-paths": ["SFFF", "FHHF", "FHHG", "FFFF"],
  "4x4": ["SFFF", "FHFH", "FFFH", "HFFG"],
  "8x8": ["SFFFFFFF", "FFFFFFFF", "FFFHFFFF", "FFFFFHFF", "FFFHFFFF", "FHHFFFHF", "FHFFHFHF", "FFFHFFFG"],
  open: ["SFFFFF", "FFFFFF", "FFFFFF", "FFFFFF", "FFFFFF", "FFFFFG"],
  bridge: ["FFFFF", "FHHHF", "SFFFG", "FHHHF", "FFFFF"],
};

export const DEFAULTS = {
  rows: PRESETS["two-paths"], slip: 0, policy: "network", base: "mixture", noise: 0.3, seed: 0,
  methods: ["sft", "ift", "dpo", "ppo"], mixing: 0.2, decay: 0.95, propagation: "released", norm: "L1", prediction: "greedy",
  beta: 0.1, smoothing: 0, rate: 0.01, optimiser: "adam", demonstration: null, rejected: null, update: 0, changes: [],
  view: "auto", shownUpdate: 0, shownSeed: null, shownMethods: null,
  colour: "visits", arrows: "policy", predictions: true, chart: "curves", selected: 0, speed: 30, theme: "auto", stop: null,
};

// What may be changed while methods are trained; everything else starts them anew.
export const LIVE = ["mixing", "decay", "propagation", "norm", "prediction", "beta", "smoothing", "rate"];

export const CHOICES = {
  policy: ["network", "table"],
  base: ["mixture", "random", "uniform", "run"], // run: that of the saved run that the page has
  propagation: PROPAGATIONS,
  norm: NORMS,
  prediction: ["greedy", "expected"],
  optimiser: ["adam", "rmsprop", "descent"],
  colour: ["visits", "value", "change", "none"],
  arrows: ["policy", "optimal", "change", "push", "advantage"],
  chart: ["curves", "preference", "frontier", "steps"],
  theme: ["auto", "light", "dark"],
  view: ["auto", "run", "live"], // auto: the saved run where the page has one
  predictions: [true, false],
};
export const RANGES = { // lowest, highest
  slip: [0, 2 / 3], noise: [0.05, 1], seed: [0, 9999], mixing: [0, 1], decay: [0, 1], beta: [0.01, 2], smoothing: [0, 0.45], rate: [0.001, 0.3],
  update: [0, 3000], selected: [0, 5], speed: [1, 300], stop: [0, 5],
  shownUpdate: [0, 1e9], shownSeed: [0, 1e9],
};
export const MOST_METHODS = 6;
const [SMALLEST, LARGEST] = [2, 12]; // tiles of a side

const list = (text) => (text ? text.split(",").map(Number) : null);
const READERS = {
  rows: (text) => text.split("."),
  methods: (text) => text.split(","),
  demonstration: list,
  rejected: list,
  shownMethods: list,
  predictions: (text) => text === "true",
  changes: (text) => text.split(";").filter(Boolean).map((part) => {
    const [update, name, value] = part.split(":");
    return [Number(update), name, name in RANGES ? Number(value) : value];
  }),
};
const WRITERS = {
  rows: (rows) => rows.join("."),
  methods: (methods) => methods.join(","),
  demonstration: (tiles) => tiles.join(","),
  rejected: (tiles) => tiles.join(","),
  changes: (changes) => changes.map((change) => change.join(":")).join(";"),
};

// The fragment that says what differs from the defaults.
export function encode(state) {
  const parts = new URLSearchParams();
  for (const [name, value] of Object.entries(DEFAULTS)) {
    const now = state[name];
    if (now === null || JSON.stringify(now) === JSON.stringify(value)) continue;
    parts.set(name, (WRITERS[name] ?? String)(now));
  }
  return parts.toString();
}

// The state that a fragment says, and what of it was not understood, in words. What is wrong keeps its default.
export function decode(fragment) {
  const [state, problems] = [structuredClone(DEFAULTS), []];
  for (const [name, text] of new URLSearchParams(fragment.replace(/^#/, ""))) {
    if (!(name in DEFAULTS)) {
      if (name !== "embed") problems.push(`the address has ${name}, which is not a setting`);
      continue;
    }
    const value = READERS[name] ? READERS[name](text) : name in RANGES ? Number(text) : text;
    const problem = problemWith(name, value, state);
    if (problem) problems.push(`${name} is ${text}; ${problem}`);
    else state[name] = value;
  }
  const tiles = state.rows.length * state.rows[0].length;
  for (const name of ["demonstration", "rejected"]) {
    if (state[name]?.some((tile) => !(tile >= 0 && tile < tiles))) state[name] = null;
  }
  state.selected = Math.min(state.selected, state.methods.length - 1);
  return { state, problems };
}

function problemWith(name, value) {
  if (name in RANGES) {
    const [low, high] = RANGES[name];
    const whole = ["seed", "update", "selected", "speed", "stop", "shownUpdate", "shownSeed"].includes(name);
    if (!(value >= low - 1e-9 && value <= high + 1e-9) || (whole && !Number.isInteger(value))) return `allowed: ${low} to ${high}`;
  }
  if (name in CHOICES && !CHOICES[name].includes(value)) return `allowed: ${CHOICES[name].join(", ")}`;
  if (name === "rows") return sizeProblem(value) ?? mapProblem(value);
  if (name === "methods") {
    if (value.some((method) => !(method in METHODS)) || new Set(value).size < value.length || value.length > MOST_METHODS) {
      return `allowed: up to ${MOST_METHODS} of ${Object.keys(METHODS).join(", ")}`;
    }
  }
  if (name === "changes" && value.some(([update, key, setting]) => !Number.isInteger(update) || !LIVE.includes(key) || problemWith(key, setting))) {
    return `allowed: update:setting:value, of ${LIVE.join(", ")}`;
  }
  return null;
}

export function sizeProblem(rows) {
  const sides = [rows.length, rows[0]?.length ?? 0];
  return sides.every((side) => side >= SMALLEST && side <= LARGEST) ? null : `allowed: ${SMALLEST} to ${LARGEST} tiles each way`;
}

// The settings that hold at an update: the state's, with the changes that were made until then.
export function settingsAt(state, update) {
  const settings = { ...state };
  for (const [when, name, value] of state.changes) if (when <= update) settings[name] = value;
  return settings;
}

// The command that trains the same in Python, with its own random numbers.
export function command(state) {
  const preset = Object.keys(PRESETS).find((name) => PRESETS[name].join() === state.rows.join());
  const own = state.methods.map((method) => (method === "ppo_exact" ? "ppo" : method));
  const parts = [`ift-gridworld lake --method ${[...new Set(own)].join(",")}`, `--map ${preset ?? "lake.txt"}`];
  if (state.slip > 0) parts.push(`--slippery --success-rate ${Number((1 - state.slip).toPrecision(6))}`);
  if (state.policy === "table") parts.push("--policy tabular");
  if (!["mixture", "run"].includes(state.base)) parts.push(`--base ${state.base}`);
  if (state.seed) parts.push(`--seed ${state.seed}`);
  parts.push(`--learning-rate ${state.rate}`, `--steps ${Math.max(1, state.update)}`);
  if (state.optimiser === "rmsprop") parts.push("--optimiser rmsprop");
  if (own.includes("ift")) parts.push(`--mixing ${state.mixing}`, `--decay ${state.decay}`, `--propagation ${state.propagation}`);
  if (own.includes("dpo") && state.smoothing) parts.push(`--label-smoothing ${state.smoothing}`);
  parts.push("--render");
  return parts.join(" ");
}

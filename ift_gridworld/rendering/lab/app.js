// The page: one state, one world, and what happens when something is pressed, moved or drawn.

import { Controls, explainTerms } from "./controls.js";
import { Display } from "./display.js";
import { mapProblem } from "./mdp.js";
import { pathFromTiles } from "./paths.js";
import { Sharing } from "./sharing.js";
import { command, decode, encode, LIVE, RANGES, settingsAt, sizeProblem } from "./state.js";
import { Tour } from "./guide.js";
import { World } from "./world.js";

const $ = (id) => document.getElementById(id);
const NEXT = { F: "H", H: "G", G: "S", S: "F" }; // what a click makes of a tile
const SHOWN = ["colour", "arrows", "chart", "selected", "speed", "theme", "stop"]; // what changes the view alone

export class App {
  constructor() {
    const { state, problems } = decode(location.hash.length > 1 ? location.hash : JSON.parse($("start").textContent));
    Object.assign(this, { state, playing: false, tool: "look", drawing: null, until: null, fraction: 0 });
    this.display = new Display(this);
    this.sharing = new Sharing(this);
    this.tour = new Tour(this);
    document.body.classList.toggle("embed", /[?#&]embed\b/.test(location.search + location.hash));
    this.controls = new Controls($("controls"), {
      set: (name, value) => this.set(name, value), tool: (name) => this.chooseTool(name), clear: () => this.forgetPaths(),
      resize: (height, width) => this.resize(height, width), method: (name, on) => this.toggle(name, on),
    });
    explainTerms(document.body, $("tip"));
    this.#wire();
    this.build(state.update);
    if (problems.length) this.say(problems.join(". "));
    this.tour.show();
    requestAnimationFrame((time) => this.frame(time));
  }

  #wire() {
    $("play").onclick = () => this.play(!this.playing);
    $("one").onclick = () => this.go(1);
    $("ten").onclick = () => this.go(10);
    $("reset").onclick = () => this.restart({ update: 0, changes: [] });
    $("speed").oninput = () => this.set("speed", Math.round(10 ** Number($("speed").value)));
    $("theme").onclick = () => this.set("theme", this.display.isDark ? "light" : "dark");
    for (const button of document.querySelectorAll("[data-chart]")) button.onclick = () => this.set("chart", button.dataset.chart);
    document.querySelector(".skip").onclick = (event) => {
      event.preventDefault(); // the address's fragment is the state
      this.display.focus(this.world.lake.first);
    };
    addEventListener("resize", () => (this.dirty = true));
    addEventListener("hashchange", () => location.hash.slice(1) !== this.written && this.open(location.hash));
    matchMedia("(prefers-color-scheme: dark)").onchange = () => this.changed();
    document.onkeydown = (event) => {
      if (event.target.closest("input, select, button, [role=grid], summary") || event.key !== " ") return;
      event.preventDefault();
      this.play(!this.playing);
    };
  }

  open(fragment) {
    const { state, problems } = decode(fragment);
    this.play(false);
    this.until = null;
    this.state = state;
    this.build(state.update);
    this.tour.show();
    if (problems.length) this.say(problems.join(". "));
  }

  // ---- changing the state ----

  set(name, value) {
    const now = settingsAt(this.state, this.world.update);
    if (JSON.stringify(now[name]) === JSON.stringify(value)) return;
    if (LIVE.includes(name)) {
      const { update } = this.world;
      if (update === 0) this.state[name] = value;
      else this.state.changes = [...this.state.changes.filter(([when, key]) => when < update || key !== name), [update, name, value]];
      this.world.adjust(settingsAt(this.state, update));
      this.changed();
    } else if (SHOWN.includes(name)) {
      this.state[name] = value;
      this.changed();
    } else if (name === "rows") this.restart({ rows: value, demonstration: null, rejected: null });
    else this.restart({ [name]: value });
  }

  // Starts anew with other settings, unless the lake that they make has a fault, which is said.
  restart(settings) {
    const rows = settings.rows ?? this.state.rows;
    const problem = sizeProblem(rows) ?? mapProblem(rows);
    if (problem) return this.say(problem);
    this.play(false);
    this.state = { ...this.state, update: 0, changes: [], ...settings };
    this.build(0);
  }

  toggle(method, on) {
    const methods = on ? [...this.state.methods, method] : this.state.methods.filter((name) => name !== method);
    if (!methods.length) {
      this.say("at least one method is needed");
      this.showControls();
    } else this.restart({ methods, selected: Math.min(this.state.selected, methods.length - 1) });
  }

  resize(height, width) {
    const { rows } = this.state;
    const made = Array.from({ length: height }, (_, y) => Array.from({ length: width }, (_, x) => rows[y]?.[x] ?? "F").join(""));
    const put = (text, at, letter) => text.slice(0, at) + letter + text.slice(at + 1);
    if (!made.join("").includes("S")) made[0] = put(made[0], 0, "S");
    if (!made.join("").includes("G")) made[height - 1] = put(made[height - 1], width - 1, "G");
    this.restart({ rows: made, demonstration: null, rejected: null });
    this.showControls();
  }

  chooseTool(name) {
    this.tool = name;
    this.play(false);
    $("boards").dataset.tool = name;
    this.showControls();
    const help = { tile: "Click a tile: ice, hole, goal, start.", demonstration: "Drag from a start along the way to show.", rejected: "Drag from a start along the way to reject." };
    if (help[name]) this.say(help[name]);
  }

  forgetPaths() {
    this.restart({ demonstration: null, rejected: null });
  }

  changeTile(tile) {
    const { width } = this.world.lake;
    const letters = [...this.state.rows.join("")];
    letters[tile] = NEXT[letters[tile]];
    if (letters[tile] === "S") letters.forEach((letter, i) => letter === "S" && i !== tile && (letters[i] = "F"));
    const rows = this.state.rows.map((_, y) => letters.slice(y * width, (y + 1) * width).join(""));
    const focused = Number(document.activeElement?.dataset.tile ?? -1);
    this.restart({ rows, demonstration: null, rejected: null });
    if (focused >= 0) this.display.focus(focused);
  }

  // A path that is drawn: shown while it grows, taken when it is finished.
  drawPath(tiles, finished) {
    if (!finished) {
      this.drawing = [...tiles];
      this.dirty = true;
      return;
    }
    this.drawing = null;
    this.dirty = true;
    if (!tiles) return;
    const answer = pathFromTiles(this.world.lake, tiles);
    if (answer.problem) this.say(answer.problem);
    else this.restart({ [this.tool]: tiles });
  }

  // ---- the world ----

  build(update) {
    try {
      this.world = new World(this.state);
    } catch (error) {
      return this.say(error.message);
    }
    if (this.world.problem) this.say(this.world.problem);
    this.world.advance(this.state, update);
    this.display.makeBoards();
    this.changed();
  }

  go(updates) {
    this.play(false);
    this.world.advance(this.state, Math.min(RANGES.update[1], this.world.update + updates));
    this.changed();
  }

  play(on) {
    this.playing = on && this.world.update < RANGES.update[1];
    this.last = null;
    $("play").textContent = this.playing ? "Pause" : "Align";
    $("play").setAttribute("aria-pressed", this.playing);
    if (!on && this.world) this.changed();
  }

  frame(time) {
    if (this.playing) {
      const passed = Math.min(100, time - (this.last ?? time));
      this.last = time;
      this.fraction += (this.state.speed * passed) / 1000;
      const last = Math.min(RANGES.update[1], this.until ?? Infinity);
      const wanted = Math.min(last, this.world.update + Math.floor(this.fraction));
      this.fraction %= 1;
      const end = performance.now() + 10;
      if (wanted > this.world.update) {
        this.world.advance(this.state, wanted, () => performance.now() > end);
        this.dirty = true;
      }
      if (this.world.update >= last) this.#arrive();
    }
    if (this.dirty) this.display.draw();
    requestAnimationFrame((next) => this.frame(next));
  }

  #arrive() {
    const asked = this.until !== null;
    this.until = null;
    this.play(false);
    if (asked) this.tour.answer();
  }

  // ---- showing ----

  changed() {
    this.state.update = this.world.update;
    this.dirty = true;
    this.display.showTheme();
    this.showControls();
    if (this.playing) return;
    this.written = encode(this.state);
    history.replaceState(null, "", `${location.pathname}${location.search}#${this.written}`);
  }

  showControls() {
    this.controls.show(this.state, settingsAt(this.state, this.world.update), this.tool);
    $("speed").value = Math.log10(this.state.speed);
    $("speed").setAttribute("aria-valuetext", `${this.state.speed} updates a second`);
    for (const button of document.querySelectorAll("[data-chart]")) {
      button.setAttribute("aria-pressed", button.dataset.chart === this.state.chart);
    }
    $("command").textContent = command(this.state);
  }

  // A message to everybody, in the page's line for messages.
  say(text) {
    $("message").textContent = text;
    clearTimeout(this.quiet);
    this.quiet = setTimeout(() => ($("message").textContent = ""), 8000);
  }
}

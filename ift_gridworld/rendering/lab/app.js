// The page: one state, what is shown of it (a live world or saved runs), and what happens when something is pressed, moved or drawn.

import { Controls, explainTerms } from "./controls.js";
import { Display } from "./display.js";
import { Editor } from "./editor.js";
import { mapProblem } from "./mdp.js";
import { Panel } from "./panel.js";
import { Player } from "./player.js";
import { Replay } from "./replay.js";
import { Sharing } from "./sharing.js";
import { command, decode, encode, LIVE, RANGES, settingsAt, sizeProblem } from "./state.js";
import { Tour } from "./guide.js";
import { Walks } from "./walk.js";
import { World } from "./world.js";

const $ = (id) => document.getElementById(id);
const SHOWN = ["colour", "arrows", "predictions", "chart", "selected", "speed", "theme", "stop"]; // what changes the view alone

export class App {
  // runs: saved ones, if the page has any.
  constructor(runs) {
    const { state, problems } = decode(location.hash.length > 1 ? location.hash : JSON.parse($("start").textContent));
    Object.assign(this, { state, tool: "look", drawing: null, world: null, live: null });
    this.player = new Player(this);
    this.looks = JSON.parse($("looks").textContent);
    this.replay = runs && new Replay(runs);
    this.walks = new Walks(() => (this.dirty = true));
    this.display = new Display(this);
    this.editor = new Editor(this);
    this.sharing = new Sharing(this);
    this.tour = new Tour(this);
    document.body.classList.toggle("embed", /[?#&]embed\b/.test(location.search + location.hash));
    this.controls = new Controls($("controls"), {
      set: (name, value) => this.set(name, value), tool: (name) => this.editor.chooseTool(name), clear: () => this.editor.forgetPaths(),
      resize: (height, width) => this.editor.resize(height, width), method: (name, on) => this.toggle(name, on),
    });
    if (runs) {
      $("views").hidden = false;
      $("tour").hidden = document.querySelector("button[data-view=live]").disabled = Boolean(runs.notLive);
    }
    if (runs) this.panel = new Panel(this.replay, { choose: () => this.chooseRuns(), scrub: (index) => this.scrub(index) });
    this.controls.offer(Boolean(runs) && !runs.notLive, true);
    explainTerms(document.body, $("tip"));
    this.#wire();
    this.start(problems);
  }

  #wire() {
    $("play").onclick = () => this.play(!this.playing);
    $("back").onclick = () => this.go(-1);
    $("one").onclick = () => this.go(1);
    $("ten").onclick = () => this.go(10);
    $("reset").onclick = () => (this.isReplay ? this.scrub(0) : this.restart({ update: 0, changes: [] }));
    $("speed").oninput = () => this.set("speed", Math.round(10 ** Number($("speed").value)));
    $("theme").onclick = () => this.set("theme", this.display.isDark ? "light" : "dark");
    for (const button of document.querySelectorAll("[data-chart]")) button.onclick = () => this.set("chart", button.dataset.chart);
    for (const button of document.querySelectorAll("[data-view]")) {
      if (button.tagName === "BUTTON") button.onclick = () => this.show(button.dataset.view);
    }
    document.querySelector(".skip").onclick = (event) => {
      event.preventDefault(); // the address's fragment is the state
      this.display.focus(this.world.layout.first);
    };
    addEventListener("resize", () => (this.dirty = true));
    addEventListener("hashchange", () => location.hash.slice(1) !== this.written && this.open(location.hash));
    matchMedia("(prefers-color-scheme: dark)").onchange = () => this.changed();
    document.onkeydown = (event) => this.#shortcut(event);
  }

  #shortcut(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select")) return;
    if (event.key === " " && event.target.closest("button, summary")) return; // which presses it
    const action = {
      " ": () => this.play(!this.playing), ",": () => this.isReplay && this.go(-1), ".": () => this.go(1), t: () => $("theme").click(),
      Escape: () => this.walks.stop(), m: () => this.isReplay && this.nextMethod(),
    }[event.key];
    if (!action) return;
    event.preventDefault();
    action();
  }

  open(fragment) {
    const { state, problems } = decode(fragment);
    this.play(false);
    this.state = state;
    this.start(problems);
  }

  // Shows what the state says.
  start(problems) {
    const { replay, state } = this;
    if (!replay && state.view === "run") problems.push("the page has no saved run; this is the live view");
    if (state.view === "auto" || !replay) state.view = replay ? "run" : "live";
    if (replay?.runs.notLive && state.view === "live") state.view = "run";
    if (replay) this.#place();
    if (state.view === "run") this.show("run");
    else this.build(state.update);
    this.tour.show();
    if (problems.length) this.say(problems.join(". "));
  }

  // Puts the saved runs where the address says.
  #place() {
    const { replay, state } = this;
    replay.seed = Math.max(0, replay.all[0].maps.findIndex(({ seed }) => seed === `seed ${state.shownSeed}`));
    replay.advance(state, state.shownUpdate);
    const methods = state.shownMethods?.filter((i) => i < replay.all.length);
    if (methods?.length) replay.choose([...new Set(methods)]);
  }

  get isReplay() {
    return this.world !== null && this.world === this.replay;
  }

  // Shows the saved runs, or the live world, which is made when it is first wanted.
  show(view) {
    this.play(false);
    this.walks.stop();
    this.tool = "look";
    this.state.view = view;
    if (view === "live" && !this.live) return this.build(this.state.update);
    this.world = view === "run" ? this.replay : this.live;
    this.#shown();
  }

  #shown() {
    const { state, isReplay } = this;
    document.body.dataset.view = state.view;
    if (isReplay && state.chart === "steps") state.chart = "curves";
    if (isReplay && ["push", "advantage"].includes(state.arrows)) state.arrows = "policy";
    this.controls.offer(Boolean(this.replay) && !this.replay.runs.notLive, !isReplay);
    this.display.makeBoards();
    this.changed();
  }

  // What is shown, from its beginning.
  fresh() {
    return this.isReplay ? this.replay.copy() : this.#world();
  }

  #world() {
    return new World(this.state, this.looks, this.replay?.base);
  }

  // ---- saved runs ----

  chooseRuns() {
    this.walks.stop();
    this.#shown();
  }

  scrub(index) {
    this.play(false);
    this.replay.go(index);
    this.changed();
  }

  nextMethod() {
    const { chosen, all } = this.replay;
    this.replay.choose([(chosen[chosen.length - 1] + 1) % all.length]);
    this.chooseRuns();
  }

  // The tile that is pointed at; a saved run's stays the last one.
  look(tile) {
    if (tile === null && this.isReplay) return;
    if (this.display.looked === tile) return;
    this.display.looked = tile;
    this.dirty = true;
  }

  // Drops an agent on every board.
  drop(tile) {
    this.look(tile);
    if (this.world.layout.open[tile]) this.walks.drop(this.world, tile);
    else this.say("no episode goes on from here: drop the agent on another tile");
  }

  // ---- changing the state ----

  set(name, value) {
    const now = this.isReplay ? this.state : settingsAt(this.state, this.world.update);
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

  // ---- the world ----

  build(update) {
    this.walks.stop();
    try {
      this.live = this.world = this.#world();
    } catch (error) {
      return this.say(error.message);
    }
    if (this.world.problem) this.say(this.world.problem);
    this.world.advance(this.state, update);
    this.#shown();
  }

  go(updates) {
    this.play(false);
    if (this.isReplay) this.replay.go(this.replay.index + updates);
    else this.world.advance(this.state, Math.min(RANGES.update[1], this.world.update + updates));
    this.changed();
  }

  get playing() {
    return this.player.playing;
  }

  play(on) {
    this.player.play(on);
  }

  // ---- showing ----

  changed() {
    if (this.isReplay) this.#remember();
    else this.state.update = this.world.update;
    this.dirty = true;
    this.display.showTheme();
    this.showControls();
    if (this.playing) return;
    this.written = encode(this.state);
    history.replaceState(null, "", `${location.pathname}${location.search}#${this.written}`);
  }

  #remember() {
    const { replay, state } = this;
    state.shownUpdate = replay.update;
    state.shownSeed = replay.seed ? Number(replay.seedName.replace(/\D/g, "")) : null;
    state.shownMethods = replay.chosen.join() === replay.first.join() ? null : [...replay.chosen];
  }

  showControls() {
    this.controls.show(this.state, this.isReplay ? this.state : settingsAt(this.state, this.world.update), this.tool);
    for (const button of document.querySelectorAll("button[data-view]")) button.setAttribute("aria-pressed", button.dataset.view === this.state.view);
    $("speed").value = Math.log10(this.state.speed);
    $("speed").setAttribute("aria-valuetext", `${this.state.speed} updates a second`);
    for (const button of document.querySelectorAll("[data-chart]")) {
      button.setAttribute("aria-pressed", button.dataset.chart === this.state.chart);
    }
    $("command").textContent = command(this.state);
  }

  showPlaying(playing) {
    $("play").textContent = playing ? "Pause" : this.state.view === "run" ? "Play" : "Align";
    $("play").setAttribute("aria-pressed", playing);
  }

  // A message to everybody, in the page's line for messages.
  say(text) {
    $("message").textContent = text;
    clearTimeout(this.quiet);
    this.quiet = setTimeout(() => ($("message").textContent = ""), 8000);
  }
}

// What is seen: the boards, the charts, the theme; and what a screen reader hears.

import { drawBoard } from "./board.js";
import { number } from "./charts.js";
import { Grid } from "./grid.js";
import { keyOf } from "./key.js";
import { CanvasPen } from "./pen.js";
import * as saved from "./replay_view.js";
import { movesInWords, sceneOf, scaleOf } from "./scene.js";
import * as live from "./view.js";

const $ = (id) => document.getElementById(id);
const COLOURS = [
  "background", "ink", "muted", "faint", "ice", "hole", "water", "rim", "visited", "value", "changed", "arrow", "shown", "rejected",
  "predicted", "predicted_edge", "goal", "more", "less", "red", "green", "yellow", "blue",
];
const METHOD_HUES = 5;
const SPEAK_EVERY = 1000; // milliseconds, at least, between two messages to a screen reader
const MANY = 400; // tiles, from which on a board is larger
const FULL = { visits: "visited", value: "value", change: "changed" };

const write = (element, text) => element.textContent === text || (element.textContent = text);

export class Display {
  constructor(app) {
    Object.assign(this, { app, boards: [], looked: null, spokenAt: 0 });
  }

  get isDark() {
    const { theme } = this.app.state;
    return theme === "dark" || (theme === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
  }

  // The words and charts of what is shown, a live world or saved runs.
  get view() {
    return this.app.isReplay ? saved : live;
  }

  get sentence() {
    return this.view.sentence(this.app.world);
  }

  showTheme() {
    document.documentElement.dataset.theme = this.isDark ? "dark" : "light";
    const css = getComputedStyle(document.documentElement);
    const read = (name) => css.getPropertyValue(`--${name}`).trim();
    this.theme = Object.fromEntries(COLOURS.map((colour) => [colour, read(colour)]));
    this.theme.methods = Array.from({ length: METHOD_HUES }, (_, hue) => read(`method-${hue}`));
    $("theme").textContent = this.isDark ? "Light" : "Dark";
    $("theme").setAttribute("aria-label", `${this.isDark ? "light" : "dark"} theme`);
  }

  makeBoards() {
    const { app } = this;
    const { world } = app;
    this.boards = world.tracks.map((track, i) => {
      const element = $("board").content.firstElementChild.cloneNode(true);
      element.querySelector(".name").textContent = track.title;
      const full = track.full?.split(" · ").filter((part) => part !== track.title).join(" · ");
      element.querySelector(".full").textContent = full ?? "";
      const steps = element.querySelector("button");
      steps.hidden = app.isReplay;
      steps.setAttribute("aria-label", `show the steps of ${track.title}'s answer`);
      steps.onclick = () => {
        app.set("chart", "steps");
        app.set("selected", i);
      };
      const grid = new Grid(element.querySelector(".grid"), world.layout, track.title, {
        label: (tile) => this.describe(track, tile), tool: () => app.tool, apply: (tile) => app.editor.changeTile(tile),
        drop: (tile) => app.drop(tile), path: (tiles, finished) => app.editor.drawPath(tiles, finished), look: (tile) => app.look(tile),
      });
      return { element, canvas: element.querySelector("canvas"), grid };
    });
    const focused = document.activeElement?.dataset.tile;
    $("boards").replaceChildren(...this.boards.map(({ element }) => element));
    if (focused !== undefined) this.focus(Number(focused));
    const wide = world.layout.width / world.layout.height;
    $("boards").style.setProperty("--count", this.boards.length);
    $("boards").style.setProperty("--most", world.layout.standing.size > MANY ? "44rem" : "21rem");
    $("boards").style.setProperty("--least", world.layout.standing.size > MANY ? "30rem" : "12.25rem");
    $("boards").style.setProperty("--wide", Math.min(2.2, Math.max(1, wide)));
    if (this.world !== world) this.looked = app.isReplay ? world.layout.first : null;
    this.world = world;
  }

  focus(tile) {
    this.boards[0]?.grid.cells[tile]?.focus();
  }

  describe(track, tile) {
    const { world } = this.app;
    const { layout } = world;
    const { policy, visits, value } = world.seen(track);
    if (!layout.open[tile]) return this.app.isReplay ? layout.effectOf(tile) : live.endsHere(world, track, tile);
    return `${movesInWords(layout, policy, tile)} · visits ${number(visits[tile])} · value ${value[tile].toFixed(3)}`;
  }

  // What an agent has done, or the numbers of the tile that is pointed at, under every board, so that methods can be compared.
  tell() {
    const { app, looked } = this;
    const { world, walks } = app;
    this.boards.forEach(({ element }, i) => {
      const track = world.tracks[i];
      const walk = walks.walks.find((one) => one.track === track);
      const told = walk ? `agent: ${walks.wordsOf(walk)}` : "";
      const words = app.isReplay || looked === null ? "" : this.describe(track, looked);
      const line = element.querySelector(".look");
      write(line, [told, words].filter(Boolean).join(" · "));
    });
  }

  scenes() {
    const { world, state, drawing, tool, walks } = this.app;
    const extra = drawing ? { [tool === "rejected" ? "rejected" : "shown"]: drawing } : {};
    return world.tracks.map((track) => {
      const trail = walks.walks.find((walk) => walk.track === track)?.path;
      return sceneOf(world, track, state, { ...extra, trail, here: this.looked });
    });
  }

  draw() {
    const { app, theme } = this;
    const { world, state } = app;
    app.dirty = false;
    const widths = this.boards.map(({ element }) => element.querySelector(".stage").clientWidth); // read before anything is written
    write($("update"), `update ${world.update}`);
    write($("sentence"), this.sentence);
    const scenes = this.scenes();
    scenes.forEach((scene, i) => {
      const [{ element, canvas }, track] = [this.boards[i], world.tracks[i]];
      const tile = widths[i] / world.layout.width;
      canvas.style.height = `${tile * world.layout.height}px`;
      drawBoard(new CanvasPen(canvas, widths[i], tile * world.layout.height), scene, tile, theme);
      element.querySelector(".name").style.color = theme.methods[track.look.hue];
      write(element.querySelector(".numbers"), this.view.headline(world, track));
      element.classList.toggle("selected", !app.isReplay && state.chart === "steps" && i === state.selected);
    });
    this.tell();
    this.drawKey();
    this.drawCharts();
    if (app.isReplay) app.panel.show(this.looked, state.predictions);
    this.speak();
  }

  // Nothing on a board is without a key; it is made again where what it depends on has changed.
  drawKey() {
    const { world, state } = this.app;
    const scale = scaleOf(world, state.colour);
    const mixing = world.tracks.map((track) => track.learner?.method.options.mixing);
    const causes = JSON.stringify([state.colour, state.arrows, state.predictions, world.tracks.map((track) => track.name), scale, mixing, this.theme]);
    if (causes === this.keyCauses && world === this.keyWorld) return;
    [this.keyCauses, this.keyWorld] = [causes, world];
    $("key").innerHTML = keyOf(world, state, scale, FULL[state.colour], this.theme);
  }

  charts() {
    const { world, state } = this.app;
    return this.view.chartsOf(world, state, this.theme);
  }

  drawCharts() {
    const charts = this.charts();
    const place = $("charts");
    if (place.children.length !== charts.length) {
      place.replaceChildren(...charts.map(() => {
        const figure = document.createElement("figure");
        figure.append(document.createElement("canvas"), document.createElement("figcaption"));
        return figure;
      }));
    }
    place.classList.toggle("wide", charts.length === 1);
    const widths = charts.map((_, i) => place.children[i].clientWidth);
    charts.forEach((chart, i) => {
      const [canvas, caption] = place.children[i].children;
      canvas.hidden = !chart.draw;
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${chart.title}. ${chart.label ?? this.sentence}`);
      write(caption, chart.note ?? "");
      if (!chart.draw) return;
      const width = widths[i];
      const height = charts.length === 1 ? Math.min(420, Math.max(260, width * 0.42)) : 210;
      canvas.style.height = `${height}px`;
      chart.draw(new CanvasPen(canvas, width, height), width, height);
    });
  }

  // At most once a second; when it stops, what is true then.
  speak() {
    clearTimeout(this.later);
    const wait = this.spokenAt + SPEAK_EVERY - performance.now();
    if (wait > 0) {
      this.later = setTimeout(() => this.speak(), wait);
      return;
    }
    const { walks } = this.app;
    const agents = walks.walks.length && walks.over ? walks.walks.map((walk) => `${walk.track.title}: ${walks.wordsOf(walk)}`).join("; ") : "";
    const text = agents && agents !== this.told ? agents : this.sentence; // of agents once
    this.told = agents;
    if ($("live").textContent !== text) {
      this.spokenAt = performance.now();
      $("live").textContent = text;
    }
  }
}

// What is seen: the boards, their key, the charts, the theme; and what a screen reader hears.

import { blend, drawBoard } from "./board.js";
import { titleOf } from "./glossary.js";
import { Grid, movesInWords } from "./grid.js";
import { CanvasPen } from "./pen.js";
import { chartsOf, headline, sceneOf, scalesOf, sentence } from "./view.js";
import { number } from "./charts.js";

const $ = (id) => document.getElementById(id);
const COLOURS = ["background", "ink", "muted", "faint", "ice", "hole", "water", "rim", "visited", "value", "changed", "arrow", "shown", "rejected", "predicted", "predicted_edge", "goal", "more", "less"];
const SPEAK_EVERY = 1000; // milliseconds, at least, between two messages to a screen reader
const KEYS = {
  visits: (scales) => ["visits an episode", scales.isLog ? "≤ 0.01" : "0", number(scales.visits)],
  value: (scales) => ["value, discounted reward", "0", number(scales.value)],
  change: () => ["change since the base, total variation", "0", "1"],
};
const ARROWS = {
  policy: "arrow: probability of a move", optimal: "arrow: T*, the optimal policy", change: "arrow: likelier (blue), less likely (orange)",
  push: "arrow: what the next update moves", advantage: "arrow: better (blue), worse (orange) than average",
};

export class Display {
  constructor(app) {
    Object.assign(this, { app, boards: [], looked: null, spokenAt: 0 });
  }

  get isDark() {
    const { theme } = this.app.state;
    return theme === "dark" || (theme === "auto" && matchMedia("(prefers-color-scheme: dark)").matches);
  }

  showTheme() {
    const name = this.isDark ? "dark" : "light";
    document.documentElement.dataset.theme = name;
    const css = getComputedStyle(document.documentElement);
    this.theme = Object.fromEntries(COLOURS.map((colour) => [colour, css.getPropertyValue(`--${colour}`).trim()]));
    this.styles = JSON.parse($("styles").textContent)[name];
    $("theme").textContent = this.isDark ? "Light" : "Dark";
    $("theme").setAttribute("aria-label", `${this.isDark ? "light" : "dark"} theme`);
  }

  makeBoards() {
    const { app } = this;
    const { world } = app;
    this.boards = world.tracks.map((track, i) => {
      const element = $("board").content.firstElementChild.cloneNode(true);
      const title = titleOf(track.name);
      element.querySelector(".name").textContent = title;
      const steps = element.querySelector("button");
      steps.setAttribute("aria-label", `show the steps of ${title}'s answer`);
      steps.onclick = () => {
        app.set("chart", "steps");
        app.set("selected", i);
      };
      const grid = new Grid(element.querySelector(".grid"), world.lake, title, {
        label: (tile) => this.describe(track, tile), tool: () => app.tool, apply: (tile) => app.changeTile(tile),
        path: (tiles, finished) => app.drawPath(tiles, finished), look: (tile) => this.look(tile),
      });
      return { element, canvas: element.querySelector("canvas"), grid };
    });
    $("boards").replaceChildren(...this.boards.map(({ element }) => element));
    $("boards").style.setProperty("--count", this.boards.length);
    this.looked = null;
  }

  focus(tile) {
    this.boards[0]?.grid.cells[tile]?.focus();
  }

  describe(track, tile) {
    const { lake } = this.app.world;
    const now = this.app.world.measured(track);
    if (lake.terminal[tile]) return `${(100 * now.visits[tile]).toFixed(1)} % of the episodes end here`;
    return `${movesInWords(track.policy, tile)} · visits ${number(now.visits[tile])} · value ${now.value[tile].toFixed(3)}`;
  }

  // The numbers of the tile that is pointed at, under every board, so that methods can be compared.
  look(tile) {
    this.looked = tile;
    this.boards.forEach(({ element }, i) => {
      element.querySelector(".look").textContent = tile === null ? "" : this.describe(this.app.world.tracks[i], tile);
    });
  }

  scenes() {
    const { world, state, drawing, tool } = this.app;
    const scales = scalesOf(world);
    const extra = drawing ? { [tool === "rejected" ? "rejected" : "shown"]: drawing } : {};
    return { scales, scenes: world.tracks.map((track) => sceneOf(world, track, state, scales, extra)) };
  }

  draw() {
    const { app, theme } = this;
    const { world, state } = app;
    app.dirty = false;
    $("update").textContent = `update ${world.update}`;
    $("sentence").textContent = sentence(world, state);
    const { scales, scenes } = this.scenes();
    scenes.forEach((scene, i) => {
      const { element, canvas } = this.boards[i];
      const width = element.querySelector(".stage").clientWidth;
      const tile = width / world.lake.width;
      canvas.style.height = `${tile * world.lake.height}px`;
      drawBoard(new CanvasPen(canvas, width, tile * world.lake.height), scene, tile, theme);
      element.querySelector(".name").style.color = this.styles[world.tracks[i].name].colour;
      element.querySelector(".numbers").textContent = headline(world, world.tracks[i]);
      element.classList.toggle("selected", state.chart === "steps" && i === state.selected);
    });
    if (this.looked !== null && this.looked < world.lake.states) this.look(this.looked);
    this.drawKey(scales, scenes);
    this.drawCharts();
    this.speak();
  }

  // Nothing on a board is without a key.
  drawKey(scales, scenes) {
    const { state } = this.app;
    const key = $("key");
    const entries = [`<span>${ARROWS[state.arrows]}</span>`, '<span><i class="box shown"></i>demonstration</span>'];
    if (scenes.some((scene) => scene.rejected.length)) entries.push('<span><i class="box rejected"></i>rejected path</span>');
    if (scenes.some((scene) => scene.predictions.length)) entries.push('<span><i class="diamond"></i>IFT\'s own prediction, mixed in</span>');
    if (KEYS[state.colour]) {
      const [title, low, high] = KEYS[state.colour](scales);
      const full = { visits: "visited", value: "value", change: "changed" }[state.colour];
      const ramp = [0, 0.25, 0.5, 0.75, 1].map((share) => blend(this.theme.ice, this.theme[full], share)).join(",");
      entries.push(`<span>${title}: ${low} <i class="ramp" style="background:linear-gradient(90deg,${ramp})"></i> ${high}</span>`);
    }
    const html = entries.join("");
    if (key.innerHTML !== html) key.innerHTML = html;
  }

  charts() {
    const { world, state } = this.app;
    return chartsOf(world, state, this.styles, this.theme);
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
    charts.forEach((chart, i) => {
      const [canvas, caption] = place.children[i].children;
      canvas.hidden = !chart.draw;
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `${chart.title}. ${sentence(this.app.world, this.app.state)}`);
      if (caption.textContent !== (chart.note ?? "")) caption.textContent = chart.note ?? "";
      if (!chart.draw) return;
      const width = place.children[i].clientWidth;
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
    const text = sentence(this.app.world, this.app.state);
    if ($("live").textContent !== text) {
      this.spokenAt = performance.now();
      $("live").textContent = text;
    }
  }
}

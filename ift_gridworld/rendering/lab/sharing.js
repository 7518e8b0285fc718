// The buttons that take something away.

import { drawBoard } from "./board.js";
import { CanvasPen } from "./pen.js";
import { csvOf, download, filmOf, pictureOf, pngOf } from "./share.js";
import { sceneOf } from "./scene.js";
import { command } from "./state.js";

const FRAMES = 100; // of a film, beside those on which its end stands
const [TILE, LARGEST, GAP, HEAD] = [44, 400, 20, 34]; // pixels of a film: of a tile at most, of a board at most

export class Sharing {
  constructor(app) {
    this.app = app;
    for (const button of document.querySelectorAll("[data-share]")) {
      button.onclick = () => this[button.dataset.share]().catch((error) => app.say(error.message));
    }
  }

  get picture() {
    const { world, display } = this.app;
    return pictureOf(world, display.view, display.theme, display.scenes(), display.charts());
  }

  async link() {
    await navigator.clipboard.writeText(location.href);
    this.app.say("the link to this very state is copied");
  }

  async svg() {
    download("alignment.svg", this.picture, "image/svg+xml");
  }

  async png() {
    download("alignment.png", await pngOf(this.picture));
  }

  async csv() {
    download("alignment.csv", csvOf(this.app.world), "text/csv");
  }

  async map() {
    download("lake.txt", `${this.app.state.rows.join("\n")}\n`, "text/plain");
  }

  async python() {
    await navigator.clipboard.writeText(command(this.app.state));
    this.app.say("the command is copied");
  }

  // The run from its base to now, as a film of the boards.
  async film() {
    const { app } = this;
    const { state, display } = app;
    const last = Math.max(1, app.world === app.replay ? app.replay.runs.updates[app.replay.end] : app.world.update);
    const world = app.fresh();
    const { width, height } = world.layout;
    const side = Math.min(TILE, LARGEST / Math.max(width, height));
    const canvas = document.createElement("canvas");
    const size = [GAP + world.tracks.length * (width * side + GAP), HEAD + height * side + GAP].map((x) => 2 * Math.ceil(x / 2));
    app.say("recording …");
    const frame = (i) => {
      const share = Math.min(1, i / FRAMES);
      world.advance(state, Math.round(last * share ** 2));
      const scenes = world.tracks.map((track) => sceneOf(world, track, state));
      const pen = new CanvasPen(canvas, ...size);
      pen.shape([0, 0, size[0], 0, ...size, 0, size[1]], { fill: display.theme.background });
      pen.text(size[0] - GAP, HEAD / 2, `update ${world.update}`, { size: 15, weight: 700, fill: display.theme.ink, align: "right" });
      scenes.forEach((scene, j) => {
        const left = GAP + j * (width * side + GAP);
        pen.context.translate(left, HEAD);
        drawBoard(pen, scene, side, display.theme);
        pen.context.translate(-left, -HEAD);
        const { title, look } = world.tracks[j];
        pen.text(left, HEAD / 2, title, { size: 15, weight: 700, fill: display.theme.methods[look.hue] });
      });
    };
    frame(0); // so that the canvas has its size before it is recorded
    download("alignment.webm", await filmOf(canvas, FRAMES + 40, frame));
  }
}

// Making a lake: its size, its tiles, and the paths that are drawn on it.

import { pathFromTiles } from "./paths.js";

const NEXT = { F: "H", H: "G", G: "S", S: "F" }; // what a click makes of a tile
const HELP = {
  tile: "Click a tile: ice, hole, goal, start.", demonstration: "Drag from a start along the way to show.",
  rejected: "Drag from a start along the way to reject.",
};

export class Editor {
  constructor(app) {
    this.app = app;
  }

  resize(height, width) {
    const { rows } = this.app.state;
    const made = Array.from({ length: height }, (_, y) => Array.from({ length: width }, (_, x) => rows[y]?.[x] ?? "F").join(""));
    const put = (text, at, letter) => text.slice(0, at) + letter + text.slice(at + 1);
    if (!made.join("").includes("S")) made[0] = put(made[0], 0, "S");
    if (!made.join("").includes("G")) made[height - 1] = put(made[height - 1], width - 1, "G");
    this.app.restart({ rows: made, demonstration: null, rejected: null });
    this.app.showControls();
  }

  chooseTool(name) {
    this.app.tool = name;
    this.app.play(false);
    document.getElementById("boards").dataset.tool = name;
    this.app.showControls();
    if (HELP[name]) this.app.say(HELP[name]);
  }

  forgetPaths() {
    this.app.restart({ demonstration: null, rejected: null });
  }

  changeTile(tile) {
    const { width } = this.app.world.lake;
    const letters = [...this.app.state.rows.join("")];
    letters[tile] = NEXT[letters[tile]];
    if (letters[tile] === "S") letters.forEach((letter, i) => letter === "S" && i !== tile && (letters[i] = "F"));
    const rows = this.app.state.rows.map((_, y) => letters.slice(y * width, (y + 1) * width).join(""));
    this.app.restart({ rows, demonstration: null, rejected: null });
  }

  // A path that is drawn: shown while it grows, taken when it is finished.
  drawPath(tiles, finished) {
    if (!finished) {
      this.app.drawing = [...tiles];
      this.app.dirty = true;
      return;
    }
    this.app.drawing = null;
    this.app.dirty = true;
    if (!tiles) return;
    const answer = pathFromTiles(this.app.world.lake, tiles);
    if (answer.problem) this.app.say(answer.problem);
    else this.app.restart({ [this.app.tool]: tiles });
  }
}

// What makes a drawn board a thing to use: a grid of cells over it, for pointer, touch, keyboard and screen reader.

import { ACTIONS, MOVES } from "./mdp.js";

const KEYS = { // both the arrow keys and the letters W A S D
  ArrowLeft: 0, a: 0, ArrowDown: 1, s: 1, ArrowRight: 2, d: 2, ArrowUp: 3, w: 3,
};
const KINDS = { F: "ice", H: "hole", G: "goal", S: "start" };

export class Grid {
  // handlers: label(tile) for the screen reader, look(tile or null), apply(tile), path(tiles), tool()
  constructor(element, lake, name, handlers) {
    Object.assign(this, { element, lake, handlers, drawn: null });
    element.setAttribute("role", "grid");
    element.setAttribute("aria-label", `${name}: lake of ${lake.height} by ${lake.width} tiles`);
    element.style.setProperty("--columns", lake.width);
    element.replaceChildren(...Array.from({ length: lake.height }, (_, row) => this.#row(row)));
    this.cells = [...element.querySelectorAll("[role=gridcell]")];
    this.cells[lake.first].tabIndex = 0;
    element.onkeydown = (event) => this.#key(event);
    element.onfocusin = (event) => this.#focus(event);
    element.onpointerdown = (event) => this.#down(event);
    element.onpointermove = (event) => this.#move(event);
    element.onpointerup = () => this.#finish();
    element.onpointercancel = () => this.#cancel();
    element.onpointerleave = () => handlers.look(null);
  }

  #row(row) {
    const element = document.createElement("div");
    element.setAttribute("role", "row");
    for (let column = 0; column < this.lake.width; column++) {
      const cell = document.createElement("div");
      const tile = this.lake.at(row, column);
      cell.setAttribute("role", "gridcell");
      cell.setAttribute("aria-label", this.#place(tile));
      cell.tabIndex = -1;
      cell.dataset.tile = tile;
      element.append(cell);
    }
    return element;
  }

  #place(tile) {
    return `row ${Math.floor(tile / this.lake.width) + 1}, column ${(tile % this.lake.width) + 1}: ${KINDS[this.lake.letters[tile]]}`;
  }

  #tileOf(event) {
    const cell = event.type.startsWith("pointer")
      ? document.elementFromPoint(event.clientX, event.clientY)?.closest("[data-tile]") : event.target.closest("[data-tile]");
    return cell && this.element.contains(cell) ? Number(cell.dataset.tile) : null;
  }

  #focus(event) {
    const tile = this.#tileOf(event);
    if (tile === null) return;
    this.#describe(tile);
    this.handlers.look(tile);
  }

  #describe(tile) {
    this.cells[tile].setAttribute("aria-label", `${this.#place(tile)}. ${this.handlers.label(tile)}`);
  }

  #key(event) {
    const tile = this.#tileOf(event);
    if (tile === null || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in KEYS) {
      const [rows, columns] = MOVES[KEYS[event.key]];
      const [row, column] = [Math.floor(tile / this.lake.width) + rows, (tile % this.lake.width) + columns];
      if (row < 0 || row >= this.lake.height || column < 0 || column >= this.lake.width) return event.preventDefault();
      this.#go(tile, this.lake.at(row, column));
    } else if (event.key === "Enter" || event.key === " ") {
      if (this.handlers.tool() === "tile") this.handlers.apply(tile);
      else if (this.handlers.tool() !== "look") this.drawn ? this.#finish() : this.#begin(tile);
    } else if (event.key === "Escape" && this.drawn) this.#cancel();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #go(from, to) {
    this.cells[from].tabIndex = -1;
    this.cells[to].tabIndex = 0;
    this.#describe(to);
    this.cells[to].focus();
    if (this.drawn) this.#extend(to);
  }

  #down(event) {
    const tile = this.#tileOf(event);
    if (tile === null || event.button > 0) return;
    if (this.handlers.tool() === "tile") this.handlers.apply(tile);
    else if (this.handlers.tool() === "look") this.handlers.look(tile);
    else {
      event.preventDefault();
      if (event.target.hasPointerCapture?.(event.pointerId)) event.target.releasePointerCapture(event.pointerId);
      this.#begin(tile);
    }
  }

  #move(event) {
    const tile = this.#tileOf(event);
    if (this.drawn && event.buttons && tile !== null) this.#extend(tile);
    else this.handlers.look(tile);
  }

  #begin(tile) {
    this.drawn = [tile];
    this.handlers.path(this.drawn, false);
  }

  // Going back along the path shortens it.
  #extend(tile) {
    const { drawn } = this;
    if (tile === drawn[drawn.length - 1]) return;
    if (tile === drawn[drawn.length - 2]) drawn.pop();
    else drawn.push(tile);
    this.handlers.path(drawn, false);
  }

  #finish() {
    if (!this.drawn) return;
    const drawn = this.drawn;
    this.drawn = null;
    this.handlers.path(drawn, true);
  }

  #cancel() {
    this.drawn = null;
    this.handlers.path(null, true);
  }
}

// What a tile's policy does, in words: the moves that have more than a hundredth.
export function movesInWords(policy, tile) {
  const moves = ACTIONS.map((name, a) => [policy[tile * ACTIONS.length + a], name]).filter(([p]) => p >= 0.01);
  return moves.sort((a, b) => b[0] - a[0]).map(([p, name]) => `${name} ${(100 * p).toFixed(p > 0.995 || p < 0.1 ? 1 : 0)} %`).join(", ");
}

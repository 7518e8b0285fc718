// What makes a drawn board a thing to use: a grid of cells over it, for pointer, touch, keyboard and screen reader.

import { MOVES } from "./mdp.js";

const KEYS = { // both the arrow keys and the letters W A S D
  ArrowLeft: 0, a: 0, ArrowDown: 1, s: 1, ArrowRight: 2, d: 2, ArrowUp: 3, w: 3,
};
const FAR = { Home: 0, End: 2 }; // to the last tile of the row

export class Grid {
  // handlers: label(tile) for the screen reader, look(tile or null), apply(tile), drop(tile), path(tiles), tool()
  constructor(element, layout, name, handlers) {
    Object.assign(this, { element, layout, handlers, drawn: null, cells: [] });
    element.setAttribute("role", "grid");
    element.setAttribute("aria-label", `${name}: map of ${layout.height} by ${layout.width} tiles`);
    element.setAttribute("aria-rowcount", layout.height);
    element.setAttribute("aria-colcount", layout.width);
    element.style.setProperty("--columns", layout.width);
    element.style.setProperty("--rows", layout.height);
    element.replaceChildren(...this.#rows());
    this.stop = this.cells[layout.first] ? layout.first : layout.tiles[0]; // the one cell that the tab key reaches
    this.cells[this.stop].tabIndex = 0;
    element.onkeydown = (event) => this.#key(event);
    element.addEventListener("focusin", (event) => this.#focus(event));
    element.onpointerdown = (event) => this.#down(event);
    element.onpointermove = (event) => this.#move(event);
    element.onpointerup = () => this.#finish();
    element.onpointercancel = () => this.#cancel();
    element.onpointerleave = () => handlers.look(null);
    element.onclick = (event) => this.handlers.tool() === "look" && this.#tileOf(event) !== null && handlers.drop(this.#tileOf(event));
  }

  #rows() {
    const { layout } = this;
    const rows = new Map();
    for (const tile of layout.tiles) {
      const row = layout.row(tile);
      if (!rows.has(row)) {
        const element = document.createElement("div");
        element.setAttribute("role", "row");
        element.setAttribute("aria-rowindex", row + 1);
        element.style.gridRow = row + 1;
        rows.set(row, element);
      }
      rows.get(row).append((this.cells[tile] = this.#cell(tile)));
    }
    return rows.values();
  }

  #cell(tile) {
    const cell = document.createElement("div");
    cell.setAttribute("role", "gridcell");
    cell.setAttribute("aria-colindex", this.layout.column(tile) + 1);
    cell.setAttribute("aria-label", this.#place(tile));
    cell.tabIndex = -1;
    cell.dataset.tile = tile;
    if (this.layout.place) cell.style.gridColumn = this.layout.column(tile) + 1;
    return cell;
  }

  #place(tile) {
    return `${this.layout.nameOf(tile)}: ${this.layout.kindOf(tile)}`;
  }

  #tileOf(event) {
    const cell = event.type.startsWith("pointer") // a captured pointer's target is where it was pressed
      ? document.elementFromPoint(event.clientX, event.clientY)?.closest("[data-tile]") : event.target.closest("[data-tile]");
    return cell && this.element.contains(cell) ? Number(cell.dataset.tile) : null;
  }

  #focus(event) {
    const tile = this.#tileOf(event);
    if (tile === null) return;
    this.cells[this.stop].tabIndex = -1;
    this.cells[tile].tabIndex = 0;
    this.stop = tile;
    this.#describe(tile);
    this.handlers.look(tile);
  }

  #describe(tile) {
    this.cells[tile].setAttribute("aria-label", `${this.#place(tile)}. ${this.handlers.label(tile)}`);
  }

  #key(event) {
    const tile = this.#tileOf(event);
    if (tile === null || event.ctrlKey || event.metaKey || event.altKey) return;
    const direction = KEYS[event.key] ?? FAR[event.key];
    if (direction !== undefined) {
      const next = this.layout.beside(tile, MOVES[direction], event.key in FAR);
      if (next !== undefined) this.#go(next);
    } else if (event.key === "Enter" || (event.key === " " && this.handlers.tool() !== "look")) {
      if (this.handlers.tool() === "tile") this.handlers.apply(tile);
      else if (this.handlers.tool() === "look") this.handlers.drop(tile);
      else this.drawn ? this.#finish() : this.#begin(tile);
    } else if (event.key === "Escape" && this.drawn) this.#cancel();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #go(to) {
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

// Where states are drawn and what they are called: of a lake that is made here, or of any environment of a saved run.

import { ACTIONS, MOVES } from "./mdp.js";

const LAKE_WORDS = { H: ["hole", "ends the episode"], G: ["goal", "ends the episode, reward 1"] };
const STATIONS = "rgyb";

export class Layout {
  // rows: letters of the tiles. place: [row, column] of each state, row -1 for one that cannot occur; null for row by row.
  // open: by state, whether an episode can be there and go on. words: by letter, what a tile is and what happens on it.
  constructor({ rows, states, place = null, open, words, actions, moves, first, names = [], walls = [], marks = {}, headings = [] }) {
    Object.assign(this, { rows, states, place, open, words, actions, moves, first, names, walls, marks, headings });
    [this.height, this.width] = [rows.length, rows[0].length];
    this.standing = new Map(); // the state of each tile
    for (let s = 0; s < states; s++) if (this.row(s) >= 0) this.standing.set(this.row(s) * this.width + this.column(s), s);
    this.tiles = [...this.standing].sort((one, other) => one[0] - other[0]).map(([, s]) => s);
  }

  row(s) {
    return this.place ? this.place[s][0] : Math.floor(s / this.width);
  }

  column(s) {
    return this.place ? this.place[s][1] : s % this.width;
  }

  // The state of a tile; undefined where there is none.
  at(row, column) {
    const inside = row >= 0 && row < this.height && column >= 0 && column < this.width;
    return inside ? this.standing.get(row * this.width + column) : undefined;
  }

  // From a tile to the next in a direction, or with `far` to the last; blanks between small maps are skipped.
  beside(s, [rows, columns], far = false) {
    let found;
    for (let r = this.row(s) + rows, c = this.column(s) + columns; r >= 0 && r < this.height && c >= 0 && c < this.width; r += rows, c += columns) {
      const next = this.at(r, c);
      if (next === undefined) continue;
      found = next;
      if (!far) break;
    }
    return found;
  }

  letter(s) {
    return this.row(s) < 0 ? " " : this.rows[this.row(s)][this.column(s)];
  }

  nameOf(s) {
    return this.names.length ? this.names[s] : `row ${this.row(s) + 1}, column ${this.column(s) + 1}`;
  }

  kindOf(s) {
    const letter = this.letter(s);
    if (STATIONS.includes(letter)) return `station ${letter.toUpperCase()}`;
    return this.words[letter]?.[0] ?? (letter === "S" ? "start" : "ground");
  }

  // What happens on a tile that no episode goes on from.
  effectOf(s) {
    return this.words[this.letter(s)]?.join(": ") ?? "no episode comes here";
  }

  // Where an episode ends, in words.
  endingOf(s) {
    return this.row(s) < 0 || ["ground", "start"].includes(this.kindOf(s)) ? "without reaching the goal" : `in the ${this.kindOf(s)}`;
  }
}

// Of a lake: what drawing needs is made once.
export function layoutOf(lake) {
  lake.drawn ??= new Layout({
    rows: lake.rows, states: lake.states, open: lake.terminal.map((ends) => 1 - ends), words: LAKE_WORDS, actions: ACTIONS,
    moves: MOVES, first: lake.first,
  });
  return lake.drawn;
}

// Of one tile, for keys.
export const tileOf = (letter, { moves = MOVES, marks = {} } = {}) => new Layout({
  rows: [letter], states: 1, open: [1], words: {}, actions: ACTIONS, moves, first: 0, marks,
});

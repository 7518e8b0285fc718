// The Markov decision process of a lake, from its map: tables of what follows each action, as `TabularMDP.from_map` makes them.

export const ACTIONS = ["left", "down", "right", "up"];
export const MOVES = [[0, -1], [1, 0], [0, 1], [-1, 0]]; // row, column

export class Lake {
  // rows: strings of S F H G. slip: probability of going to one side or the other; 0 is a deterministic lake, 2/3 Gymnasium's.
  constructor(rows, { slip = 0, discount = 0.99, horizon = null } = {}) {
    const problem = mapProblem(rows);
    if (problem) throw new RangeError(problem);
    if (!(slip >= 0 && slip <= 1)) throw new RangeError(`slip is ${slip}; allowed: 0 to 1`);
    if (!(discount >= 0 && discount < 1)) throw new RangeError(`discount is ${discount}; allowed: from 0, below 1`);
    Object.assign(this, { rows, slip, discount, height: rows.length, width: rows[0].length });
    this.letters = rows.join("");
    this.states = this.letters.length;
    this.actions = ACTIONS.length;
    this.slots = 3; // one side, ahead, the other side
    this.horizon = horizon ?? timeLimit(rows);
    const size = this.states * this.actions * this.slots;
    this.next = new Int32Array(size);
    this.probability = new Float64Array(size);
    this.reward = new Float64Array(size);
    this.terminated = new Uint8Array(size);
    this.terminal = Uint8Array.from(this.letters, (letter) => letter === "G" || letter === "H");
    this.walkable = Array.from({ length: this.states }, (_, s) => s).filter((s) => !this.terminal[s]);
    this.#fill();
    const starts = [...this.letters].filter((letter) => letter === "S").length;
    this.start = Float64Array.from(this.letters, (letter) => (letter === "S" ? 1 / starts : 0));
    this.first = this.letters.indexOf("S");
    this.deterministic = slip === 0;
  }

  index(state, action, slot = 0) {
    return (state * this.actions + action) * this.slots + slot;
  }

  at(row, column) {
    return row * this.width + column;
  }

  // The tile that a move leads to; the edge of the map holds it back.
  neighbour(state, action) {
    const row = Math.floor(state / this.width) + MOVES[action][0];
    const column = (state % this.width) + MOVES[action][1];
    return row < 0 || row >= this.height || column < 0 || column >= this.width ? state : this.at(row, column);
  }

  #fill() {
    const chances = [this.slip / 2, 1 - this.slip, this.slip / 2];
    for (let s = 0; s < this.states; s++) {
      for (let a = 0; a < this.actions; a++) {
        for (let k = 0; k < this.slots; k++) {
          const i = this.index(s, a, k);
          if (this.terminal[s]) {
            this.next[i] = s;
            this.probability[i] = k === 0 ? 1 : 0;
            this.terminated[i] = 1;
            continue;
          }
          const reached = this.neighbour(s, (a + k + 3) % 4); // a - 1, a, a + 1
          this.next[i] = reached;
          this.probability[i] = chances[k];
          this.reward[i] = this.letters[reached] === "G" ? 1 : 0;
          this.terminated[i] = this.terminal[reached];
        }
      }
    }
  }

  // Calls visit(next, probability, reward, terminated) for each outcome that is possible.
  outcomes(state, action, visit) {
    for (let k = 0; k < this.slots; k++) {
      const i = this.index(state, action, k);
      if (this.probability[i] > 0) visit(this.next[i], this.probability[i], this.reward[i], this.terminated[i]);
    }
  }
}

// 25 steps for each tile of mean side length, at least 100: Gymnasium's 100 for 4x4 and 200 for 8x8.
function timeLimit(rows) {
  return Math.max(100, Math.floor((25 * (rows.length + rows[0].length)) / 2));
}

// What is wrong with a map, in words; null if nothing is.
export function mapProblem(rows) {
  if (!Array.isArray(rows) || !rows.length || !rows[0].length) return "the map is empty; allowed: rows of S F H G";
  if (rows.some((row) => row.length !== rows[0].length)) return "the rows of the map differ in length; allowed: equally long rows";
  const letters = rows.join("");
  const unknown = /[^SFHG]/.exec(letters);
  if (unknown) return `the map has ${JSON.stringify(unknown[0])}; allowed: S F H G`;
  if (!letters.includes("S")) return "the map has no start; allowed: at least one S";
  if (!letters.includes("G")) return "the map has no goal; allowed: at least one G";
  return reachesGoal(rows) ? null : "no way leads from the start to the goal";
}

function reachesGoal(rows) {
  const [height, width] = [rows.length, rows[0].length];
  const seen = new Set();
  const queue = [];
  rows.forEach((row, y) => [...row].forEach((letter, x) => letter === "S" && queue.push([y, x])));
  while (queue.length) {
    const [y, x] = queue.pop();
    if (y < 0 || y >= height || x < 0 || x >= width || seen.has(y * width + x) || rows[y][x] === "H") continue;
    if (rows[y][x] === "G") return true;
    seen.add(y * width + x);
    for (const [dy, dx] of MOVES) queue.push([y + dy, x + dx]);
  }
  return false;
}

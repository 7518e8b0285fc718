// The runs that the page shows, read from its data, and what is asked of them.

export const byId = id => document.getElementById(id);
export const run = JSON.parse(byId("data").textContent);
export const lake = run.lake;
export const S = lake.states;
export const A = lake.actions.length;  // actions of a state
export const K = lake.outcomes;  // of an action

// Tables come as whole numbers of some bytes over a range, each as the difference from the one before: all lowest bytes
// first, packed by zlib, in base64. `before` is the whole numbers of the table that the first differs from.
async function wholeNumbers(packed, before) {
  const bytes = Uint8Array.from(atob(packed.data), letter => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const planes = new Uint8Array(await new Response(stream).arrayBuffer());
  const count = planes.length / packed.size, width = count / packed.rows, range = 256 ** packed.size;
  const whole = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    let value = i < width ? (packed.after ? before[i] : 0) : whole[i - width];
    for (let place = 0; place < packed.size; place++) value += planes[place * count + i] * 256 ** place;
    whole[i] = value % range;
  }
  return whole;
}

async function unpack(packed, before) {
  const whole = await wholeNumbers(packed, before), step = (packed.high - packed.low) / (256 ** packed.size - 1);
  return { whole, numbers: whole.map(value => packed.low + value * step) };
}

const LAKE = ["next", "chance", "reward", "ends", "open", "best", "value"], TABLES = ["policy", "value", "visits"];

// Unpacks all tables, in place.
export async function unpackAll() {
  for (const part of LAKE) lake[part] = (await unpack(lake[part])).numbers;
  lake.next = lake.next.map((ahead, i) => (Math.floor(i / (A * K)) + ahead) % S);
  for (const seed of run.methods[0].maps.keys()) {
    const first = {};
    for (const { maps } of run.methods) {
      for (const part of TABLES) {
        const unpacked = await unpack(maps[seed][part], first[part]);
        first[part] ??= unpacked.whole;  // the base of the first method, which most methods start from
        maps[seed][part] = unpacked.numbers;
      }
      if (maps[seed].weights) maps[seed].weights = (await unpack(maps[seed].weights)).numbers;
    }
  }
}

// What the reader looks at. All boards stand at one update; `index` says at which of those that have maps.
export const state = {
  methods: [], seed: 0, index: 0, tile: lake.start, colour: "visits", predictions: true, playing: 0, agent: null, boards: [],
};
export const update = () => run.updates[state.index];
export const shown = () => state.methods.map(which => run.methods[which]);
export const at = m => m.at[state.index];  // which of its tables
export const now = m => m.kept[at(m)];  // where that lies on its curves
export const tables = m => m.maps[state.seed];  // policies, values and visits of the seed that is shown
export const probability = (m, k, s, a) => tables(m).policy[(k * S + s) * A + a];
// A method stands at its last snapshot until the update, which may be an earlier one.
export function age(m) {
  const last = m.steps.at(-1), step = m.steps[now(m)];
  if (last < update()) return `ended at ${last}`;
  return step < update() ? `map of update ${step}` : "";
}

// ---- where states are ----

export const row = s => lake.place ? lake.place[s][0] : Math.floor(s / lake.columns);  // -1: the state cannot occur
export const column = s => lake.place ? lake.place[s][1] : s % lake.columns;
export const letter = s => row(s) < 0 ? " " : lake.layout[row(s)][column(s)];
export const open = s => lake.open[s] > 0;  // an episode can be there and go on
export const nameOf = s => lake.names.length ? lake.names[s] : `row ${row(s) + 1}, column ${column(s) + 1}`;
export const standing = new Map();  // the state of each tile
for (let s = 0; s < S; s++) if (row(s) >= 0) standing.set(row(s) * lake.columns + column(s), s);

// What a tile is, and what happens on it, which the reader is told of tiles that an episode does not go on from.
export const kindOf = s => lake.words[letter(s)]?.[0] || { S: "start" }[letter(s)] ||
  ("rgyb".includes(letter(s)) ? `station ${letter(s).toUpperCase()}` : "ground");
export const effectOf = s => lake.words[letter(s)]?.join(": ") || "no episode comes here";

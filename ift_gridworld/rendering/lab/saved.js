// Saved runs, read from the page's data.

// Tables come as whole numbers of some bytes over a range, each as the difference from the one before: all lowest bytes
// first, packed by zlib, in base64. `before` is the whole numbers of the table that the first differs from.
async function wholeNumbers(packed, before) {
  const bytes = Uint8Array.from(atob(packed.data), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const planes = new Uint8Array(await new Response(stream).arrayBuffer());
  const count = planes.length / packed.size;
  const [width, range] = [count / packed.rows, 256 ** packed.size];
  const whole = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    let value = i < width ? (packed.after ? before[i] : 0) : whole[i - width];
    for (let place = 0; place < packed.size; place++) value += planes[place * count + i] * 256 ** place;
    whole[i] = value % range;
  }
  return whole;
}

async function unpacked(packed, before) {
  const whole = await wholeNumbers(packed, before);
  const step = (packed.high - packed.low) / (256 ** packed.size - 1);
  return { whole, numbers: whole.map((value) => packed.low + value * step) };
}

const LAKE = ["next", "chance", "reward", "ends", "open", "best", "value"];
const TABLES = ["policy", "value", "visits"];

// The runs of the page with all tables unpacked; null where the page has none.
export async function savedRuns(text) {
  const runs = JSON.parse(text);
  if (!runs) return null;
  const { lake, methods } = runs;
  for (const part of LAKE) lake[part] = (await unpacked(lake[part])).numbers;
  const slots = lake.actions.length * lake.outcomes;
  lake.next = lake.next.map((ahead, i) => (Math.floor(i / slots) + ahead) % lake.states);
  for (const seed of methods[0].maps.keys()) {
    const first = {}; // the base of the first method, which most methods start from
    for (const { maps } of methods) {
      for (const part of TABLES) {
        const { whole, numbers } = await unpacked(maps[seed][part], first[part]);
        first[part] ??= whole;
        maps[seed][part] = numbers;
      }
      if (maps[seed].weights) maps[seed].weights = (await unpacked(maps[seed].weights)).numbers;
    }
  }
  return runs;
}

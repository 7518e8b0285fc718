// One board: a map with a policy on it, of a lake that is made here or of a saved run. It is drawn from a scene, a plain object,
// with a pen.

const LEAST = 0.02; // arrows of a smaller probability are not drawn
// Pixels of a tile: below the first, of several arrows only the largest is drawn; below the second, start and goal are signs
// of a least size.
const [SMALL, TINY, SIGN] = [30, 13, 18];
const TIES = 16; // where IFT's predictions are more, only those of the tile that is looked at are tied to it

// scene: layout, colour [S] of 0 to 1 or null with its kind, arrows [{ state, action, size, tone }], shown and rejected states,
// predictions [[right state, predicted state, weight]], trail [states], here: the state that is looked at.
export function drawBoard(pen, scene, tile, theme) {
  const { layout } = scene;
  for (const s of layout.tiles) drawTile(pen, scene, s, tile, theme);
  drawLandmarks(pen, layout, tile, theme);
  drawPath(pen, layout, scene.rejected, tile, { stroke: theme.rejected, inset: 0.2, dash: [tile * 0.11, tile * 0.08], part: "rejected" });
  drawPath(pen, layout, scene.shown, tile, { stroke: theme.shown, inset: 0.09, dash: [], part: "shown" });
  for (const s of layout.tiles) if (layout.letter(s) === "S") drawStart(pen, layout, s, tile, theme);
  const arrows = tile < SMALL ? largestOf(scene.arrows) : scene.arrows;
  for (const arrow of arrows) drawArrow(pen, layout, arrow, theme, tile);
  for (const s of layout.tiles) if (layout.letter(s) === "G") drawGoal(pen, layout, s, tile, theme);
  drawPredictions(pen, scene, tile, theme);
  if (scene.trail?.length) drawTrail(pen, scene, tile, theme);
  if (scene.here !== undefined && scene.here !== null && layout.row(scene.here) >= 0) drawHere(pen, layout, scene.here, tile, theme);
}

const corner = (layout, s, tile) => [layout.column(s) * tile, layout.row(s) * tile];
const centre = (layout, s, tile) => corner(layout, s, tile).map((x) => x + tile / 2);

function square(x, y, side, inset) {
  const [a, b] = [inset, side - inset];
  return [x + a, y + a, x + b, y + a, x + b, y + b, x + a, y + b];
}

// The corner of a tile's sign, which is as large as can be seen and stays on the board.
function signAt(layout, s, tile) {
  const side = Math.max(tile, tile < TINY ? SIGN : 0);
  const inside = (middle, count) => Math.max(0, Math.min(count * tile - side, middle * tile + tile / 2 - side / 2));
  return [inside(layout.column(s), layout.width), inside(layout.row(s), layout.height), side];
}

function drawTile(pen, { layout, colour, kind }, s, tile, theme) {
  const [x, y] = corner(layout, s, tile);
  const gap = tile * 0.03;
  if ("HC".includes(layout.letter(s))) {
    pen.shape(square(x, y, tile, gap), { fill: theme.hole, stroke: tile < TINY ? null : theme.rim, width: 1, part: "hole" });
    pen.circle(x + tile / 2, y + tile / 2, tile * 0.28, { fill: theme.water });
    return;
  }
  const share = !layout.open[s] || !colour ? 0 : Math.max(0, Math.min(1, colour[s]));
  const full = { visits: theme.visited, value: theme.value, change: theme.changed }[kind] ?? theme.ice;
  pen.shape(square(x, y, tile, gap), { fill: blend(theme.ice, full, share), part: `tile ${s}` });
}

// A colour between two, "#rrggbb".
export function blend(from, to, share) {
  const channel = (colour, i) => parseInt(colour.slice(1 + 2 * i, 3 + 2 * i), 16);
  return `#${[0, 1, 2].map((i) => Math.round(channel(from, i) + share * (channel(to, i) - channel(from, i))).toString(16).padStart(2, "0")).join("")}`;
}

// What a taxi's map has: coloured stations, walls, words on blanks, a passenger and a destination.
function drawLandmarks(pen, layout, tile, theme) {
  const hues = { r: theme.red, g: theme.green, y: theme.yellow, b: theme.blue };
  const flags = new Set((layout.marks.destination ?? []).map(([r, c]) => r * layout.width + c));
  layout.rows.forEach((line, r) => [...line].forEach((letter, c) => {
    if (!hues[letter]) return;
    const [x, y] = [c * tile, r * tile];
    pen.shape(square(x, y, tile, 0.095 * tile), { stroke: theme.ink, width: Math.max(1.6, 0.15 * tile), part: "station" });
    pen.shape(square(x, y, tile, 0.095 * tile), { stroke: hues[letter], width: Math.max(1, 0.09 * tile) });
    const low = flags.has(r * layout.width + c); // a flag flies above
    if (tile >= TINY) pen.text(x + 0.77 * tile, y + (low ? 0.78 : 0.28) * tile, letter.toUpperCase(), { size: 0.3 * tile, fill: theme.ink, weight: 600, halo: theme.ice, align: "center" });
  }));
  for (const [r, c, text] of layout.headings) pen.text(c * tile + 0.04 * tile, (r + 0.55) * tile, text, { size: 0.8 * tile, fill: theme.ink });
  for (const [[r0, c0], [r1, c1]] of layout.walls) pen.shape([c0 * tile, r0 * tile, c1 * tile, r1 * tile], { stroke: theme.ink, width: 0.18 * tile, closed: false });
  for (const [kind, tiles] of Object.entries(layout.marks)) {
    for (const [r, c] of tiles) drawMark(pen, kind, c * tile, r * tile, tile, { fill: hues[layout.rows[r][c]] ?? theme.muted, stroke: theme.ink, width: Math.max(0.6, 0.04 * tile) });
  }
}

function drawMark(pen, kind, x, y, tile, style) {
  const at = (...shares) => shares.map((share, i) => (i % 2 ? y : x) + share * tile);
  if (kind === "destination") return pen.shape(at(0.14, 0.97, 0.14, 0.05, 0.23, 0.05, 0.95, 0.33, 0.23, 0.61, 0.23, 0.97), style);
  pen.shape(at(0.14, 0.95, 0.28, 0.5, 0.72, 0.5, 0.86, 0.95), style);
  pen.circle(x + 0.5 * tile, y + 0.27 * tile, 0.2 * tile, style);
}

function drawPath(pen, layout, states, tile, { stroke, inset, dash, part }) {
  for (const s of new Set(states ?? [])) {
    if (!layout.open[s] || layout.row(s) < 0) continue;
    const [x, y] = corner(layout, s, tile);
    const style = { stroke, width: Math.max(1.6, tile * 0.045), dash: tile < TINY && dash.length ? [3, 2] : dash, part };
    pen.shape(square(x, y, tile, inset * tile), style);
  }
}

function drawStart(pen, layout, s, tile, theme) {
  const [x, y, side] = signAt(layout, s, tile);
  if (side > tile) pen.shape(square(x, y, side, 0), { fill: theme.ice, stroke: theme.ink, width: 1.5, part: "sign start" });
  const small = tile >= TINY && tile < 34;
  if (small) return pen.circle(x + tile / 2, y + tile / 2, tile * 0.44, { stroke: theme.ink, width: 1.5, part: "start" });
  const [at, size] = side > tile ? [side / 2, side * 0.8] : [tile * 0.2, tile * 0.24];
  pen.text(x + at, y + at + tile * 0.02, "S", { size, fill: theme.ink, weight: 700, halo: theme.ice, align: "center", part: "start" });
}

// The goal is a flag on its pole.
function drawGoal(pen, layout, s, tile, theme) {
  const [x, y, side] = signAt(layout, s, tile);
  if (side > tile) pen.shape(square(x, y, side, 0), { fill: theme.ice, stroke: theme.ink, width: 1.5, part: "sign goal" });
  const at = (...shares) => shares.map((share, i) => (i % 2 ? y : x) + share * side);
  pen.shape(at(0.3, 0.15, 0.37, 0.15, 0.37, 0.86, 0.3, 0.86), { fill: theme.goal, part: "goal" });
  pen.shape(at(0.37, 0.15, 0.82, 0.33, 0.37, 0.51), { fill: theme.goal });
  pen.shape(at(0.2, 0.82, 0.48, 0.82, 0.48, 0.88, 0.2, 0.88), { fill: theme.goal });
}

// Of each state's arrows the largest, which goes through the whole tile.
function largestOf(arrows) {
  const largest = new Map();
  for (const arrow of arrows) if (!(largest.get(arrow.state)?.size >= arrow.size)) largest.set(arrow.state, arrow);
  return [...largest.values()].map((arrow) => ({ ...arrow, through: true }));
}

function drawArrow(pen, layout, { state, action, size, tone, through = false }, theme, tile) {
  if (size < LEAST || layout.row(state) < 0) return;
  const p = Math.min(1, size);
  const [cx, cy] = centre(layout, state, tile);
  const [dy, dx] = layout.moves[action];
  const style = { fill: theme[tone], part: `arrow ${state} ${action}` };
  if (!dx && !dy) return drawStay(pen, layout, action, cx, cy, tile * p, style);
  const [tip, shaft, head] = through ? [0.1 + 0.3 * p, 0.025 + 0.035 * p, 0.08 + 0.14 * p] : [0.06 + 0.38 * p, 0.014 + 0.024 * p, 0.035 + 0.075 * p];
  const [tail, neck] = [through ? -tip : 0.05, tip - Math.min(1.45 * head, 0.7 * tip)];
  const outline = [[tail, -shaft], [neck, -shaft], [neck, -head], [tip, 0], [neck, head], [neck, shaft], [tail, shaft]];
  const points = outline.flatMap(([along, across]) => [cx + tile * (along * dx - across * dy), cy + tile * (along * dy + across * dx)]);
  if (Object.keys(layout.marks).length) pen.shape(points, { stroke: theme.ice, width: 0.12 * tile }); // over passengers and flags
  pen.shape(points, style);
}

// An action that is no move: a disc for the first, a square for the second, growing with its probability.
function drawStay(pen, layout, action, cx, cy, size, style) {
  const second = layout.moves.slice(0, action).some(([dy, dx]) => !dx && !dy);
  if (second) pen.shape(square(cx - 0.3 * size, cy - 0.3 * size, 0.6 * size, 0), style);
  else pen.circle(cx, cy, 0.34 * size, style);
}

// Where IFT's predictions lead: a diamond on each tile, its area the weight, tied to the tile that is right.
function drawPredictions(pen, { layout, predictions = [], here }, tile, theme) {
  const placed = predictions.filter(([right, predicted]) => layout.row(predicted) >= 0 && layout.row(right) >= 0);
  const place = (s) => corner(layout, s, tile).map((x, i) => x + tile * (i ? 0.8 : 0.2));
  const wrong = placed.filter(([right, predicted]) => right !== predicted);
  for (const [right, predicted] of wrong.length > TIES ? wrong.filter((pair) => pair.includes(here)) : wrong) {
    const line = [...place(right), ...place(predicted)];
    pen.shape(line, { stroke: theme.predicted_edge, width: 3.5, closed: false });
    pen.shape(line, { stroke: theme.predicted, width: 2, dash: [2, 2], closed: false, part: `tie ${right} ${predicted}` });
  }
  for (const [, predicted, weight] of placed) {
    const [[x, y], r] = [place(predicted), Math.max(0.14 * tile, 3.5) * Math.sqrt(weight)];
    pen.shape([x, y - r, x + r, y, x, y + r, x - r, y], { fill: theme.predicted, stroke: theme.predicted_edge, width: 1, part: `prediction ${predicted}` });
  }
}

// The way of an agent that walks, with a gap where it goes on in another small map, and the agent.
function drawTrail(pen, { layout, trail }, tile, theme) {
  const walked = trail.filter((s) => layout.row(s) >= 0);
  const near = (a, b) => Math.max(Math.abs(layout.row(a) - layout.row(b)), Math.abs(layout.column(a) - layout.column(b))) <= 1;
  const pieces = [];
  walked.forEach((s, i) => (i && near(walked[i - 1], s) ? pieces[pieces.length - 1].push(s) : pieces.push([s])));
  const width = Math.max(1.6, 0.06 * tile);
  for (const style of [{ stroke: theme.predicted_edge, width: 2 * width, part: "trail edge" }, { stroke: theme.predicted, width, part: "trail" }]) {
    for (const piece of pieces) if (piece.length > 1) pen.shape(piece.flatMap((s) => centre(layout, s, tile)), { ...style, closed: false });
  }
  const last = walked[walked.length - 1];
  if (last !== undefined) pen.circle(...centre(layout, last, tile), Math.max(0.17 * tile, 4), { fill: theme.predicted, stroke: theme.predicted_edge, width: 1.6, part: "walker" });
}

// The frame around the tile that is looked at; its edge is seen where the tile is as dark as the line.
function drawHere(pen, layout, s, tile, theme) {
  const [x, y] = corner(layout, s, tile);
  pen.shape(square(x, y, tile, 0.03 * tile), { stroke: theme.background, width: Math.max(3.5, 0.1 * tile) });
  pen.shape(square(x, y, tile, 0.03 * tile), { stroke: theme.ink, width: Math.max(1.6, 0.05 * tile), part: "here" });
}

// Arrows of a policy, or of any numbers from 0 to 1 by state and action.
export function policyArrows(layout, table, tone = "arrow") {
  const [arrows, actions] = [[], layout.actions.length];
  for (const s of layout.tiles) {
    if (!layout.open[s]) continue;
    for (let a = 0; a < actions; a++) arrows.push({ state: s, action: a, size: table[s * actions + a], tone });
  }
  return arrows;
}

// Arrows of signed numbers by state and action, the largest of full size: what grows in one colour, what shrinks in another.
export function signedArrows(layout, table, largest = null) {
  const actions = layout.actions.length;
  const scale = largest ?? table.reduce((most, x, i) => (layout.open[Math.floor(i / actions)] ? Math.max(most, Math.abs(x)) : most), 1e-12);
  return policyArrows(layout, table.map((x) => Math.abs(x) / scale)).map((arrow) => ({
    ...arrow, tone: table[arrow.state * actions + arrow.action] > 0 ? "more" : "less",
  }));
}

// How far two policies [S A] are apart in each state, from 0 to 1: total variation.
export function totalVariation(states, one, other) {
  const [apart, actions] = [new Float64Array(states), one.length / states];
  one.forEach((p, i) => (apart[Math.floor(i / actions)] += Math.abs(p - other[i]) / 2));
  return apart;
}

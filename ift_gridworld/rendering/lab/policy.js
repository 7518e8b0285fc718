// Policies: a table and a two-layer network, and their gradients.
//
// A policy is split at its embedding, so that it can be run on a state that is mixed from several: an input is a list of
// states with weights (`Inputs`). Gradients are added up in `gradient`, which has one array for each of `parameters`.

// A batch of mixed states: input i is Σ_k weight[i W + k] e(state[i W + k]).
export class Inputs {
  constructor(count, width) {
    Object.assign(this, { count, width });
    this.state = new Int32Array(count * width);
    this.weight = new Float64Array(count * width);
  }

  // Every state by itself.
  static states(states) {
    const inputs = new Inputs(states.length, 1);
    inputs.state.set(states);
    inputs.weight.fill(1);
    return inputs;
  }
}

class Policy {
  constructor(states, outputs, parameters) {
    Object.assign(this, { states, outputs, parameters });
    this.gradient = parameters.map((p) => new Float64Array(p.length));
  }

  clone() {
    const parameters = this.parameters.map((p) => p.slice());
    return Object.assign(Object.create(Object.getPrototypeOf(this)), this, {
      parameters, gradient: parameters.map((p) => new Float64Array(p.length)),
    });
  }

  clearGradient() {
    for (const g of this.gradient) g.fill(0);
  }

  // log π(a|s) of every state, [S A].
  logTable() {
    return logSoftmax(this.forward(Inputs.states(Int32Array.from({ length: this.states }, (_, s) => s))).logits, this.outputs);
  }

  // T(a|s) of every state, [S A].
  distribution() {
    return this.logTable().map(Math.exp);
  }
}

// One row of logits a state; a mixed state has the mixed logits.
export class Table extends Policy {
  static learningRate = 0.03;

  constructor(states, outputs, theta = new Float64Array(states * outputs)) {
    super(states, outputs, [theta]);
  }

  static random(states, outputs, random) {
    return new Table(states, outputs, Float64Array.from({ length: states * outputs }, () => random.normal()));
  }

  forward(inputs) {
    const [theta] = this.parameters;
    const logits = new Float64Array(inputs.count * this.outputs);
    spread(inputs, this.outputs, (from, to, weight) => {
      for (let a = 0; a < this.outputs; a++) logits[to + a] += weight * theta[from + a];
    });
    return { inputs, logits };
  }

  // Adds the gradient that `slope` (∂loss/∂logits) leaves in the parameters.
  backward({ inputs }, slope) {
    const [gradient] = this.gradient;
    spread(inputs, this.outputs, (from, to, weight) => {
      for (let a = 0; a < this.outputs; a++) gradient[from + a] += weight * slope[to + a];
    });
  }
}

// softmax(W2 tanh(W1 e(s) + b1) + b2), the paper's two-layer policy.
export class Network extends Policy {
  static learningRate = 0.01;

  constructor(states, outputs, hidden = 64, parameters = null) {
    const sizes = [states * hidden, hidden, hidden * outputs, outputs];
    super(states, outputs, parameters ?? sizes.map((size) => new Float64Array(size)));
    this.hidden = hidden;
  }

  static random(states, outputs, random, hidden = 64) {
    const network = new Network(states, outputs, hidden);
    const [w1, , w2] = network.parameters;
    for (let i = 0; i < w1.length; i++) w1[i] = random.normal();
    for (let i = 0; i < w2.length; i++) w2[i] = random.normal() / Math.sqrt(hidden);
    return network;
  }

  forward(inputs) {
    const [w1, b1, w2, b2] = this.parameters;
    const { hidden, outputs } = this;
    const units = new Float64Array(inputs.count * hidden);
    for (let i = 0; i < inputs.count; i++) units.set(b1, i * hidden);
    spread(inputs, hidden, (from, to, weight) => {
      for (let h = 0; h < hidden; h++) units[to + h] += weight * w1[from + h];
    });
    const logits = new Float64Array(inputs.count * outputs);
    for (let i = 0; i < inputs.count; i++) {
      for (let a = 0; a < outputs; a++) logits[i * outputs + a] = b2[a];
      for (let h = 0; h < hidden; h++) {
        const unit = (units[i * hidden + h] = Math.tanh(units[i * hidden + h]));
        for (let a = 0; a < outputs; a++) logits[i * outputs + a] += unit * w2[h * outputs + a];
      }
    }
    return { inputs, units, logits };
  }

  backward({ inputs, units }, slope) {
    const { hidden, outputs } = this;
    const w2 = this.parameters[2];
    const [g1, gb1, g2, gb2] = this.gradient;
    const below = new Float64Array(units.length); // ∂loss/∂(W1 e + b1)
    for (let i = 0; i < inputs.count; i++) {
      for (let a = 0; a < outputs; a++) gb2[a] += slope[i * outputs + a];
      for (let h = 0; h < hidden; h++) {
        const unit = units[i * hidden + h];
        let sum = 0;
        for (let a = 0; a < outputs; a++) {
          g2[h * outputs + a] += unit * slope[i * outputs + a];
          sum += w2[h * outputs + a] * slope[i * outputs + a];
        }
        below[i * hidden + h] = (1 - unit * unit) * sum;
        gb1[h] += below[i * hidden + h];
      }
    }
    spread(inputs, hidden, (from, to, weight) => {
      for (let h = 0; h < hidden; h++) g1[from + h] += weight * below[to + h];
    });
  }
}

export const POLICIES = { table: Table, network: Network };

// Calls visit(row of the state, row of the input, weight) for each state of each input; rows are `width` numbers long.
function spread(inputs, width, visit) {
  for (let i = 0, k = 0; i < inputs.count; i++) {
    for (const end = k + inputs.width; k < end; k++) {
      if (inputs.weight[k] !== 0) visit(inputs.state[k] * width, i * width, inputs.weight[k]);
    }
  }
}

// log softmax of rows of logits.
export function logSoftmax(logits, width) {
  const result = new Float64Array(logits.length);
  for (let row = 0; row < logits.length; row += width) {
    let top = -Infinity;
    for (let a = row; a < row + width; a++) top = Math.max(top, logits[a]);
    let sum = 0;
    for (let a = row; a < row + width; a++) sum += Math.exp(logits[a] - top);
    const norm = top + Math.log(sum);
    for (let a = row; a < row + width; a++) result[a] = logits[a] - norm;
  }
  return result;
}

// Adds to `slope` what ∂loss/∂log π(action) = g of one input leaves in its logits: g (1[a = action] - π(a)).
export function pushLogits(slope, logTable, input, width, action, g) {
  if (g === 0) return;
  for (let a = 0, i = input * width; a < width; a++, i++) slope[i] += g * ((a === action ? 1 : 0) - Math.exp(logTable[i]));
}

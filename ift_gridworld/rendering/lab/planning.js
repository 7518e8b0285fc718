// The oracle: optimal, soft-optimal and a policy's own values, its visits and its success, all exact.
// A policy is a Float64Array [S A] of probabilities; values are in units of reward, visits in expected visits of an episode.

const TIE = 1e-9; // share of a value below which two actions are equally good, as in `planning.greedy`

// Q(s, a) = r(s, a) + γ Σ P(s'|s, a) V(s'), over the outcomes that go on.
export function backup(lake, value) {
  const q = new Float64Array(lake.states * lake.actions);
  for (let i = 0, slot = 0; i < q.length; i++) {
    for (let k = 0; k < lake.slots; k++, slot++) {
      const onward = lake.terminated[slot] ? 0 : lake.discount * value[lake.next[slot]];
      q[i] += lake.probability[slot] * (lake.reward[slot] + onward);
    }
  }
  return q;
}

// V* and Q*: value iteration until nothing changes by more than rounding.
export function optimalValues(lake, sweeps = 100000) {
  let value = new Float64Array(lake.states);
  for (let sweep = 0; sweep < sweeps; sweep++) {
    const q = backup(lake, value);
    const following = new Float64Array(lake.states);
    let converged = true;
    for (let s = 0; s < lake.states; s++) {
      following[s] = rowMax(q, s, lake.actions);
      converged &&= Math.abs(following[s] - value[s]) <= 1e-13 * Math.abs(following[s]);
    }
    value = following;
    if (converged) return { value, q: backup(lake, value) };
  }
  throw new Error(`values still change after ${sweeps} sweeps`);
}

// T*(a|s): a best action, ties shared evenly.
export function optimalPolicy(lake, q = optimalValues(lake).q) {
  const policy = new Float64Array(q.length);
  for (let s = 0; s < lake.states; s++) {
    const best = rowMax(q, s, lake.actions);
    let ties = 0;
    for (let a = 0; a < lake.actions; a++) ties += isBest(q[s * lake.actions + a], best);
    for (let a = 0; a < lake.actions; a++) policy[s * lake.actions + a] = isBest(q[s * lake.actions + a], best) / ties;
  }
  return policy;
}

const isBest = (q, best) => (q >= best - TIE * Math.abs(best) ? 1 : 0);

function rowMax(table, row, width) {
  let best = -Infinity;
  for (let a = 0; a < width; a++) best = Math.max(best, table[row * width + a]);
  return best;
}

// The policy that maximises E[Σ γ^t (r_t - β KL(π || reference))], and its values (Ziebart 2010).
export function softOptimal(lake, reference, beta, sweeps = 1000000) {
  if (!(beta > 0)) throw new RangeError(`beta is ${beta}; allowed: > 0`);
  const { states, actions } = lake;
  let value = new Float64Array(states);
  for (let sweep = 0; sweep < sweeps; sweep++) {
    const q = backup(lake, value);
    const following = new Float64Array(states);
    let [change, largest] = [0, 1];
    for (let s = 0; s < states; s++) {
      if (lake.terminal[s]) continue;
      let top = -Infinity;
      for (let a = 0; a < actions; a++) if (reference[s * actions + a] > 0) top = Math.max(top, q[s * actions + a]);
      let sum = 0; // Σ reference (e^x - 1), so that the logarithm of a number near 1 stays exact
      for (let a = 0; a < actions; a++) {
        const p = reference[s * actions + a];
        if (p > 0) sum += p * Math.expm1((q[s * actions + a] - top) / beta);
      }
      following[s] = top + beta * Math.log1p(sum);
      change = Math.max(change, Math.abs(following[s] - value[s]));
      largest = Math.max(largest, Math.abs(following[s]));
    }
    value = following;
    if (change <= 1e-13 * largest) return { value, policy: softPolicy(lake, reference, beta, backup(lake, value)) };
  }
  throw new Error(`soft values still change after ${sweeps} sweeps`);
}

function softPolicy(lake, reference, beta, q) {
  const policy = new Float64Array(q.length);
  for (let s = 0; s < lake.states; s++) {
    const top = rowMax(q, s, lake.actions);
    let total = 0;
    for (let i = s * lake.actions; i < (s + 1) * lake.actions; i++) {
      policy[i] = reference[i] * Math.exp((q[i] - top) / beta);
      total += policy[i];
    }
    for (let i = s * lake.actions; i < (s + 1) * lake.actions; i++) policy[i] /= total;
  }
  return policy;
}

// P(s'|s) of the outcomes that go on, [S S], and r(s), both under a policy.
function chainOf(lake, policy, reward = null) {
  const { states, actions } = lake;
  const onward = new Float64Array(states * states);
  const paid = new Float64Array(states);
  for (let s = 0; s < states; s++) {
    if (lake.terminal[s]) continue;
    for (let a = 0; a < actions; a++) {
      const p = policy[s * actions + a];
      if (p === 0) continue;
      if (reward) paid[s] += p * reward[s * actions + a];
      lake.outcomes(s, a, (next, chance, r, ends) => {
        if (!reward) paid[s] += p * chance * r;
        if (!ends) onward[s * states + next] += p * chance;
      });
    }
  }
  return { onward, paid };
}

// V_π, by solving V = r_π + γ P_π V; `reward` [S A] replaces the lake's own.
export function evaluatePolicy(lake, policy, reward = null) {
  const { onward, paid } = chainOf(lake, policy, reward);
  return solve(identityMinus(onward, lake.states, lake.discount), paid);
}

// Discounted visits d(s) = Σ_t γ^t P(s_t = s) of the states that episodes step from, by solving d = ρ0 + γ P_πᵀ d.
export function discountedVisits(lake, policy) {
  const { onward } = chainOf(lake, policy);
  const transposed = new Float64Array(onward.length);
  for (let i = 0; i < lake.states; i++) {
    for (let j = 0; j < lake.states; j++) transposed[j * lake.states + i] = onward[i * lake.states + j];
  }
  return solve(identityMinus(transposed, lake.states, lake.discount), lake.start);
}

function identityMinus(matrix, size, factor) {
  const result = matrix.map((x) => -factor * x);
  for (let i = 0; i < size; i++) result[i * size + i] += 1;
  return result;
}

// Gaussian elimination with partial pivoting; the matrix [n n] is overwritten.
export function solve(matrix, right) {
  const n = right.length;
  const x = Float64Array.from(right);
  for (let column = 0; column < n; column++) {
    let pivot = column;
    for (let row = column + 1; row < n; row++) {
      if (Math.abs(matrix[row * n + column]) > Math.abs(matrix[pivot * n + column])) pivot = row;
    }
    if (pivot !== column) {
      for (let j = column; j < n; j++) {
        [matrix[pivot * n + j], matrix[column * n + j]] = [matrix[column * n + j], matrix[pivot * n + j]];
      }
      [x[pivot], x[column]] = [x[column], x[pivot]];
    }
    for (let row = column + 1; row < n; row++) {
      const factor = matrix[row * n + column] / matrix[column * n + column];
      if (factor === 0) continue;
      for (let j = column; j < n; j++) matrix[row * n + j] -= factor * matrix[column * n + j];
      x[row] -= factor * x[column];
    }
  }
  for (let row = n - 1; row >= 0; row--) {
    for (let j = row + 1; j < n; j++) x[row] -= matrix[row * n + j] * x[j];
    x[row] /= matrix[row * n + row];
  }
  return x;
}

// Episodes that are cut off after `horizon` steps: expected steps taken from each state, visits of each state (an end counts
// once, on entry), and the probability of reaching the goal.
export function episodesWithin(lake, policy, horizon = lake.horizon) {
  const { states, actions } = lake;
  const [from, to, chance, ends, wins] = edgesOf(lake, policy);
  let now = Float64Array.from(lake.start, (p, s) => (lake.terminal[s] ? 0 : p));
  const steps = new Float64Array(states);
  const visits = Float64Array.from(lake.start);
  let success = 0;
  for (let t = 0; t < horizon; t++) {
    const following = new Float64Array(states);
    let going = 0;
    for (let s = 0; s < states; s++) steps[s] += now[s];
    for (let e = 0; e < from.length; e++) {
      const flow = now[from[e]] * chance[e];
      if (flow === 0) continue;
      visits[to[e]] += flow;
      if (ends[e]) success += wins[e] * flow;
      else {
        following[to[e]] += flow;
        going += flow;
      }
    }
    now = following;
    if (going < 1e-16) break;
  }
  return { steps, visits, success: Math.min(1, success), actions };
}

// The outcomes of all states under a policy as edges; those of one state to another are added up.
function edgesOf(lake, policy) {
  const [from, to, chance, ends, wins] = [[], [], [], [], []];
  for (const s of lake.walkable) {
    const reached = new Map();
    for (let a = 0; a < lake.actions; a++) {
      const p = policy[s * lake.actions + a];
      if (p === 0) continue;
      lake.outcomes(s, a, (next, q) => reached.set(next, (reached.get(next) ?? 0) + p * q));
    }
    for (const [next, p] of reached) {
      from.push(s);
      to.push(next);
      chance.push(p);
      ends.push(lake.terminal[next]);
      wins.push(lake.letters[next] === "G" ? 1 : 0);
    }
  }
  return [from, to, chance, ends, wins];
}

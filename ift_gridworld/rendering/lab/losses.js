// The losses, each with its gradient. One answer or pair at a time; log-probabilities are in nats; every loss is to be
// minimised. Formulas and sources stand in the Python package's `losses`; tests hold both to the same reference numbers.

export const PROPAGATIONS = ["released", "algorithm1", "equation21", "none"];
export const NORMS = ["L1", "L2", "softmax", "log"];

// ---- numerically safe forms ----

// log σ(x)
const logSigmoid = (x) => Math.min(x, 0) - Math.log1p(Math.exp(-Math.abs(x)));
// σ(x)
export const sigmoid = (x) => (x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x)));

// log(1 - e^x) for x <= 0, without cancellation on either side of -log 2 (Mächler 2012).
export function log1mexp(x) {
  const kept = Math.min(x, -2.2250738585072014e-308);
  return kept > -Math.LN2 ? Math.log(-Math.expm1(kept)) : Math.log1p(-Math.exp(kept));
}

// ---- demonstrations: logp and mask have one entry a step; the result is { value, gradient } with ∂value/∂logp ----

// L = -(1/N) Σ log π(a*|s*)
export function sftLoss(logp, mask) {
  const count = Math.max(1, mask.reduce((n, m) => n + (m ? 1 : 0), 0));
  let value = 0;
  const gradient = new Float64Array(logp.length);
  for (let t = 0; t < logp.length; t++) {
    if (!mask[t]) continue;
    value -= logp[t] / count;
    gradient[t] = -1 / count;
  }
  return { value, gradient };
}

// Intuitive Fine-Tuning's relation propagation, by each of its published definitions.
export function iftLoss(logp, mask, { decay = 0.95, propagation = "released", norm = "L1", detach = false } = {}) {
  const loss = Float64Array.from(logp, (x, t) => (mask[t] ? -x : 0));
  if (propagation === "none" || (propagation === "released" && decay === 0)) return sftLoss(logp, mask);
  if (propagation === "equation21") return equation21(loss, mask, decay);
  if (propagation === "algorithm1") return algorithm1(loss, mask, decay, detach);
  return released(loss, mask, decay, norm, detach);
}

// Σ_{i>=t} γ^{i-t} x_i
function decayedAfter(x, decay) {
  const sums = new Float64Array(x.length);
  for (let t = x.length - 1, sum = 0; t >= 0; t--) sums[t] = sum = x[t] + decay * sum;
  return sums;
}

// Σ_{i<=t} γ^{t-i} x_i
function decayedBefore(x, decay) {
  const sums = new Float64Array(x.length);
  for (let t = 0, sum = 0; t < x.length; t++) sums[t] = sum = x[t] + decay * sum;
  return sums;
}

// L = Σ_n Σ_{i>=n} γ^{i-n} l_i
function equation21(loss, mask, decay) {
  const weight = decayedBefore(Float64Array.from(mask, (m) => (m ? 1 : 0)), decay);
  let value = 0;
  const gradient = new Float64Array(loss.length);
  for (let t = 0; t < loss.length; t++) {
    if (!mask[t]) continue;
    value += weight[t] * loss[t];
    gradient[t] = -weight[t];
  }
  return { value, gradient };
}

// L = Σ_t w_t l_t, w_t = Σ_{i>=t} γ^{i-t} l_i
function algorithm1(loss, mask, decay, detach) {
  const weight = decayedAfter(loss, decay);
  const before = decayedBefore(loss, decay); // ∂/∂l_k of the weights: Σ_{t<=k} γ^{k-t} l_t
  let value = 0;
  const gradient = new Float64Array(loss.length);
  for (let t = 0; t < loss.length; t++) {
    if (!mask[t]) continue;
    value += weight[t] * loss[t];
    gradient[t] = -(weight[t] + (detach ? 0 : before[t]));
  }
  return { value, gradient };
}

// The weights of the authors' code before scaling, f(u) with u_t = Σ_{i>=t} γ^{i-t} l_i / N, and f'(u).
function shaped(u, mask, norm) {
  if (norm === "L1") return [u, u.map(() => 1)];
  if (norm === "log") return [u.map(Math.log1p), u.map((x) => 1 / (1 + x))];
  const largest = u.reduce((most, x) => Math.max(most, x), -Infinity);
  if (norm === "softmax") {
    const exponential = u.map((x) => Math.exp(x - largest));
    return [exponential, exponential];
  }
  const scale = largest > 0 ? largest : 1; // a common factor cancels; taken out first, it keeps tiny squares in range
  return [u.map((x) => (x / scale) ** 2), u.map((x) => (2 * x) / scale ** 2)];
}

// w_t, scaled such that the counted ones sum to their number.
function scaledWeights(loss, mask, decay, norm) {
  const count = mask.reduce((n, m) => n + (m ? 1 : 0), 0);
  const u = decayedAfter(loss.map((x) => x / Math.max(1, count)), decay);
  const [f, slope] = shaped(u, mask, norm);
  let total = 0;
  for (let t = 0; t < f.length; t++) if (mask[t]) total += f[t];
  const weight = f.map((x, t) => (!mask[t] ? 0 : total > 0 ? (x * count) / total : 1));
  return { weight, slope, total, count };
}

// L = (1/N) Σ w_t l_t. With gradient through the weights: ∂L/∂l_k = w_k / N + Σ_{t<=k} f'(u_t) (l_t - L) γ^{k-t} / (N F).
function released(loss, mask, decay, norm, detach) {
  const { weight, slope, total, count } = scaledWeights(loss, mask, decay, norm);
  let value = 0;
  for (let t = 0; t < loss.length; t++) value += (weight[t] * loss[t]) / Math.max(1, count);
  const through = detach || !(total > 0)
    ? new Float64Array(loss.length)
    : decayedBefore(slope.map((x, t) => (mask[t] ? x * (loss[t] - value) : 0)), decay);
  const gradient = weight.map((w, t) => (mask[t] ? -(w / count + (total > 0 ? through[t] / (count * total) : 0)) : 0));
  return { value, gradient };
}

// ---- pairs: the result is { value, chosen, rejected }, the derivatives by the two log-probabilities ----

const pushed = (value, slope) => ({ value, chosen: slope, rejected: -slope });

// Sums over steps. L = -(1-ε) log σ(βd) - ε log σ(-βd), d = (c - c_ref) - (r - r_ref)
export function dpoLoss(c, r, referenceC, referenceR, { beta = 0.1, smoothing = 0, referenceFree = false } = {}) {
  const margin = beta * (c - r - (referenceFree ? 0 : referenceC - referenceR));
  const value = -(1 - smoothing) * logSigmoid(margin) - smoothing * logSigmoid(-margin);
  return pushed(value, beta * (-(1 - smoothing) * sigmoid(-margin) + smoothing * sigmoid(margin)));
}

// Sums over steps. L = (d - 1/(2β))²
export function ipoLoss(c, r, referenceC, referenceR, { beta = 0.1, referenceFree = false } = {}) {
  const off = c - r - (referenceFree ? 0 : referenceC - referenceR) - 1 / (2 * beta);
  return pushed(off ** 2, 2 * off);
}

// m = log π - log π_ref, k = Σ_t KL(π_ref || π), both summed over steps. L = -log σ(β d); version 1: d = m_c - m_r - (k_r - k_c),
// version 2: d = m_c - m_r - α (k_r - stopgrad(k_c)).
export function tdpoLoss(marginC, marginR, klC, klR, { beta = 0.1, alpha = 0.5, version = 2 } = {}) {
  const weight = version === 1 ? 1 : alpha;
  const margin = beta * (marginC - marginR - weight * (klR - klC));
  const slope = -beta * sigmoid(-margin);
  return { ...pushed(-logSigmoid(margin), slope), chosenKL: version === 1 ? slope : 0, rejectedKL: -weight * slope };
}

// Means over steps. L = -c - β log σ(log odds c - log odds r)
export function orpoLoss(c, r, { beta = 0.25 } = {}) {
  const logOdds = c - r - (log1mexp(c) - log1mexp(r));
  const slope = -beta * sigmoid(-logOdds); // ∂/∂logOdds; d(log odds)/dx = 1 / (1 - e^x)
  const tiny = -2.2250738585072014e-308;
  return {
    value: -c - beta * logSigmoid(logOdds),
    chosen: -1 + slope / -Math.expm1(Math.min(c, tiny)),
    rejected: -slope / -Math.expm1(Math.min(r, tiny)),
  };
}

// Means over steps. L = -log σ(β (c - r) - γ)
export function simpoLoss(c, r, { beta = 2, gamma = 1.6 } = {}) {
  const margin = beta * (c - r) - gamma;
  return pushed(-logSigmoid(margin), -beta * sigmoid(-margin));
}

// ---- on-policy ----

// A_t = δ_t + γ_t λ A_{t+1}; value has one entry more than reward, discount is 0 where an episode ended.
export function generalizedAdvantage(reward, value, discount, lam = 0.95) {
  const advantage = new Float64Array(reward.length);
  for (let t = reward.length - 1, following = 0; t >= 0; t--) {
    following = reward[t] + discount[t] * value[t + 1] - value[t] + discount[t] * lam * following;
    advantage[t] = following;
  }
  return advantage;
}

// -min(ρ A, clip(ρ) A) of one step, and its derivative by log π.
export function ppoClipLoss(logp, oldLogp, advantage, clip = 0.2) {
  const ratio = Math.exp(logp - oldLogp);
  const clipped = advantage >= 0 ? ratio > 1 + clip : ratio < 1 - clip;
  if (clipped) return { value: -(advantage >= 0 ? 1 + clip : 1 - clip) * advantage, gradient: 0 };
  return { value: -ratio * advantage, gradient: -ratio * advantage };
}

// ½ max((V - G)², (V_old + clip(V - V_old) - G)²) of one step, and its derivative by V.
export function valueLoss(value, oldValue, target, clip = 0.2) {
  const moved = value - oldValue;
  const held = oldValue + Math.min(clip, Math.max(-clip, moved));
  const [plain, kept] = [(value - target) ** 2, (held - target) ** 2];
  const inside = moved >= -clip && moved <= clip;
  // Of equal ones torch's maximum gives half of the gradient to each; inside the clip both have the same.
  const slope = plain > kept ? value - target : plain < kept ? (inside ? held - target : 0)
    : 0.5 * (value - target) + 0.5 * (inside ? held - target : 0);
  return { value: 0.5 * Math.max(plain, kept), gradient: slope };
}

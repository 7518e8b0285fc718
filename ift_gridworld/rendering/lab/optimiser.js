// Steps along gradients: plain descent, Adam and RMSprop, as torch makes them.

class Optimiser {
  constructor(groups, rate) {
    Object.assign(this, { groups, rate, count: 0 });
  }

  // The same optimiser on other parameters of the same shape.
  copy(groups) {
    const other = Object.assign(Object.create(Object.getPrototypeOf(this)), this, { groups });
    for (const name of ["first", "second"]) if (this[name]) other[name] = this[name].map((x) => x.slice());
    return other;
  }

  get pairs() {
    return this.groups.flatMap((group) => group.parameters.map((p, i) => [p, group.gradient[i]]));
  }

  // Moves the parameters of all groups and clears their gradients; the norm of all gradients is first held to `maxNorm`.
  step(maxNorm = null) {
    const pairs = this.pairs;
    if (maxNorm !== null) {
      let square = 0;
      for (const [, g] of pairs) for (const x of g) square += x * x;
      const scale = Math.min(1, maxNorm / (Math.sqrt(square) + 1e-6));
      for (const [, g] of pairs) for (let i = 0; i < g.length; i++) g[i] *= scale;
    }
    this.count += 1;
    pairs.forEach(([parameter, gradient], i) => this.move(parameter, gradient, i));
    for (const group of this.groups) group.clearGradient();
  }
}

class Descent extends Optimiser {
  move(parameter, gradient) {
    for (let i = 0; i < parameter.length; i++) parameter[i] -= this.rate * gradient[i];
  }
}

// Kingma and Ba 2015.
export class Adam extends Optimiser {
  constructor(groups, rate) {
    super(groups, rate);
    this.first = this.pairs.map(([p]) => new Float64Array(p.length));
    this.second = this.pairs.map(([p]) => new Float64Array(p.length));
  }

  move(parameter, gradient, which) {
    const [first, second] = [this.first[which], this.second[which]];
    const stepSize = this.rate / (1 - 0.9 ** this.count);
    const root = Math.sqrt(1 - 0.999 ** this.count);
    for (let i = 0; i < parameter.length; i++) {
      first[i] += (gradient[i] - first[i]) * 0.1;
      second[i] = 0.999 * second[i] + 0.001 * gradient[i] * gradient[i];
      parameter[i] -= (stepSize * first[i]) / (Math.sqrt(second[i]) / root + 1e-8);
    }
  }
}

// Hinton 2012.
export class RMSprop extends Optimiser {
  constructor(groups, rate) {
    super(groups, rate);
    this.second = this.pairs.map(([p]) => new Float64Array(p.length));
  }

  move(parameter, gradient, which) {
    const second = this.second[which];
    for (let i = 0; i < parameter.length; i++) {
      second[i] = 0.99 * second[i] + 0.01 * gradient[i] * gradient[i];
      parameter[i] -= (this.rate * gradient[i]) / (Math.sqrt(second[i]) + 1e-8);
    }
  }
}

export const OPTIMISERS = { descent: Descent, adam: Adam, rmsprop: RMSprop };

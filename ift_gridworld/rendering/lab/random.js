// Random numbers from a seed, the same in every browser: xoshiro128** (Blackman and Vigna 2018), seeded by splitmix32.

export class Random {
  constructor(seed) {
    let state = seed >>> 0;
    const splitmix = () => {
      state = (state + 0x9e3779b9) >>> 0;
      let z = state;
      z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
      z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
      return (z ^ (z >>> 16)) >>> 0;
    };
    this.state = Uint32Array.from({ length: 4 }, splitmix);
    this.spare = null;
  }

  copy() {
    return Object.assign(Object.create(Random.prototype), { state: this.state.slice(), spare: this.spare });
  }

  bits() {
    const s = this.state;
    const product = Math.imul(s[1], 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0;
    const shifted = s[1] << 9;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = (s[3] << 11) | (s[3] >>> 21);
    return result;
  }

  // A number in [0, 1), of 53 bits.
  uniform() {
    return ((this.bits() >>> 5) * 0x4000000 + (this.bits() >>> 6)) / 0x20000000000000;
  }

  // A number from the standard normal distribution (Box and Muller 1958).
  normal() {
    if (this.spare !== null) {
      const spare = this.spare;
      this.spare = null;
      return spare;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()));
    const angle = 2 * Math.PI * this.uniform();
    this.spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }
}

// The entry of a distribution that a number in [0, 1) falls on; `first` is where the row begins.
export function pick(probability, first, count, draw) {
  let total = 0;
  for (let i = 0; i < count; i++) total += probability[first + i];
  let sum = 0;
  for (let i = 0; i < count - 1; i++) {
    sum += probability[first + i];
    if (draw < sum / total) return i;
  }
  let last = count - 1;
  while (last > 0 && probability[first + last] === 0) last--;
  return last;
}

// The tour: six stops, each a state of the page with a question that is answered by doing.

import { DEFAULTS, PRESETS } from "./state.js";

const at = (settings) => ({ ...structuredClone(DEFAULTS), ...settings });
const percent = (p) => `${(100 * p).toFixed(0)} %`;
const track = (world, name) => world.tracks.find((one) => one.name === name);
const now = (world, name) => world.measured(track(world, name));
const before = (world, name) => track(world, name).history[0];
// Probability that a policy takes the other way from the start: the first step of the rejected path.
const otherWay = (world, policy) => {
  const answer = world.data.rejected[0];
  return policy[answer.states[0] * world.lake.actions + answer.actions[0]];
};

export const STOPS = [
  {
    title: "Imitation, and what it forgets",
    state: at({ methods: ["sft"], arrows: "change" }),
    updates: 300,
    question: "SFT copies the green path. What will happen on the tiles of the lower way, which nobody shows?",
    guesses: ["nothing", "they change, too"],
    answer: (world) => {
      const tiles = new Set(world.shown());
      const { policy, base } = { policy: track(world, "sft").policy, base: world.references.base };
      const moved = world.lake.walkable.filter((s) => !tiles.has(s)).map((s) => {
        let apart = 0;
        for (let i = 4 * s; i < 4 * s + 4; i++) apart += Math.abs(policy[i] - base[i]) / 2;
        return apart;
      });
      const most = Math.max(...moved);
      return `Off the path up to ${percent(most)} of a tile's probability moved, although no example is there: the network shares its weights between tiles. Choose a table as policy and try again.`;
    },
  },
  {
    title: "A preference",
    state: at({ methods: ["sft", "dpo"] }),
    updates: 100,
    question: "DPO is told which of two ways is better. Which method leaves the dashed way more?",
    guesses: ["SFT", "DPO"],
    answer: (world) => `The first step of the dashed way had ${percent(otherWay(world, world.references.base))}. SFT leaves it ${percent(otherWay(world, track(world, "sft").policy))}, DPO ${percent(otherWay(world, track(world, "dpo").policy))}. The log-probability of the whole dashed path: SFT ${now(world, "sft").rejected.toFixed(1)}, DPO ${now(world, "dpo").rejected.toFixed(1)}.`,
  },
  {
    title: "Likelihood displacement",
    state: at({ rows: PRESETS["4x4"], methods: ["dpo", "orpo", "sft"], chart: "preference" }),
    updates: 300,
    question: "DPO pushes two answers apart. What happens to the likelihood of the good one?",
    guesses: ["it rises", "it falls"],
    answer: (world) => {
      const [from, to] = [before(world, "dpo").chosen, now(world, "dpo").chosen];
      return `Under DPO the chosen answer's log-probability goes from ${from.toFixed(1)} to ${to.toFixed(1)}${to < from ? ": it falls, because DPO asks for the difference alone" : ""}. ORPO, which also imitates it, ends at ${now(world, "orpo").chosen.toFixed(1)}.`;
    },
  },
  {
    title: "IFT's prediction, and what it changes",
    state: at({ base: "random", rate: 0.003, seed: 1, methods: ["sft", "ift"], mixing: 0.5, chart: "steps", selected: 1 }),
    updates: 30,
    question: "IFT mixes the tile that the model itself predicts (diamonds) into each state. When does that make a difference?",
    guesses: ["always", "while the prediction is wrong"],
    answer: (world) => {
      const { method } = track(world, "ift").learner;
      const { states } = world.data.demonstrations[0];
      const wrong = (policy) => {
        const reached = method.copy(policy).predictions();
        return states.slice(1).filter((right, t) => !reached.get(states[t]).some(([to, weight]) => to === right && weight > 0.99)).length;
      };
      return `Of ${states.length - 1} predictions ${wrong(world.base)} were wrong at the base, ${wrong(method.policy)} are now. Where one is right, the mixed-in tile is the true one, and only the weights of the steps differ from SFT: see the bars below. Set λ to 0 and propagation to none, press Reset and Align: both boards are the same.`;
    },
  },
  {
    title: "Reward, KL, and the best that a price allows",
    state: at({ methods: ["ppo_exact", "sft", "dpo"], beta: 1, chart: "frontier" }),
    updates: 300,
    question: "The dashed curve is the best return for each distance from the base. Who comes nearest to it?",
    guesses: ["PPO", "SFT", "DPO"],
    answer: (world) => {
      const gap = (name) => {
        const { discountedKL: kl, return: reached } = now(world, name);
        const curve = [...world.frontier].sort((a, b) => a.kl - b.kl);
        const next = curve.findIndex((point) => point.kl >= kl);
        const [a, b] = next <= 0 ? [curve[curve.length - 1], curve[curve.length - 1]] : [curve[next - 1], curve[next]];
        const share = b.kl > a.kl ? (kl - a.kl) / (b.kl - a.kl) : 0;
        return a.return + share * (b.return - a.return) - reached;
      };
      return `Return below the curve at its own KL: ${["ppo_exact", "sft", "dpo"].map((name) => `${{ ppo_exact: "PPO", sft: "SFT", dpo: "DPO" }[name]} ${Math.max(0, gap(name)).toFixed(3)}`).join(", ")}.`;
    },
  },
  {
    title: "Slippery ice",
    state: at({ rows: PRESETS["8x8"], slip: 2 / 3, methods: ["sft", "ift", "dpo", "ppo_exact"] }),
    updates: 200,
    question: "The ice slips: two moves of three go astray, and what the human shows is 16 episodes. Who needs the human's data less?",
    guesses: ["the imitators", "PPO"],
    answer: (world) => `Episodes that reach the goal: ${["sft", "ift", "dpo", "ppo_exact"].map((name) => `${{ sft: "SFT", ift: "IFT", dpo: "DPO", ppo_exact: "PPO, exact" }[name]} ${percent(now(world, name).success)}`).join(", ")}; the optimal policy ${percent(world.references.success)}. PPO has seen no demonstration: it learns from its own episodes and the reward.`,
  },
];

// The words of the page and what they mean; and each method in one sentence.

export const TERMS = {
  policy: "What the agent does: for each tile a probability of each move, drawn as arrows.",
  base: "The policy that every method starts from, as a language model is pre-trained before it is aligned. A mixture has been cloned from a good and a bad demonstrator and some noise. A saved run's base is taken from its probabilities: a table has them exactly, a network is fitted to them.",
  network: "A network with one hidden layer of 64 units. What it learns about one tile changes others too.",
  table: "A table of numbers, one row a tile. What it learns about one tile changes no other.",
  noise: "Share of each of the base's choices that is spread over all moves.",
  seed: "Number from which all random numbers follow. The same seed gives the same run.",
  slip: "Probability that a move goes to one side instead of ahead. Gymnasium's slippery lake has 2/3.",
  demonstration: "What the human shows: the path with the green outline. SFT and IFT imitate it; for the others it is the chosen answer.",
  rejected: "The answer that the human likes less: the path with the dashed outline. DPO and its kin push it down.",
  lambda: "λ, IFT's mixing: the share of the model's own prediction in each state that it learns from. 0 is none.",
  gamma: "γ, IFT's decay: how much a step answers for the losses of the steps after it. 0 makes all steps alike.",
  propagation: "Which published definition of IFT's relation propagation: the authors' code (released), their listing (algorithm1), their equation 21, or none.",
  norm: "How the released definition scales the weights of the steps.",
  prediction: "What IFT mixes in: the tile that the likeliest move leads to (greedy), or the average over all moves (expected).",
  beta: "Price of leaving the base, measured by KL. Each method scales it so that the middle of the slider is its usual value.",
  smoothing: "ε, DPO's label smoothing: the share of preferences that are assumed to be wrong. 0 trusts every pair.",
  rate: "Learning rate: the size of an update's step. A table takes three times as much.",
  optimiser: "How gradients become steps: Adam, RMSprop, or plain gradient descent.",
  success: "Probability of reaching the goal within the time limit; exact, no sampling.",
  regret: "Return of the optimal policy minus the return of this one.",
  distance: "Mean squared distance of the policy from the optimal one, over all tiles.",
  kl: "KL divergence of the policy from its base along an episode, in nats.",
  visits: "Expected number of times that an episode is on a tile.",
  value: "Expected discounted reward from a tile on.",
  change: "How much of the tile's probability has moved since the base: total variation, from 0 to 1.",
  push: "What the next update will do to each move's probability; the largest is drawn full size.",
  advantage: "How much better a move is than the policy's average there; exact.",
  optimal: "T*, the best policy for the discounted reward; equally good moves share the probability.",
  preference: "Log-probability of the chosen answer to the right, of the rejected one upwards, both minus the base's. Dotted lines join points of one margin, which is all that DPO sees.",
  frontier: "KL from the base against return. The dashed curve is exact: the best return for each KL; no policy lies above it.",
  steps: "Each step of the answer: its loss −log π in grey, and in colour how hard the next update pulls it up. SFT pulls all steps alike.",
};

export const METHODS_IN_WORDS = {
  sft: ["SFT", "Supervised fine-tuning: make the demonstrated moves likelier."],
  ift: ["IFT", "Intuitive fine-tuning: SFT from states mixed with the model's own predictions; early steps answer for later ones."],
  dpo: ["DPO", "Direct preference optimisation: make the chosen answer likelier than the rejected one, relative to the base."],
  tdpo: ["TDPO", "DPO with the KL from the base, step by step, in the margin: the rejected answer's tiles are held nearer to it."],
  ipo: ["IPO", "Like DPO, but only up to a margin."],
  orpo: ["ORPO", "SFT plus a push between the odds of both answers; needs no base."],
  simpo: ["SimPO", "A margin between the answers' mean log-probabilities; needs no base."],
  ppo: ["PPO", "Reinforcement learning from the policy's own episodes, with a price on leaving the base."],
  ppo_exact: ["PPO, exact", "PPO with exact advantages: what infinitely many episodes would give."],
};

export const PREFERENCE = ["dpo", "tdpo", "ipo", "orpo", "simpo"]; // which learn from pairs

export const titleOf = (method) => METHODS_IN_WORDS[method][0];

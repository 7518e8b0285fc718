"""A lake in words, one move a turn, for loops in which a language model acts step by step and sees what came of it.

Importing `ift_gridworld` registers it with Gymnasium as ``ift_gridworld/TextLake-v0``. Observations and actions are texts. The
optimal values of all states, exact on slippery lakes too, are in `info`, so that every turn can be judged by itself.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, SupportsFloat

import gymnasium
import numpy as np
from gymnasium.spaces import Text
from jaxtyping import Float

from ift_gridworld.checks import check_choice, check_interval, check_probability
from ift_gridworld.envs.maps import Rows, Size, as_shape, parse_map, random_map
from ift_gridworld.envs.tables import LAKE_ACTIONS
from ift_gridworld.language.lakes import move_table
from ift_gridworld.mdp import TabularMDP
from ift_gridworld.planning import optimal_policy, solve

__all__ = ["TextLakeEnv"]

OBSERVED = frozenset(string.ascii_letters + string.digits + " \n.,:;%'")
ASK = "Say one of left, down, right, up."
WORDS = 600  # characters of an observation beside those of the map, at most


class TextLakeEnv(gymnasium.Env[str, str]):
    """A frozen lake that is described in words and walked by words.

    The first observation of an episode has the map, the rules and the place; later ones say what happened, and the place. An
    action is one of left, down, right, up; capitals, white space and a full stop do not matter. Any other text is a turn
    without a move. The reward is 1 on the goal, else 0; goal and holes end the episode. `gymnasium.make` truncates after 100
    turns.

    `info` has: ``map`` (rows of letters), ``state`` (the tile, row by row), ``value`` (V* of this state), ``values`` (V* of
    every state, [S]), ``action_values`` (Q* of the four moves here, [4]), ``optimal`` (the words of the best moves, none where
    the episode is over), ``is_move`` (whether the last action was a move) and ``slipped``
    (whether it led elsewhere than it was meant to).

    >>> env = TextLakeEnv(desc=["SFG", "FHF"])
    >>> observation, info = env.reset(seed=0)
    >>> info["optimal"], round(float(info["value"]), 4)
    (('right',), 0.99)
    >>> env.step("right")[0]
    'You moved right. You are in row 1, column 2. Say one of left, down, right, up.'

    Args:
        desc: rows of the map; None for a new random lake in each episode. ``reset(options={"desc": rows})`` gives one for an
            episode, of the same size.
        size: n or (rows, columns) of random lakes.
        frozen: probability that a tile of a random lake is frozen, in (0, 1].
        is_slippery: whether moves slip to either side.
        success_rate: probability of the intended move where moves slip, in (0, 1].
        discount: discount of the optimal values, in [0, 1]; values do not know the time limit.
        render_mode: None, or "ansi" for the map with the tile that one stands on in brackets.

    Raises:
        ValueError: for a map, a size or a number that is not allowed.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 4}  # noqa: RUF012 (Gymnasium declares it so)

    def __init__(
        self,
        *,
        desc: Sequence[str] | None = None,
        size: Size = 4,
        frozen: float = 0.8,
        is_slippery: bool = False,
        success_rate: float = 1 / 3,
        discount: float = 0.99,
        render_mode: str | None = None,
    ) -> None:
        check_choice("render_mode", render_mode, (None, "ansi"))
        self.render_mode, self.is_slippery = render_mode, is_slippery
        self.success_rate, self.frozen = check_probability("success_rate", success_rate), check_probability("frozen", frozen)
        self.discount = check_interval("discount", discount, 0, 1)
        self.desc = None if desc is None else parse_map(desc)
        self.shape = as_shape(size) if self.desc is None else (len(self.desc), len(self.desc[0]))
        self.observation_space = Text(WORDS + 2 * self.shape[0] * self.shape[1], charset=OBSERVED)
        self.action_space = Text(max(map(len, LAKE_ACTIONS)), charset=string.ascii_lowercase)
        self.rows: Rows = self.desc or ()
        self.state = 0

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        given = (options or {}).get("desc", self.desc)
        if given is None:
            self.rows = random_map(self.shape, frozen=self.frozen, seed=int(self.np_random.integers(2**31)))
        else:
            self.rows = parse_map(given)
        if (len(self.rows), len(self.rows[0])) != self.shape:
            size, allowed = f"{len(self.rows)}x{len(self.rows[0])}", f"{self.shape[0]}x{self.shape[1]}"
            raise ValueError(f"desc is a map of {size}; allowed: {allowed}, as the environment was made")
        solution = _solved(self.rows, self.is_slippery, self.success_rate, self.discount)
        self.mdp, self.values, self.action_values, self.policy = solution
        self.state = int(self.np_random.choice(self.mdp.num_states, p=self.mdp.start))
        return f"{self._rules()} {self._place()} {ASK}", self._info(is_move=True, slipped=False)

    def step(self, action: str) -> tuple[str, SupportsFloat, bool, bool, dict[str, Any]]:
        word = action.strip().rstrip(".!").lower()
        if word not in LAKE_ACTIONS:
            return f"That is no move. {self._place()} {ASK}", 0.0, False, False, self._info(is_move=False, slipped=False)
        move, before = LAKE_ACTIONS.index(word), self.state
        probability = self.mdp.probability[before, move].astype(float)
        outcome = int(self.np_random.choice(len(probability), p=probability / probability.sum()))
        self.state = int(self.mdp.next_state[before, move, outcome])
        terminated = bool(self.mdp.terminated[before, move, outcome])
        slipped = self.state != move_table(self.shape)[before, move]
        said = f"You wanted {word} and slipped." if slipped else f"You moved {word}."
        if not slipped and self.state == before:
            said = f"You moved {word}, against the edge."
        letter = "".join(self.rows)[self.state]
        said += {"G": " You reached the goal.", "H": " You fell into a hole."}.get(letter, "") if terminated else ""
        following = self._place() if terminated else f"{self._place()} {ASK}"
        reward = float(self.mdp.reward[before, move, outcome])
        return f"{said} {following}", reward, terminated, False, self._info(is_move=True, slipped=slipped)

    def render(self) -> str | None:
        """Return the map with the tile that one stands on in brackets, in the mode "ansi"."""
        if self.render_mode is None:
            return None
        letters = [f"[{letter}]" if i == self.state else f" {letter} " for i, letter in enumerate("".join(self.rows))]
        width = self.shape[1]
        return "\n".join("".join(letters[i : i + width]) for i in range(0, len(letters), width))

    def _rules(self) -> str:
        rate = f"{100 * self.success_rate:.0f} %"
        slips = f" The ice is slippery: a move goes where you want in {rate} of all cases, else to one of its two sides."
        lake = "\n".join(" ".join(row) for row in self.rows)
        return (
            "You want to cross a frozen lake. S is the start, F is ice that holds, H is a hole, G is the goal."
            f"{slips * self.is_slippery}\n{lake}\n"
        )

    def _place(self) -> str:
        row, column = divmod(self.state, self.shape[1])
        return f"You are in row {row + 1}, column {column + 1}."

    def _info(self, *, is_move: bool, slipped: bool) -> dict[str, Any]:
        here = self.action_values[self.state]
        over = "".join(self.rows)[self.state] in "GH"
        best = [] if over else np.flatnonzero(self.policy[self.state]).tolist()
        return {
            "map": self.rows, "state": self.state, "value": float(self.values[self.state]), "values": self.values.copy(),
            "action_values": here.copy(), "optimal": tuple(LAKE_ACTIONS[move] for move in best), "is_move": is_move,
            "slipped": slipped,
        }  # fmt: skip


@lru_cache(maxsize=256)  # many episodes may be on one lake
def _solved(
    rows: Rows, is_slippery: bool, success_rate: float, discount: float
) -> tuple[TabularMDP, Float[np.ndarray, " S"], Float[np.ndarray, "S A"], Float[np.ndarray, "S A"]]:
    """Return a lake as an MDP, its optimal values V* and Q*, and T*."""
    mdp = TabularMDP.from_map(rows, is_slippery=is_slippery, success_rate=success_rate, discount=discount)
    return mdp, *solve(mdp), optimal_policy(mdp)

"""The gallery: every picture under figures/ with the command that draws it, and the page that shows them.

Each entry is a command of a script under experiments/; it is run in a folder of its own, and the pictures that are worth
keeping are moved to the gallery. The curated set stays small; runs' numbers are not kept.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from ift_gridworld.children import run_script
from ift_gridworld.storage import make_folder, write_atomically

__all__ = ["ENTRIES", "Entry", "draw_entry", "readme", "select_entries"]

SCRIPTS = Path(__file__).resolve().parents[2] / "experiments"


@dataclass(frozen=True)
class Entry:
    """A command and its pictures.

    Attributes:
        arguments: of the script.
        pictures: that are kept: file that it writes, name in the gallery, what to look at.
        script: under experiments/.
    """

    arguments: str
    pictures: tuple[tuple[str, str, str], ...]
    script: str = "frozen_lake.py"

    @property
    def command(self) -> str:
        return f"python experiments/{self.script} {self.arguments}".rstrip()


ENTRIES = (
    Entry(
        "--method sft,ift,orpo,dpo,ppo --render",
        (
            (
                "sft-ift-orpo-dpo-ppo.gif",
                "side_by_side.gif",
                "the methods of the paper's figure, and PPO, from one base at one update: how likely each makes the "
                "demonstrated path and the rejected one, and where the probability went that moved since the base",
            ),
            (
                "ift.gif",
                "two_paths/ift.gif",
                "the diamonds are the tiles that the model itself predicts and that IFT mixes in; once a prediction is right, "
                "the mixed-in tile is the true one and IFT does what SFT does",
            ),
            (
                "sft.gif",
                "two_paths/sft.gif",
                "off the path the network drifts, and the distance to the optimal policy grows again",
            ),
            ("dpo.gif", "two_paths/dpo.gif", "all of the rejected path turns away from the goal"),
            (
                "ppo.gif",
                "two_paths/ppo.gif",
                "rewarded on its own episodes it keeps the second path right, too: the smallest distance of these five",
            ),
        ),
    ),
    Entry(
        "--method core --render --format html",
        (
            (
                "core.html",
                "two_paths.html",
                "the alignment lab with all ten methods inside: side by side at one update, an agent to drop on the ice, and "
                "live training",
            ),
        ),
    ),
    Entry(
        "--method sft,ift,dpo,orpo --map 4x4 --view plane",
        (
            (
                "sft-ift-dpo-orpo_plane.gif",
                "views/plane.gif",
                "the preference plane: under DPO the trajectory bends back to the left, because the chosen answer becomes less "
                "likely, too",
            ),
        ),
    ),
    Entry(
        "--method sft,dpo --map 4x4 --view flow",
        (("sft-dpo_flow.gif", "views/flow.gif", "where episodes go, and how that differs from the optimal policy's"),),
    ),
    *(
        Entry(f"--only {name}", ((f"{name}.gif", f"failures/{name}.gif", words),), "failures.py")
        for name, words in (
            (
                "displacement",
                "likelihood displacement: DPO asks for the difference alone, and drains both answers where they share weights",
            ),
            ("log2", "a DPO loss that stands at log 2, for three different reasons"),
            ("certainty", "ORPO near certainty: bfloat16 rounds p to 1, and one gradient that is no number ends the policy"),
            ("off_path", "SFT off the path: success when dropped on each tile, in a table, in a network, and with PPO"),
            (
                "exploited",
                "a learned reward that orders 99 % of its pairs rightly, exploited: a push into the edge pays for ever",
            ),
        )
    ),
    *(
        Entry(f"--only {name}", ((f"{name}.png", f"failures/{name}.png", words),), "failures.py")
        for name, words in (
            (
                "displacement_predicted",
                "whether the similarity of hidden states predicts likelihood displacement, over 1,000 pairs, and in how many "
                "pairs each of 16 losses makes the chosen answer less likely",
            ),
            (
                "overoptimisation",
                "true and learned return over the KL, for best-of-n, RLOO and PPO on learned rewards, exact by listing every "
                "episode, beside the published forms",
            ),
        )
    ),
    Entry(
        "--method sft,ift,dpo --map 20x20 --map-seed 2 --theme dark --render",
        (
            (
                "sft-ift-dpo.gif",
                "large_lake.gif",
                "400 tiles: one arrow a tile, and how much of its probability moved; DPO turns nearly every tile upwards, and "
                "the goal is not reached any more",
            ),
        ),
    ),
    Entry(
        "--method sft,ift --map 100x100 --policy tabular --seeds 1 --render",
        (
            (
                "sft-ift.gif",
                "ten_thousand.gif",
                "ten thousand tiles, and a window where half of the episodes have left the demonstration: a table learns the "
                "way that it was shown, and nothing beside it",
            ),
        ),
    ),
    Entry(
        "--method ift --map 8x8 --slippery --theme dark --render",
        (
            (
                "ift.gif",
                "slippery_8x8/ift.gif",
                "where moves slip, a prediction is a spread of tiles: the diamonds are small where they are unlikely",
            ),
        ),
    ),
    Entry(
        "",
        (
            ("README.md", "suite/README.md", "what each environment of the suite is for, with the optimum of each"),
            *(
                (f"{name}.png", f"suite/{name}.png", f"the optimal policy of {name}, deterministic and slippery")
                for name in ("two-paths", "4x4", "8x8", "20x20", "open", "bridge", "cliffwalking", "taxi")
            ),
        ),
        "suite.py",
    ),
    Entry(
        "--method sft,ift --map Taxi-v4 --steps 100 --render",
        (
            (
                "ift.gif",
                "suite/taxi.gif",
                "the demonstrated ride large, and success from the starts of all 12 maps of passenger and destination: 16 "
                "demonstrations reach few of the 500 states, and what is not shown drifts",
            ),
        ),
    ),
    *(
        Entry(f"--explain {method}", ((f"explain_{method}.gif", f"explain/{method}.gif", words),))
        for method, words in (
            ("ift", "one update of IFT: predict, mix, second pass, the loss flowing back along the path"),
            ("sft", "one update of SFT: every step by itself"),
            ("dpo", "one update of DPO: a pair, two pushes of one size"),
            ("orpo", "one update of ORPO: a strong push and a weak one"),
            ("ppo", "one update of PPO: walks, advantages, the clip"),
        )
    ),
)


def readme() -> str:
    """Return the gallery's page."""
    lines = [
        "# Gallery",
        "",
        "Each picture with the command that draws it, and what to look at. `python experiments/gallery.py --publish` draws",
        "them all again. The films are made of the runs' own snapshots; the numbers are exact. Beside each stands NAME.txt:",
        "what it shows, in words.",
    ]
    for entry in ENTRIES:
        lines += ["", f"`{entry.command}`", ""]
        for _, target, words in entry.pictures:
            lines += [f"- [{target}]({target}): {words}."]
            lines += ["", f"  ![{words}]({target})", ""] if target.endswith(".gif") else []
    lines += [
        "",
        "The figures of `python experiments/reproduction.py --publish` are in `figures/reproduction`; what they say",
        "stands in [experiments/README.md](../experiments/README.md). Those of `python experiments/language_model.py` are in",
        "`figures/language`, with [experiments/language.md](../experiments/language.md); those of",
        "`python experiments/frontier.py --publish` in `figures/frontier`, with",
        "[experiments/frontier.md](../experiments/frontier.md). What `python experiments/benchmark.py --publish` measures",
        "stands in [benchmark](benchmark/README.md).",
    ]
    return "\n".join(lines).replace("\n\n\n", "\n\n").rstrip() + "\n"


def select_entries(words: str) -> list[Entry]:
    """Return the entries whose command contains these words; raise a ValueError if there are none."""
    entries = [entry for entry in ENTRIES if words in entry.command]
    if not entries:
        raise ValueError(f"--only is {words!r}, which no command contains")
    return entries


def draw_entry(entry: Entry, gallery: Path) -> None:
    """Run an entry's command in a folder of its own and move its pictures to the gallery.

    Raises:
        ValueError: where the scripts are not installed.
        RuntimeError: if the command fails; it says what the command said.
    """
    script = SCRIPTS / entry.script
    if not script.is_file():
        raise ValueError(f"{script} is not there: the gallery is drawn in a checkout of the repository")
    with tempfile.TemporaryDirectory() as folder:
        finished = run_script(script, [*entry.arguments.split(), "--out", folder])
        if finished.returncode:
            raise RuntimeError(f"{entry.arguments}: {finished.stderr or finished.stdout}")
        for source, target, _ in entry.pictures:
            for suffix in ("", ".txt"):  # and the words beside a picture
                file = Path(folder) / f"{source}{suffix}"
                if file.exists():
                    path = gallery / f"{target}{suffix}"
                    make_folder(path.parent)
                    write_atomically(path, file.read_bytes())

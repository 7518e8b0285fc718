"""Tables and figures of language runs, from runs made up here."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from ift_gridworld.language.metrics import METRICS
from ift_gridworld.rendering.theme import THEMES
from ift_gridworld.studies import language_report
from ift_gridworld.studies.language_report import (
    by_method,
    draw_figures,
    draw_films,
    findings,
    load_runs,
    paired_differences,
    print_runs,
    print_tables,
)
from ift_gridworld.studies.quotes import quote_findings


def run_of(method, seed, shift=0.0, **changes):
    def told(step, value):
        return {"step": step, **dict.fromkeys(METRICS, value + 0.01 * seed), "bias": 0.1}

    run = {
        "method": method, "seed": seed, "learning_rate": 1e-3, "loss": [1.0, 0.5], "timed": 2, "seconds": 0.2, "tokens": 1000,
        "memory": 2**30, "utilisation": 0.25, "measured": [told(0, 0.2), told(10, 0.5), told(20, 0.6 + shift)],
    }  # fmt: skip
    return run | changes


RUNS = [
    *(run_of("sft", seed, pull=np.ones((3, 4)).tolist(), pull_at=[0, 10, 20]) for seed in range(3)),
    *(
        run_of("ift", seed, shift, pull=[[2, 1, 0.5, -0.5]] * 3, pull_at=[0, 10, 20], bfloat16_agreement=0.99)
        for seed, shift in enumerate((-0.1, -0.12, -0.11))
    ),
    *(run_of("dpo", seed, shift) for seed, shift in ((0, 0.3), (2, -0.3), (7, 9.0))),
    run_of("sft_tempered", 0, 0.2, temperature=1.3),
]  # fmt: skip


def test_differences_are_of_the_same_seeds():
    methods = by_method(RUNS)
    assert list(methods) == ["sft", "ift", "dpo", "sft_tempered"]
    np.testing.assert_allclose(paired_differences(methods["ift"], methods["sft"], "greedy"), [-0.1, -0.12, -0.11])
    np.testing.assert_allclose(paired_differences(methods["dpo"], methods["sft"], "end"), [0.3, -0.3])  # nobody else has seed 7
    assert paired_differences(methods["sft_tempered"], methods["sft"], "no measure") == []


def test_a_peak_that_was_measured_too_low_is_told(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    print_tables([run_of("sft", 0), run_of("dpo", 0, utilisation=float("nan"))])
    rows = capsys.readouterr().out.split("costs (")[1].splitlines()
    assert any("sft" in row and "25 %" in row for row in rows) and any("dpo" in row and "unknown" in row for row in rows)


def test_the_tables_say_what_was_measured(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    print_tables(RUNS)
    out = capsys.readouterr().out
    assert "mean of 3 seeds ± half its 95 % interval" in out and "(base)" in out
    # seeds 0 to 2 begin at 0.2 + 0.01 seed, and SFT's end at 0.6 + 0.01 seed
    base, sft = (next(line for line in out.splitlines() if line.startswith(f"│{name} ")) for name in ("(base)", "sft"))
    assert base.count("0.210") == sft.count("0.610") == len(METRICS)
    # ift: -0.11 with a deviation of 0.01, t of 2 degrees of freedom 4.303: ± 0.025
    less = out[out.index("less SFT's") : out.index("costs")]
    assert less.count("-0.110") == less.count("±0.025") == len(METRICS) and "-0.110?" not in less
    assert less.count("-0.000?") == len(METRICS) and "│sft " not in less, "dpo: 0, 9.02 less 9, and so on"
    costs = out[out.index("costs (") :]
    row = next(line for line in costs.splitlines() if "│ift " in line)
    assert [word in row for word in ("0.001", "100", "5,000", "25 %", "1.00 GiB", "99.0 %")] == [True] * 6
    assert "sft_tempered" not in costs


def test_a_study_ends_with_its_tables_and_the_paths_written(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "tokens.png").touch()
    print_runs(RUNS, [tmp_path / "tokens.png"])
    out = capsys.readouterr().out
    assert "less SFT's" in out and f"wrote {tmp_path / 'tokens.png'}\n" in out


TRIED = {"0.0003": 0.1, "0.001": 0.2, "0.003": 0.4}


def test_what_is_best_on_the_edge_of_its_grid_is_marked(tmp_path, capsys, monkeypatch):
    """Where one seed's choice is: in the tables, and in both figures with their words."""
    monkeypatch.setenv("COLUMNS", "200")
    inside = [run | {"validation": TRIED} for run in RUNS]
    print_tables(inside)
    assert "†" not in capsys.readouterr().out
    on_edge = [run | {"learning_rate": 3e-3} if (run["method"], run["seed"]) == ("ift", 1) else run for run in inside]
    print_tables(on_edge)
    out = capsys.readouterr().out
    assert out.count("† on some seed the best learning rate or beta is the first or the last of those tried") == 1
    assert out.count("│ift†") == 2 and out.count("†") == 3, "of the results and of the differences"
    draw_figures(on_edge, tmp_path, "light")
    assert "first or the last of those tried: IFT." in (tmp_path / "differences.png.txt").read_text()
    assert "IFT†" in (tmp_path / "tokens.png.txt").read_text()
    draw_figures(inside, tmp_path, "light")
    assert "last of those tried" not in (tmp_path / "differences.png.txt").read_text()


def test_a_difference_is_clear_if_its_interval_leaves_out_0(capsys, monkeypatch):
    """0.3, -0.2 and 0.1 have a mean of 0.067 that says nothing; 0.3, 0.31 and 0.32 differ. The base's row is of the base."""
    monkeypatch.setenv("COLUMNS", "200")
    runs = [run_of("sft", seed) for seed in range(3)]
    runs += [run_of("dpo", seed, shift) for seed, shift in enumerate((0.3, -0.2, 0.1))]
    runs += [run_of("ipo", seed, shift, seconds=0.2 + 0.2 * seed) for seed, shift in enumerate((0.3, 0.31, 0.32))]
    print_tables(runs)
    out = capsys.readouterr().out
    assert out.count("+0.067?") == out.count("+0.310") == len(METRICS) and "+0.310?" not in out
    cost = next(line for line in out[out.index("costs (") :].splitlines() if "│ipo " in line)
    assert " 200│" in cost and " 2,500│" in cost, "1.2 s for 6 updates and 3,000 tokens of three seeds"
    base = next(line for line in out.splitlines() if "(base)" in line)
    assert base.count("0.210") == len(METRICS)


def test_findings_are_the_tables_numbers():
    found = findings(RUNS)
    assert found["ift: end"]["value"] == pytest.approx(0.5) and found["ift: end"]["seeds"] == 3
    assert found["dpo less base: end"]["value"] == pytest.approx(0.4 + (0.3 - 0.3 + 9) / 3), "on its own seeds, not on SFT's"
    assert "dpo less base: bias" not in found
    less = found["ift less sft: greedy"]
    assert less["value"] == pytest.approx(-0.11) and less["high"] - less["value"] == pytest.approx(0.024841, rel=1e-4)
    assert (
        found["base: mass"]["value"] == pytest.approx(0.21) and "base: bias" not in found and "sft less sft: mass" not in found
    )


def test_what_a_seed_has_not_measured_is_left_out():
    """A metric that no lake of a seed has is missing, or NaN; one that is measured at the end alone has no change."""
    late = run_of("sft", 0)
    del late["measured"][0]["mass"]
    assert findings([late])["sft: mass"]["value"] == 0.6 and "sft less base: mass" not in findings([late])
    runs = [run_of("sft", seed) for seed in range(4)]
    del runs[1]["measured"][-1]["end"]
    runs[2]["measured"][-1]["end"] = float("nan")
    assert findings(runs)["sft: end"]["seeds"] == 2 and findings(runs)["sft: end"]["value"] == pytest.approx(0.615)


def test_what_is_said_of_the_language_run_is_what_was_found():
    """Each number that its page quotes is a committed finding, "(not clear)" where its interval does not exclude 0."""
    root = Path(__file__).resolve().parents[2]
    page = (root / "experiments" / "language.md").read_text()
    found = json.loads((root / "figures" / "language" / "findings.json").read_text())
    assert page.count("<!-- ") > 20 and quote_findings(page, found) == page
    pictures = set(re.findall(r"figures/language/(\w+\.(?:png|gif))", page))
    kept = {path.name for kind in ("png", "gif") for path in (root / "figures" / "language").glob(f"*.{kind}")}
    assert pictures <= kept and pictures


def test_one_seed_has_no_interval(capsys):
    print_tables([run for run in RUNS if run["seed"] == 0])
    out = capsys.readouterr().out
    assert "±" not in out and "less SFT's" not in out and "interval" not in out


def test_two_seeds_have_an_interval_and_differences(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    print_tables([run_of(method, seed) for method in ("sft", "ift") for seed in range(2)])
    out = capsys.readouterr().out
    assert "mean of 2 seeds ± half its 95 % interval" in out and "less SFT's" in out
    print_tables([run_of("ift", seed, 0.1) for seed in range(2)] + [run_of("sft", seed) for seed in range(2)])
    trained, less = capsys.readouterr().out.split("less SFT's")
    assert "+" not in trained and less.count("+0.100") == trained.count("0.705") == len(METRICS)


def test_one_method_is_compared_with_none(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    print_tables([run_of("sft", seed) for seed in range(2)])
    assert "less SFT's" not in capsys.readouterr().out
    print_tables([run_of("sft", seed, -0.605) for seed in range(2)])  # ends at -0.005 and 0.005: only differences get a ?
    assert "?" not in capsys.readouterr().out


def test_costs_are_of_all_seeds(capsys, monkeypatch):
    """Seconds an update and tokens a second are ratios of sums, memory is the largest, rates are in order."""
    monkeypatch.setenv("COLUMNS", "200")
    costs = [(0.2, 2, 1000, 2**30, 0.004), (0.4, 8, 200, 2**31, 0.001), (0.4, 2, 300, 2**29, 0.002)]
    names = ("seconds", "timed", "tokens", "memory", "learning_rate")
    print_tables([run_of("sft", seed, **dict(zip(names, values, strict=True))) for seed, values in enumerate(costs)])
    out = capsys.readouterr().out
    row = next(line for line in out[out.index("costs (") :].splitlines() if "│sft " in line)
    # 1.0 s for 12 updates and 1500 tokens
    assert [word.strip() for word in row.split("│")[2:6]] == ["0.001, 0.002, 0.004", "83", "1,500", "25 %"]
    assert "2.00 GiB" in row


def test_rows_left_out_are_told_once(capsys):
    print_tables([run_of("ift", seed, rows_left_out=3) for seed in range(2)])
    assert capsys.readouterr().out.count("3 rows of the file were left out") == 1


@pytest.mark.parametrize("theme", THEMES)
def test_figures_are_drawn_of_what_is_there(theme, tmp_path):
    written = {path.name for path in draw_figures(RUNS, tmp_path, theme)}
    assert written == {"findings.json", "tokens.pdf", "tokens.png", "differences.pdf", "differences.png"}
    words = (tmp_path / "differences.png.txt").read_text()
    assert "greedy success clearly differs for IFT;" in words and "Differences from SFT, 1 to 3 seeds" in words
    assert "as uncertain" not in words, "one seed makes nothing clear"
    assert "SFT 0.61 / IFT 0.50" in (tmp_path / "tokens.png.txt").read_text()


class Page:
    """A page that is not drawn."""

    def save(self, path, words):
        return [path]


@pytest.fixture
def drawn(monkeypatch):
    """What the figures are drawn of, by the name of the function that would draw them."""
    arguments = {}

    def record(name):
        return lambda *given: (arguments.update({name: given}) or Page(), "")

    for name in ("draw_tokens", "draw_differences"):
        monkeypatch.setattr(language_report, name, record(name))
    return arguments


def test_figures_are_of_the_first_seed_and_of_paired_differences(drawn, tmp_path):
    """Tokens of three methods at most."""
    pulled = ("sft", "ift", "ift_detached", "ift_propagation")
    runs = [
        run_of(name, seed, 0.1 * (name != "sft"), pull=[[i, seed]], pull_at=[10 * i + seed])
        for i, name in enumerate(pulled)
        for seed in range(2)
    ]
    assert [path.name for path in draw_figures(runs, tmp_path, "light")] == ["findings.json", "tokens", "differences"]
    pulls, at, methods, *_ = drawn["draw_tokens"]
    assert {name: pull.tolist() for name, pull in pulls.items()} == {name: [[i, 0]] for i, name in enumerate(pulled[:3])}
    assert at == {"sft": [0], "ift": [10], "ift_detached": [20]} and list(methods) == list(pulled)
    differences, *_ = drawn["draw_differences"]
    assert list(differences) == [*pulled[1:]] and list(differences["ift"]) == ["greedy", "sampled", "distance", "end"]
    np.testing.assert_allclose(list(differences["ift"].values()), 0.1)


def test_two_seeds_of_two_methods_have_differences(drawn, tmp_path):
    runs = [run_of(name, seed) for name in ("sft", "dpo") for seed in range(2)]
    assert [path.name for path in draw_figures(runs, tmp_path, "light")] == ["findings.json", "differences"]


def test_no_figure_is_drawn_without_a_first_seeds_pull_and_two_seeds_of_sft(drawn, tmp_path):
    late = [run_of("ift", 0), run_of("ift", 1, pull=[[1, 1]], pull_at=[0])]
    alone = [run_of("sft", seed) for seed in range(2)]
    for runs in (late, alone, [alone[0], *late]):
        assert [path.name for path in draw_figures(runs, tmp_path, "light")] == ["findings.json"]
    assert not drawn


def test_nothing_is_drawn_of_nothing(tmp_path):
    assert [path.name for path in draw_figures([run_of("dpo", 0)], tmp_path, "light")] == ["findings.json"]
    assert draw_films([], tmp_path, "png", "light") == []


def test_saved_runs_are_read_in_order(tmp_path):
    for name in ("ift_random", "dpo", "sft"):
        (tmp_path / f"{name}.json").write_text(
            json.dumps({"method": name, "settings": {"size": 4, "seeds": len(name)}, "runs": [run_of(name, 0)]})
        )
    (tmp_path / "sft.film.json").write_text("of another kind")
    assert [run["method"] for run in load_runs(tmp_path)] == ["sft", "dpo", "ift_random"]
    (tmp_path / "torn.json").write_text('{"method": "sf')
    with pytest.raises(ValueError, match=r"torn\.json is not a file of language runs that can be read: it is no JSON"):
        load_runs(tmp_path)
    (tmp_path / "torn.json").write_text(json.dumps({"method": "ift", "settings": {"size": 5}, "runs": [run_of("ift", 0)]}))
    with pytest.raises(ValueError, match=r"torn\.json is of other runs than the files beside it \(--size\)"):
        load_runs(tmp_path)
    with pytest.raises(ValueError, match="where no run is saved"):
        load_runs(tmp_path / "nowhere")


def test_a_pull_without_its_updates_is_refused(tmp_path):
    run = run_of("sft", 0, pull=[[1.0, 1.0]])
    (tmp_path / "sft.json").write_text(json.dumps({"method": "sft", "settings": {}, "runs": [run]}))
    with pytest.raises(ValueError, match=r"runs\[0\] has one of pull and pull_at; allowed: both or none"):
        load_runs(tmp_path)


def test_methods_of_the_users_own_are_read_by_name_last(tmp_path, monkeypatch):
    """Whatever the order in which the file system tells its files."""
    for name in ("own_a", "own_b", "sft"):
        (tmp_path / f"{name}.json").write_text(json.dumps({"method": name, "settings": {}, "runs": [run_of(name, 0)]}))
    glob = Path.glob
    for reverse in (False, True):
        monkeypatch.setattr(Path, "glob", lambda *args, reverse=reverse: sorted(glob(*args), reverse=reverse))
        assert [run["method"] for run in load_runs(tmp_path)] == ["sft", "own_a", "own_b"]


def test_files_are_compared_in_what_their_methods_share(tmp_path):
    """A run of DPO names no mixing; two that do have to name the same."""
    for name, options in (("sft", {}), ("ift", {"mixing": 0.5}), ("dpo", {"beta": None})):
        (tmp_path / f"{name}.json").write_text(
            json.dumps({"method": name, "settings": {"size": 4, **options}, "runs": [run_of(name, 0)]})
        )
    assert len(load_runs(tmp_path)) == 3
    file = tmp_path / "ift_random.json"
    content = {"method": "ift_random", "settings": {"size": 4, "mixing": 0.2}, "runs": [run_of("ift_random", 0)]}
    file.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"ift_random\.json is of other runs than the files beside it \(--mixing\)"):
        load_runs(tmp_path)

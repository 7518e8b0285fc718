"""What is chosen, on which lakes, and from which base: on tables written by hand, in which a wrong rule chooses another run."""

import doctest
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ift_gridworld.language import distributed
from ift_gridworld.language.controls import find_method
from ift_gridworld.language.distributed import ProcessGroup
from ift_gridworld.language.task import Task, encode_walks
from ift_gridworld.language.training import Diverged, TrainingLog
from ift_gridworld.methods.imitation import SFT
from ift_gridworld.methods.on_policy import GRPO, PPO
from ift_gridworld.methods.preferences import DPO
from ift_gridworld.studies import language_seed, language_study
from ift_gridworld.studies.language_seed import SeedStudy, find_temperature
from ift_gridworld.studies.language_settings import StudySettings, check_settings, has_edge, method_settings, saved_settings

SETS = ("base", "maps", "validation", "held_out")
ALONE = ProcessGroup(torch.device("cpu"))


class Written(SeedStudy):
    """A study whose policies are known by their setting, and whose measures are looked up.

    Args:
        table: by learning rate, or by (learning rate, beta), what is measured on each set of lakes: {set: {metric: value}};
            None for a run that diverges.
    """

    def __init__(self, monkeypatch, table, **settings):
        self.settings, self.seed, self.group = StudySettings(**settings), 7, ALONE
        self.tokenizer, self.table, self.tried = None, table, []
        self.task = SimpleNamespace(
            lakes={name: name for name in SETS}, paths={name: f"paths of {name}" for name in SETS}, limit=9
        )
        self.probes = {name: f"probes of {name}" for name in ("validation", "held_out")}
        monkeypatch.setattr(language_seed, "measure", self.look_up)
        monkeypatch.setattr(language_seed, "mean_entropy", self.look_up_entropy)
        monkeypatch.setattr(language_seed, "entropy_at_temperatures", self.look_up_entropies)

    def align_at(self, name, rate, beta=None, *, resume=False):
        setting = rate if beta is None else (rate, beta)
        self.tried.append(setting)
        if self.table[setting] is None:
            raise Diverged(f"the loss is nan at a rate of {rate}")
        policy = torch.nn.Identity()
        policy.model, policy.setting, policy.temperature, policy.resumed = None, setting, 1.0, resume
        measured = [{"step": 0, "greedy": 0.1}, {"step": 300, "greedy": 0.2}]
        run = {"method": name, "seed": 7, "learning_rate": rate, "measured": measured, "pull": [], "film": None}
        return run | ({} if beta is None else {"beta": beta}), policy

    def look_up(self, policy, tokenizer, lakes, paths, *, probes, limit, seed):
        assert (paths, probes, limit, seed) == (f"paths of {lakes}", f"probes of {lakes}", 9, 7), (
            "all of one set, and this seed's"
        )
        return {name: np.array([value, np.nan, value]) for name, value in self.table[policy.setting][lakes].items()}

    def look_up_entropy(self, policy, tokenizer, lakes, probes):
        assert probes == f"probes of {lakes}"
        return self.table[policy.setting][lakes]["entropy"] * policy.temperature

    def look_up_entropies(self, policy, tokenizer, lakes, probes):
        return lambda temperature: self.look_up_entropy(policy, tokenizer, lakes, probes) * temperature


def scores(validation, held_out=0.0, greedy=0.0, entropy=(1.0, 1.0)):
    """What is measured of a policy: its sampled success on both sets, all else being as misleading as it can be."""
    return {
        "validation": {"sampled": validation, "greedy": greedy, "entropy": entropy[0]},
        "held_out": {"sampled": held_out, "greedy": greedy, "entropy": entropy[1]},
    }


# ---- which rate ----


def test_the_rate_is_chosen_by_sampled_success_on_validation_lakes(monkeypatch):
    """Not the first, the last, the worst, the greediest, or the best on held-out lakes."""
    table = {
        1e-3: scores(0.2, 0.9),
        2e-3: scores(0.5, 0.3, greedy=0.1),
        4e-3: scores(0.1, 0.8),
        8e-3: scores(0.4, 0.7, greedy=0.6),
    }
    study = Written(monkeypatch, table, learning_rates=tuple(table))
    run = study.align("sft")
    assert run["learning_rate"] == 2e-3 and study.tried == list(table)
    assert run["validation"] == {"0.001": 0.2, "0.002": 0.5, "0.004": 0.1, "0.008": 0.4} and not run["on_edge"]


def test_of_two_equally_good_rates_the_first_is_kept(monkeypatch):
    run = Written(monkeypatch, {rate: scores(0.5) for rate in (1, 2, 4)}, learning_rates=(2, 1, 4), extend=False).align("sft")
    assert run["learning_rate"] == 2


def test_a_best_rate_on_the_edge_extends_the_grid_until_it_is_inside(monkeypatch):
    table = {3e-4: scores(0.4), 1e-3: scores(0.3), 3e-3: scores(0.2), 1e-4: scores(0.6), 3e-5: scores(0.5), 1e-5: scores(0.9)}
    study = Written(monkeypatch, table)
    run = study.align("dpo")
    assert study.tried == [3e-4, 1e-3, 3e-3, 1e-4, 3e-5] and run["learning_rate"] == 1e-4 and not run["on_edge"]
    assert list(run["validation"]) == ["3e-05", "0.0001", "0.0003", "0.001", "0.003"]
    run = Written(monkeypatch, table, extend=False).align("dpo")
    assert run["learning_rate"] == 3e-4 and run["on_edge"] and has_edge(run)


def test_what_is_on_an_edge_at_the_limit_is_marked(monkeypatch):
    table = {rate: scores(rate) for rate in (3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)}
    run = Written(monkeypatch, table).align("sft")
    assert run["learning_rate"] == 1e-1 and run["on_edge"]


def test_one_rate_alone_is_not_measured_on_validation_lakes(monkeypatch):
    study = Written(monkeypatch, {1e-3: {"validation": {}}}, learning_rates=(1e-3,))
    run = study.align("sft")
    assert run["validation"] == {"0.001": 0.0} and not run["on_edge"] and "entropy" not in run


def test_the_entropy_is_that_of_ift_for_the_temperature_of_sft(monkeypatch):
    """On validation lakes; nothing else needs it."""
    table = {1e-3: scores(0.5, entropy=(2.0, 3.0))}
    monkeypatch.setattr(language_seed, "bfloat16_agreement", lambda *_: 1.0)
    held_out = property(lambda self: SimpleNamespace(demonstrations=()))
    monkeypatch.setattr(Written, "held_out", held_out)
    for methods, needs in ((("sft", "ift"), True), (("ift",), False), (("ift", "dpo"), False)):
        study = Written(monkeypatch, table, learning_rates=(1e-3,), methods=methods)
        assert study.align("ift").get("entropy") == (2.0 if needs else None)
        assert "entropy" not in study.align("sft")


def test_rates_that_diverge_are_left_out_wherever_they_stand(monkeypatch):
    table = {1e-3: None, 2e-3: scores(0.1), 4e-3: scores(0.05), 8e-3: None}
    run = Written(monkeypatch, table, learning_rates=tuple(table)).align("sft")
    assert run["learning_rate"] == 2e-3 and run["validation"] == {"0.001": None, "0.002": 0.1, "0.004": 0.05, "0.008": None}
    with pytest.raises(Diverged, match="at a rate of 8"):
        Written(monkeypatch, {2: None, 8: None}, learning_rates=(2, 8)).align("sft")


def test_every_process_chooses_by_the_first_ones_scores(monkeypatch):
    """Which alone measures: another keeps the same rate, and tries the same ones."""
    study = Written(monkeypatch, {rate: scores(0.0) for rate in (1, 3, 10, 30)}, learning_rates=(1, 3, 10))
    measured = iter((0.1, 0.2, 0.4, 0.3))
    study.group = SimpleNamespace(rank=1, of_first=lambda own: next(measured) + own)
    run = study.align("sft")
    assert (run["learning_rate"], study.tried) == (10, [1, 3, 10, 30])
    told = []
    monkeypatch.setattr(distributed, "sum_over_processes", lambda x, processes: told.append((float(x), processes)) or x)
    assert [ProcessGroup(ALONE.device, rank, 2).of_first(0.7) for rank in (0, 1)] == [0.7, 0.0]
    assert told == [(0.7, 2), (0.0, 2)], "the sum over processes is the first one's"


def test_beta_belongs_to_the_grid(monkeypatch):
    """Each beta is tried at every rate; the best of all is kept, with the scores at its beta; an edge extends either."""
    value = {(1, 0.4): 0.3, (2, 0.4): 0.4, (4, 0.4): 0.1, (1, 0.1): 0.2, (2, 0.1): 0.6, (4, 0.1): 0.5}
    value |= {(1, 0.03): 0.1, (2, 0.03): 0.15, (4, 0.03): 0.05}
    study = Written(monkeypatch, {key: scores(x) for key, x in value.items()}, learning_rates=(1, 2, 4), betas=(0.4, 0.1))
    run = study.align("dpo")
    assert study.tried == list(value) and (run["learning_rate"], run["beta"]) == (2, 0.1) and not run["on_edge"]
    assert run["validation"] == {"1": 0.2, "2": 0.6, "4": 0.5}
    assert run["validation_of_beta"] == {"0.03": 0.15, "0.1": 0.6, "0.4": 0.4}
    study.settings = replace(study.settings, extend=False)
    assert study.align("dpo")["on_edge"], "0.1 is the least of two"
    study.table = {rate: scores(rate % 4) for rate in (1, 2, 4)}
    assert "beta" not in study.align("sft"), "which has none"


def test_beta_reaches_the_method_and_is_saved():
    settings = StudySettings(methods=("sft", "dpo"), betas=(0.05, 0.5), batch=16)
    assert (
        method_settings(settings, "dpo", 1e-3, 0.05)[1].beta == 0.05 and method_settings(settings, "dpo", 1e-3)[1].beta == 0.1
    )
    assert saved_settings(settings, "dpo")["betas"] == (0.05, 0.5) and "betas" not in saved_settings(settings, "sft")
    check_settings(settings)
    with pytest.raises(ValueError, match=r"^beta is -1.0; allowed: "):
        check_settings(replace(settings, betas=(-1.0, 1.0)))
    with pytest.raises(ValueError, match=r"^--betas is 0.05 0.5, which --method sft does not use; allowed with ppo, dpo, "):
        check_settings(replace(settings, methods=("sft",)))


def test_a_run_says_whether_its_setting_is_on_an_edge():
    """Also one that was saved before it was noted."""
    run = {"learning_rate": 1e-3, "validation": {"0.0003": 0.1, "0.001": 0.3, "0.003": None}}
    assert not has_edge(run) and has_edge(run | {"learning_rate": 3e-3}) and has_edge(run | {"learning_rate": 3e-4})
    assert has_edge(run | {"beta": 0.1, "validation_of_beta": {"0.1": 0.3, "1": 0.2}})
    assert has_edge({"learning_rate": 10**-3.5, "validation": {"0.000316228": 0.2, "0.001": 0.1}}), "as it is written"
    assert not has_edge({"learning_rate": 1e-3, "validation": {"0.001": 0.0}}) and not has_edge({"learning_rate": 1e-3})


# ---- the temperature ----


@pytest.mark.parametrize("target", [0.3, 1.0, 4.0])
def test_the_temperature_is_that_of_the_wanted_entropy(target):
    asked = []
    found = find_temperature(lambda temperature: asked.append(temperature) or temperature**0.5, target**0.5)
    assert found == pytest.approx(target, rel=2e-3) and asked[-1] == found
    assert doctest.testmod(language_seed).failed == 0


def test_sft_is_tempered_on_validation_lakes_and_measured_on_held_out_ones(monkeypatch):
    """Entropy 0.5 T on validation lakes, 3 T on held-out ones: IFT's 1.5 is met at a temperature of 3, not of 1 / 2."""
    table = {1e-3: scores(0.1, 0.9, entropy=(9, 9)), 2e-3: scores(0.2, 0.4, greedy=0.7, entropy=(0.5, 3.0))}
    study = Written(monkeypatch, table, steps=300)
    sft = {
        "learning_rate": 2e-3,
        "measured": [{"step": 0, "sampled": 0.05}, {"step": 300, "sampled": 0.2}],
        "pull": [1],
        "seed": 7,
    }
    run = study.temper(sft, {"entropy": 1.5, "learning_rate": 1e-3})
    assert run["temperature"] == pytest.approx(3.0, rel=2e-3) and study.tried == [2e-3], "at SFT's own rate"
    assert run["method"] == "sft_tempered" and "pull" not in run and run["seed"] == 7
    assert run["measured"] == [sft["measured"][0], {"step": 300, "sampled": 0.4, "greedy": 0.7, "entropy": 3.0}]


def test_sft_is_tempered_to_the_ift_of_its_own_seed():
    done = {
        (seed, name): f"{name} {seed}" for seed in (3, 4, 5) for name in ("ift", "dpo", "sft") if (seed, name) != (4, "ift")
    }
    assert language_study._pairs_to_temper(done) == [("sft 3", "ift 3"), ("sft 5", "ift 5")]


# ---- seeds, bases and lakes ----

SMALL = StudySettings(task=Task(base=6, maps=8, validation=5, held_out=4, seed=2), base_steps=0, batch=4, steps=2, every=1)


@pytest.fixture(scope="module")
def studies():
    return [SeedStudy(SMALL, seed, ALONE) for seed in (2, 3, 2)]


def weights(policy):
    return torch.cat([p.detach().flatten() for p in policy.parameters()])


def test_a_seed_has_its_own_lakes_and_base_the_same_for_every_method(studies):
    one, other, again = studies
    for name in SETS:
        assert (one.task.lakes[name].tiles == again.task.lakes[name].tiles).all()
        assert len(one.task.lakes[name]) == getattr(SMALL.task, name)
    drawn = [{name for lakes in study.task.lakes.values() for name in lakes.fingerprints} for study in studies]
    assert drawn[0] == drawn[2] and len(drawn[0] & drawn[1]) < 5, "lakes are drawn anew"
    assert torch.equal(weights(one.base), weights(again.base)) and not torch.equal(weights(one.base), weights(other.base))


def test_methods_learn_from_the_lakes_to_align_on_in_the_seeds_own_order(studies):
    one, other, _ = studies
    for kind in (SFT, DPO, GRPO):
        source, left_out = one._source(kind)
        human = encode_walks(one.task.lakes["maps"], one.task.paths["maps"], one.tokenizer)
        np.testing.assert_array_equal(source.demonstrations.ids, human.ids)
        assert source.chosen is source.demonstrations and source.seed == 2 and source.rows == 4 and not left_out
    assert other._source(SFT)[0].seed == 3
    np.testing.assert_array_equal(
        one.held_out.demonstrations.ids, encode_walks(one.task.lakes["held_out"], one.task.paths["held_out"], one.tokenizer).ids
    )


def test_the_base_is_trained_on_its_own_lakes(studies, monkeypatch):
    """On their mediocre walks; where it is cached depends on the seed."""
    from ift_gridworld.language import base_model

    study, asked = studies[0], []
    monkeypatch.setattr(base_model, "align", lambda name, source, policy, **options: asked.append((name, source)))
    monkeypatch.setattr(base_model, "write_atomically", lambda path, content: asked.append(path))
    options = {"model": "tiny", "steps": 3, "rows": 4, "peak": 1e-3, "device": ALONE.device}
    for task in (study.task, replace(study.task, seed=3)):
        base_model.train_or_load_base(task, study.base, study.tokenizer, **options, cache=base_model.Path("nowhere"))
    (name, source), first, _, second = asked
    assert name == "sft" and source.seed == 2 and first != second
    expected = encode_walks(study.task.lakes["base"], study.task.base_walks, study.tokenizer)
    np.testing.assert_array_equal(source.demonstrations.ids, expected.ids)


def test_every_run_starts_from_the_base_and_is_measured_on_held_out_lakes(studies, monkeypatch, tmp_path):
    """The base's own measures come first, then every `every` updates; the base itself does not move, and no lake is missed."""
    study, seen = studies[0], []
    real = language_seed.measure
    monkeypatch.setattr(language_seed, "measure", lambda *args, **options: seen.append(args[2]) or real(*args, **options))
    study.settings = replace(SMALL, out=tmp_path)
    before = weights(study.base)
    (one, policy), (two, _) = (study.align_at("sft", rate) for rate in (1e-3, 1e-2))
    assert torch.equal(weights(study.base), before) and not torch.equal(weights(policy), before)
    assert one["measured"][0] == two["measured"][0] and one["loss"][0] == two["loss"][0] and one["loss"] != two["loss"]
    assert [result["step"] for result in one["measured"]] == [0, 1, 2]
    assert all(lakes is study.task.lakes["held_out"] for lakes in seen) and len(seen) == 6
    assert one["measured"][0]["greedy"] == study.metrics(study.base)["greedy"]


@pytest.mark.parametrize(
    ("name", "film", "other_seed", "seen"),
    [
        ("sft", False, False, {"logp"}),
        ("sft", True, False, {"lake", "moves", "logp"}),
        ("dpo", True, False, {"lake", "moves"}),
        ("dpo", False, False, None),
        ("sft", True, True, None),
    ],
)
def test_only_what_is_drawn_is_watched(name, film, other_seed, seen, studies, monkeypatch):
    """Moves for a film, log-probs for the tokens of a method that imitates, both of the first seed alone."""
    study = studies[0]
    monkeypatch.setattr(study, "settings", replace(SMALL, film=film, task=replace(SMALL.task, seed=9 if other_seed else 2)))
    kind = find_method(name)[0]
    watch = study._watching(kind, study.task.source(study.tokenizer, rows=4), kind.options_type())
    assert (None if watch is None else set(watch(study.base))) == seen


def test_a_setting_reaches_the_training_and_has_a_checkpoint_of_its_own(studies, monkeypatch, tmp_path):
    study, asked = studies[0], []
    monkeypatch.setattr(language_seed, "align", lambda kind, *_, **options: asked.append((kind, options)) or TrainingLog())
    study.settings = replace(SMALL, out=tmp_path, options=(("beta", 0.3),))
    runs = [study.align_at("dpo", rate, beta)[0] for rate, beta in ((1e-3, None), (1e-3, 0.5), (2e-3, 0.5))]
    assert [(options["training"].learning_rate, options["options"].beta) for _, options in asked] == [
        (1e-3, 0.3), (1e-3, 0.5), (2e-3, 0.5)
    ]  # fmt: skip
    assert len({options["checkpoint"] for _, options in asked}) == 3
    assert all(kind is DPO and options["every"] == 1 and options["training"].steps == 2 for kind, options in asked)
    assert [(run["seed"], run["learning_rate"], run.get("beta")) for run in runs] == [
        (2, 1e-3, None), (2, 1e-3, 0.5), (2, 2e-3, 0.5)
    ]  # fmt: skip


def test_seeds_are_counted_from_the_first(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(
        language_study,
        "_run",
        lambda settings, seed, name, workers=1: asked.append((seed, name)) or {"seed": seed, "validation": {}},
    )
    settings = replace(SMALL, seeds=2, methods=("dpo", "ipo"), workers=1, out=tmp_path)
    runs = language_study.run_study(settings)
    assert asked == [(2, "dpo"), (2, "ipo"), (3, "dpo"), (3, "ipo")] and [run["seed"] for run in runs] == [2, 2, 3, 3]


def test_what_one_seed_tries_beyond_the_grid_all_seeds_of_the_method_try(monkeypatch, tmp_path):
    """Seed 2 goes down to 3e-5, seed 4 up to 1e-2: all three choose from six rates, resumed; SFT has the grid alone."""
    beyond, asked = {2: (1e-4, 3e-5), 3: (), 4: (1e-2,)}, []

    def run(settings, seed, name, workers=1):
        asked.append((seed, name, settings.learning_rates, settings.extend, settings.resume))
        own = beyond[seed] if settings.extend and name == "dpo" else ()
        return {"seed": seed, "method": name, "validation": {f"{rate:g}": 0.1 for rate in (*settings.learning_rates, *own)}}

    monkeypatch.setattr(language_study, "_run", run)
    grid, common = (10**-3.5, 1e-3, 3e-3), (3e-5, 1e-4, 10**-3.5, 1e-3, 3e-3, 1e-2)
    settings = replace(SMALL, seeds=3, methods=("sft", "dpo"), workers=1, learning_rates=grid, out=tmp_path)
    runs = language_study.run_study(settings)
    assert asked[:6] == [(seed, name, grid, True, False) for seed in (2, 3, 4) for name in ("sft", "dpo")]
    assert asked[6:] == [(seed, "dpo", common, False, True) for seed in (2, 3, 4)]
    assert [len(run["validation"]) for run in runs] == [3, 6] * 3
    asked.clear()
    language_study.run_study(replace(settings, extend=False))
    assert len(asked) == 6


def test_a_batch_of_rollouts_is_a_batch_of_rows():
    """So that 300 updates of PPO and GRPO are 75 batches of 32 answers, each seen four times."""
    for name, kind in (("ppo", PPO), ("grpo", GRPO)):
        training, options = method_settings(StudySettings(batch=24), name, 1e-3)
        assert options.walkers == 24 and options.epochs == 4 and training.steps == StudySettings().steps == 300
        assert kind.options_type is type(options)

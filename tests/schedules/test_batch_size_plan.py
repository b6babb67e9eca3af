"""Plans against the numbers of the paper, and against the decay that they replace, at every epoch and update."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_tricks.recipe import Recipe, list_recipes, load_recipe
from keras_tricks.schedules import BatchSizePlan, Cosine, Exponential, Step, batch_size_plan, learning_rate
from keras_tricks.training import plan_of_recipe as plan_of
from keras_tricks.utils.errors import UserError

CIFAR, IMAGENET, SMALL = 50_000, 1_281_167, 10_000
OPTIMIZERS = ("", "_adam", "_momentum", "_sgd")
UPDATES = {  # of the recipes of `dont_decay/`: the last, incomplete batch of an epoch is dropped
    **{f"cifar10_decay{name}": 78_000 for name in OPTIMIZERS},
    **{f"cifar10_hybrid{name}": 34_320 for name in OPTIMIZERS},
    **{f"cifar10_increase_batch{name}": 29_040 for name in OPTIMIZERS},
    "cifar10_increased_learning_rate": 6_300,
    "cifar10_increased_momentum": 2_160,
    "cifar10_small_decay": 9_360,
    "cifar10_small_hybrid": 4_360,
    "cifar10_small_increase_batch": 3_860,
    "inception_resnet_v2_decay": 14_040,
    "inception_resnet_v2_grow_once": 5_580,
    "inception_resnet_v2_momentum_0_9": 5_820,
    "inception_resnet_v2_momentum_0_95": 3_480,
    "inception_resnet_v2_momentum_0_975": 2_310,
    "resnet50_8192_to_16384": 9_360,
}
TRIPLES = [  # recipes that replace the same decay
    *[[f"cifar10_{mode}{name}" for mode in ("decay", "hybrid", "increase_batch")] for name in OPTIMIZERS],
    ["cifar10_decay", "cifar10_increased_learning_rate", "cifar10_increased_momentum"],
    [f"cifar10_small_{mode}" for mode in ("decay", "hybrid", "increase_batch")],
    ["inception_resnet_v2_decay", "inception_resnet_v2_grow_once", "inception_resnet_v2_momentum_0_9"],
    ["inception_resnet_v2_decay", "inception_resnet_v2_momentum_0_95", "inception_resnet_v2_momentum_0_975"],
]


def recipe_plan(name, replicas=1):
    examples = SMALL if "small" in name else CIFAR if "cifar" in name else IMAGENET
    return plan_of(load_recipe(f"dont_decay/{name}"), examples, replicas)


def noise(plan, epoch):
    """eps N / (B (1 - m)) at the end of an epoch, from the values that the run would use."""
    phase = plan.phase(epoch)
    rate = plan.rate(epoch, phase.updates_per_epoch - 1)
    return rate * plan.dataset_size / (phase.batch_size * (1 - plan.momentum))


# ---- the paper


def test_every_recipe_of_the_paper_is_counted():
    assert {f"dont_decay/{name}" for name in UPDATES} == {n for n in list_recipes() if n.startswith("dont_decay/")}


@pytest.mark.parametrize("name", UPDATES)
def test_updates_of_a_recipe(name):
    plan = recipe_plan(name)
    assert plan.updates == sum(phase.updates for phase in plan) == plan.updates_before(plan.epochs) == UPDATES[name]
    said = re.findall(r"([\d,]+) updates", load_recipe(f"dont_decay/{name}").about.note)
    assert said in ([], [f"{UPDATES[name]:,}"])


@pytest.mark.parametrize("cap, updates", [(65_536, 5_820), (81_920, 5_580)])
def test_updates_of_growing_once_depend_on_the_cap(cap, updates):
    recipe = load_recipe("dont_decay/inception_resnet_v2_grow_once").replace(schedule={
        **load_recipe("dont_decay/inception_resnet_v2_grow_once").schedule.model_dump(), "max_batch_size": cap})
    assert plan_of(recipe, IMAGENET, 1).updates == updates


@pytest.mark.parametrize("mode, updates", [("decay", 78_000), ("hybrid", 34_320), ("increase_batch", 28_800)])
def test_updates_without_a_cap(mode, updates):
    """The table of section 5.1, up to 16,000 images."""
    plan = batch_size_plan(0.1, 128, 200, CIFAR, Step((60, 120, 160), 0.2), mode, 5, max_batch_size=16_000)
    assert plan.updates == updates
    expected = {"decay": [128] * 4, "hybrid": [128, 640, 640, 640], "increase_batch": [128, 640, 3200, 16_000]}[mode]
    assert [phase.batch_size for phase in plan] == expected
    rates = {"decay": [1, 1 / 5, 1 / 25, 1 / 125], "hybrid": [1, 1, 1 / 5, 1 / 25], "increase_batch": [1] * 4}[mode]
    np.testing.assert_allclose([phase.learning_rate for phase in plan], 0.1 * np.array(rates), rtol=1e-12)


@pytest.mark.parametrize("name, batches, rates", [
    ("cifar10_increase_batch", [128, 640, 3200, 5120], [0.1, 0.1, 0.1, 0.1 / 3.125]),
    ("cifar10_increased_learning_rate", [640, 3200, 5120, 5120], [0.5, 0.5, 0.5 / 3.125, 0.5 / 15.625]),
    ("cifar10_increased_momentum", [3200, 5120, 5120, 5120], [0.5, 0.5 / 3.125, 0.5 / 15.625, 0.5 / 78.125]),
    ("cifar10_small_increase_batch", [32, 160, 800], [0.025] * 3),
    ("inception_resnet_v2_momentum_0_9", [8192, 65_536, 65_536, 65_536], [3.0, 2.4, 0.24, 0.024]),
    ("inception_resnet_v2_momentum_0_975", [32_768, 65_536, 65_536, 65_536], [3.0, 0.6, 0.06, 0.006]),
    ("resnet50_8192_to_16384", [8192, 16_384, 16_384, 16_384], [3.2, 0.64, 0.064, 0.0064]),
])
def test_the_rate_takes_what_the_cap_leaves(name, batches, rates):
    plan = recipe_plan(name)
    assert [phase.batch_size for phase in plan] == batches
    np.testing.assert_allclose([phase.learning_rate for phase in plan], rates, rtol=1e-12)


@pytest.mark.parametrize("names", TRIPLES, ids=lambda names: names[-1])
def test_the_noise_scale_of_a_triple_is_one_at_every_epoch(names):
    plans = [recipe_plan(name) for name in names]
    assert len({plan.epochs for plan in plans}) == 1
    scales = np.array([[noise(plan, epoch) for epoch in range(plans[0].epochs)] for plan in plans])
    np.testing.assert_allclose(scales, np.broadcast_to(scales[0], scales.shape), rtol=1e-9)
    for plan, row in zip(plans, scales, strict=True):  # and the plan says so; it leaves the warmup out
        after = [e for e in range(plan.epochs) if e >= plan.warmup_epochs]
        np.testing.assert_allclose([plan.phase(e).noise_scale for e in after], row[after], rtol=1e-9)


@pytest.mark.parametrize("name, worst", [
    ("cifar10_decay", 128 / (50_000 - 128)), ("cifar10_increase_batch", 5120 / (50_000 - 5120)),
    ("inception_resnet_v2_grow_once", 81_920 / (1_281_167 - 81_920)),
])
def test_the_gap_to_the_exact_noise_scale(name, worst):
    """Short over exact is N / (N - B): 0.26 % at 128 of 50,000, 11.4 % at 5,120."""
    plan = recipe_plan(name)
    gaps = [phase.noise_scale / phase.exact_noise_scale - 1 for phase in plan]
    np.testing.assert_allclose(gaps, [p.batch_size / (plan.dataset_size - p.batch_size) for p in plan], rtol=1e-9)
    assert max(gaps) == pytest.approx(worst, rel=1e-9)


def test_a_plan_prints_as_a_table():
    lines = str(recipe_plan("cifar10_increase_batch")).splitlines()
    assert lines[0].split() == ["epochs", "batch", "=", "replica", "x", "steps", "learning", "rate", "updates", "noise",
                                "scale", "exact", "forgets", "in"]
    assert lines[1].split() == ["0-59", "128", "128", "x", "1", "1", "0.1", "23,400", "390.63", "389.63",
                                "10", "updates,", "0.0256", "epochs"]
    assert lines[4].split() == ["160-199", "5,120", "5,120", "x", "1", "1", "0.032", "360", "3.125", "2.805",
                                "10", "updates,", "1.02", "epochs"]
    assert lines[5] == "29,040 updates in 200 epochs of 50,000 images" and len(lines) == 6


# ---- any decay


@st.composite
def arguments(draw):
    epochs = draw(st.integers(1, 40))
    decay = draw(st.one_of(
        st.none(),
        st.just(Cosine(epochs)),
        st.builds(Exponential, st.floats(0.3, 0.99), st.floats(0.5, 10.0)),
        st.builds(Step, st.lists(st.integers(1, max(epochs - 1, 1)), unique=True, max_size=4).map(sorted).map(tuple),
                  st.floats(0.05, 0.9)),
    ))
    if isinstance(decay, Step) and epochs == 1:
        decay = None
    batch_size = draw(st.integers(1, 64))
    dataset_size = draw(st.integers(batch_size, 5000))
    cap = draw(st.one_of(st.none(), st.integers(batch_size, dataset_size)))
    growth = draw(st.one_of(
        st.fixed_dictionaries({"mode": st.sampled_from(["increase_batch", "hybrid", "decay"]),
                               "factor": st.integers(2, 5)}),
        st.fixed_dictionaries({"multiples": st.lists(st.integers(1, 40), unique=True, max_size=5).map(sorted)}),
    ))
    return dict(learning_rate=draw(st.floats(1e-3, 4.0)), batch_size=batch_size, epochs=epochs, decay=decay,
                dataset_size=dataset_size, max_batch_size=cap, momentum=draw(st.sampled_from([0.0, 0.9])),
                warmup_epochs=draw(st.sampled_from([0.0, 0.5, 2.0, 2.5])), **growth)


def decayed(kwargs, epoch, updates_per_epoch, update=0):
    """The learning rate of the plain decay at the same time."""
    step = epoch * updates_per_epoch + update
    return learning_rate(step, updates_per_epoch, kwargs["learning_rate"], kwargs["warmup_epochs"], kwargs["decay"])


@settings(max_examples=60, deadline=None)
@given(arguments())
def test_any_plan_keeps_rate_over_batch_of_its_decay(kwargs):
    plan = batch_size_plan(**kwargs)
    for epoch in range(plan.epochs):
        phase = plan.phase(epoch)
        for update in {0, phase.updates_per_epoch // 2, phase.updates_per_epoch - 1}:
            expected = decayed(kwargs, epoch, phase.updates_per_epoch, update) / kwargs["batch_size"]
            assert plan.rate(epoch, update) / phase.batch_size == pytest.approx(expected, rel=1e-9)


@settings(max_examples=60, deadline=None)
@given(arguments())
def test_phases_of_any_plan_cover_all_epochs_and_stay_below_the_cap(kwargs):
    plan = batch_size_plan(**kwargs)
    assert [epoch for phase in plan for epoch in phase.epochs] == list(range(kwargs["epochs"]))
    batch, examples = kwargs["batch_size"], kwargs["dataset_size"]
    cap = kwargs["max_batch_size"] or max(examples // 10 // batch, 1) * batch
    for phase in plan:
        assert batch <= phase.batch_size <= max(cap, batch)
        assert phase.updates_per_epoch == examples // phase.batch_size >= 1
    if kwargs.get("mode") == "decay":
        assert {phase.batch_size for phase in plan} == {batch}
    if kwargs.get("mode") == "hybrid":
        assert {phase.batch_size for phase in plan} <= {batch, min(batch * kwargs["factor"], cap)}
    if "multiples" in kwargs:
        assert {phase.batch_size for phase in plan} <= {batch, *(min(batch * m, cap) for m in kwargs["multiples"])}


@settings(max_examples=40, deadline=None)
@given(arguments())
def test_what_is_done_before_an_epoch_is_the_sum_of_the_epochs_before(kwargs):
    plan = batch_size_plan(**kwargs)
    updates = images = steps = 0
    for epoch in range(plan.epochs):
        assert (plan.updates_before(epoch), plan.images_before(epoch), plan.steps_before(epoch)) == (
            updates, images, steps)
        phase = plan.phase(epoch)
        assert epoch in phase.epochs
        updates += phase.updates_per_epoch
        images += phase.updates_per_epoch * phase.batch_size
        steps += phase.steps_per_epoch
    assert plan.updates == updates and plan.steps_before(plan.epochs) == steps


def test_cosine_as_powers_of_two():
    """The batch doubles whenever the cosine has halved since: at 1/2, 1/4 and 1/8, then the cap."""
    plan = batch_size_plan(0.1, 32, 100, 10_000, Cosine(100), max_batch_size=256)
    assert [(phase.epochs.start, phase.batch_size) for phase in plan] == [(0, 32), (50, 64), (67, 128), (77, 256)]
    assert plan[1].learning_rate == pytest.approx(0.1) and plan.rate(49) == pytest.approx(0.1 * Cosine(100)(49.0))


def test_cosine_as_chosen_multiples():
    plan = batch_size_plan(0.1, 100, 100, 10_000, Cosine(100), multiples=(3, 4), max_batch_size=10_000)
    assert [(p.epochs.start, p.batch_size) for p in plan] == [(0, 100), (61, 300), (67, 400)]


def test_exponential_decay_as_powers_of_two():
    plan = batch_size_plan(0.1, 8, 12, 1000, Exponential(0.5, 3.0), max_batch_size=64)
    assert [(p.epochs.start, p.batch_size) for p in plan] == [(0, 8), (3, 16), (6, 32), (9, 64)]
    np.testing.assert_allclose([p.learning_rate for p in plan], 0.1, rtol=1e-12)


def test_any_function_is_a_decay():
    plan = batch_size_plan(0.1, 8, 4, 1000, lambda epoch, warmup_epochs, xp=np: 1.0 / (1.0 + epoch), max_batch_size=64)
    assert [p.batch_size for p in plan] == [8, 16, 32] and plan.rate(3) == pytest.approx(0.1)


def test_a_milestone_below_the_cap_starts_a_phase_although_the_batch_stays():
    plan = batch_size_plan(0.1, 100, 9, 1000, Step((3, 6), 0.1), max_batch_size=100, factor=10)
    assert [(p.epochs.start, p.batch_size) for p in plan] == [(0, 100), (3, 100), (6, 100)]


def test_the_cap_is_a_tenth_of_the_data_rounded_to_whole_first_batches():
    plan = batch_size_plan(0.1, 128, 90, CIFAR, Step((30, 60), 0.1), factor=10)
    assert [p.batch_size for p in plan] == [128, 1280, 4992]  # 50,000 / 10 = 5,000 = 39.06 * 128


def test_the_batch_stays_during_the_warmup_and_the_rate_climbs():
    plan = batch_size_plan(0.4, 10, 8, 100, Step((1, 4), 0.5), warmup_epochs=2.5, max_batch_size=40)
    assert [(p.epochs.start, p.batch_size) for p in plan if p.batch_size > 10] == [(3, 20), (4, 40)]
    rates = [plan.rate(epoch, update) for epoch in range(3) for update in range(10)]
    np.testing.assert_allclose(rates[:25], 0.4 * np.arange(1, 26) / 25, rtol=1e-12)
    np.testing.assert_allclose(rates[25:], 0.2, rtol=1e-12)  # decayed, until the batch may grow at the next epoch


def test_no_decay_is_one_phase():
    (phase,) = plan = batch_size_plan(0.1, 10, 5, 105, None, warmup_epochs=1)
    assert isinstance(plan, BatchSizePlan) and len(plan) == 1
    assert phase.epochs == range(5) and phase.updates == 50 and plan.phase(10**6) is phase


# ---- steps of an update


@pytest.mark.parametrize("replicas, limit, least, micro, steps", [
    (1, None, 1, 96, 1), (2, None, 1, 48, 1), (1, 32, 1, 32, 3), (2, 32, 1, 24, 2), (4, 7, 1, 6, 4), (1, 95, 1, 48, 2),
    (1, None, 3, 32, 3), (2, 16, 3, 16, 3), (1, 1, 1, 1, 96),
])
def test_a_batch_is_split_into_the_fewest_steps_that_fit(replicas, limit, least, micro, steps):
    plan = batch_size_plan(0.1, 96, 3, 1000, replicas=replicas, max_batch_per_replica=limit, accumulation_steps=least)
    (phase,) = plan
    assert (phase.micro_batch, phase.accumulation_steps) == (micro, steps)
    assert phase.micro_batch * replicas * steps == 96 and phase.step_size == micro * replicas
    assert phase.steps_per_epoch == 10 * steps and plan.steps_before(2) == 20 * steps and plan.updates == 30


def test_real_growth_first_and_accumulation_beyond():
    plan = batch_size_plan(0.1, 32, 6, 4000, Step((2, 4), 0.25), factor=4, max_batch_size=512, max_batch_per_replica=64,
                           replicas=2)
    assert [(p.batch_size, p.micro_batch, p.accumulation_steps) for p in plan] == [
        (32, 16, 1), (128, 64, 1), (512, 64, 4)]
    assert "64 x 2" in str(plan)


def test_imagenet_batches_fit_a_device():
    plan = recipe_plan("inception_resnet_v2_grow_once", replicas=8)
    assert [(p.micro_batch, p.accumulation_steps) for p in plan] == [(256, 4)] + [(256, 40)] * 3
    assert plan.updates == 5_580


# ---- errors


def plan(**changes):
    return batch_size_plan(**{"learning_rate": 0.1, "batch_size": 10, "epochs": 9, "dataset_size": 1000,
                              "decay": Step((3, 6), 0.5), **changes})


@pytest.mark.parametrize("changes, words", [
    ({"factor": 1.25}, ["A batch of 10 grown by 1.25 becomes 12.5", "`factor`", "`batch_size`"]),
    ({"factor": 1.5, "batch_size": 3, "decay": Cosine(9)}, ["becomes 4.5"]),
    ({"factor": 1}, ["`factor`", "> 1", "1"]),
    ({"factor": 0.2}, ["`factor`", "> 1", "0.2"]),
    ({"multiples": (4, 2)}, ["`multiples`", "increasing", "(4, 2)"]),
    ({"multiples": (1, 2, 2)}, ["`multiples`", "increasing"]),
    ({"multiples": (1.5, 3)}, ["`multiples`", "integers"]),
    ({"multiples": (0, 3)}, ["`multiples`"]),
    ({"batch_size": 1001}, ["`batch_size` 1,001 is larger than the data set of 1,000"]),
    ({"batch_size": 0}, ["`batch_size` must be an integer > 0", "0"]),
    ({"batch_size": 10.5}, ["`batch_size` must be an integer > 0", "10.5"]),
    ({"dataset_size": 0}, ["`dataset_size` must be an integer > 0"]),
    ({"epochs": 0}, ["`epochs` must be an integer > 0"]),
    ({"learning_rate": -0.1}, ["`learning_rate`", "-0.1"]),
    ({"max_batch_size": 9}, ["`max_batch_size`", "`batch_size` 10", "9"]),
    ({"max_batch_size": 1001}, ["`max_batch_size`", "1,000 examples", "1,001"]),
    ({"decay": Step((6, 3), 0.5)}, ["`milestones` must increase", "(6, 3)"]),
    ({"decay": Step((3, 3), 0.5)}, ["`milestones` must increase"]),
    ({"decay": Step((3, 9), 0.5)}, ["`milestones`", "9 epochs", "(3, 9)"]),
    ({"decay": Step((0, 3), 0.5)}, ["`milestones`", "between 0 and"]),
    ({"decay": Step((3, 9), 0.5), "mode": "hybrid"}, ["`milestones`", "9 epochs"]),
    ({"mode": "increase"}, ["`mode`", "'increase'", 'Did you mean "increase_batch"']),
    ({"replicas": 3}, ["A batch of 10 images cannot be divided", "3 replicas", "multiple of 3"]),
    ({"replicas": 16}, ["A batch of 10 images cannot be divided", "16 replicas", "multiple of 16"]),
    ({"replicas": 2, "accumulation_steps": 2}, ["2 replicas x 2 accumulation steps", "multiple of 4"]),
    ({"replicas": 4, "batch_size": 20, "decay": Step((3, 6), 0.2), "factor": 5, "max_batch_size": 90},
     ["A batch of 90 images", "multiple of 4"]),
    ({"max_batch_per_replica": 0}, ["`max_batch_per_replica` must be > 0"]),
], ids=lambda value: " ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else "")
def test_mistakes_are_user_errors(changes, words):
    with pytest.raises(UserError) as error:
        plan(**changes)
    assert [word for word in words if word not in str(error.value)] == []


def test_the_last_sizes_that_are_allowed():
    assert plan(replicas=5, factor=4, max_batch_size=160)[-1].batch_size == 40
    assert plan(max_batch_size=1000, decay=Step((3, 6), 0.1), factor=10)[-1].batch_size == 1000  # all the data


def test_the_size_of_the_data_must_be_given():
    with pytest.raises(TypeError, match="dataset_size"):
        batch_size_plan(0.1, 10, 9)


def test_the_square_root_rule_of_adam():
    """Where the decay halves the rate, the batch doubles and the rate falls by sqrt 2 (Seesaw)."""
    decay = Step((2, 4), 0.5)
    plan = batch_size_plan(0.1, 8, 6, 640, decay, growth_exponent=0.5, max_batch_size=64)
    assert [p.batch_size for p in plan] == [8, 16, 32]
    expected = [0.1, 0.1 / 2**0.5, 0.05]
    np.testing.assert_allclose([p.learning_rate for p in plan], expected, rtol=1e-9)
    np.testing.assert_allclose([plan.rate(epoch) for epoch in (0, 2, 4)], expected, rtol=1e-6)
    assert "learning rate (root)" in str(plan) and "(root)" not in str(batch_size_plan(0.1, 8, 6, 640, decay))
    with pytest.raises(UserError, match="growth_exponent"):
        batch_size_plan(0.1, 8, 6, 640, decay, growth_exponent=0.0)


@pytest.mark.parametrize("changes, exponent", [
    ([], 1.0), (["optimizer.name=adam"], 0.5), (["optimizer.name=lamb"], 0.5), (["optimizer.name=muon"], 1.0),
    (["optimizer.name=adam", "schedule.growth_exponent=1"], 1.0)], ids=str)
def test_the_rule_of_a_recipe_follows_its_optimizer(changes, exponent):
    recipe = Recipe(schedule={"mode": "increase_batch", "epochs": 120, "batch_size": 32}).override(changes)
    assert plan_of(recipe, 3200, 1).growth_exponent == exponent

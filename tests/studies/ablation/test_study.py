"""`keras-tricks ablate` on the command line: which runs are trained, which are read, and errors."""

import csv
import shutil

import pytest
from PIL import Image
from safetensors.numpy import load_file
from support.tiny_runs import leave_tensorflow_as_it_was, summary, tiny  # noqa: F401

from keras_tricks import cli, training
from keras_tricks.callbacks import Diverged, run_log
from keras_tricks.recipe import load_recipe
from keras_tricks.studies.ablation.study import _slug
from keras_tricks.utils.class_names import write_class_names
from keras_tricks.utils.summary import COLUMNS, write_summary

RECIPE = tiny(
    data={"train_images": 256}, augment={"mixup_alpha": 0.0, "color_jitter": "none"},
    schedule={"epochs": 1, "warmup_epochs": 0.0}, train={"deterministic": False},
)
SMOOTH = ("--remove", "label_smoothing")
TWO_ROWS = {"00_everything", "01_label_smoothing"}


def call(*arguments):
    """Runs `ablate`; returns the exit code."""
    try:
        cli.run(cli.parse(["keras-tricks", "ablate", *map(str, arguments)]))
    except SystemExit as stop:
        return stop.code
    return 0


def table(folder):
    with open(folder / "ablation.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def place(recipe):
    """("+ warmup", 3): row and seed of a run."""
    return recipe.name.removeprefix("ablation/"), recipe.seed


@pytest.fixture(autouse=True)
def recipe(tmp_path, monkeypatch):
    """The recipe as a file in an empty working directory."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    (tmp_path / "recipe.json").write_text(RECIPE.to_json())
    return tmp_path / "recipe.json"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two trained rows with two seeds. Their curves are not drawn, which would take as long as training."""
    root = tmp_path_factory.mktemp("trained")
    (root / "recipe.json").write_text(RECIPE.to_json())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_log, "draw_curves", lambda folder: None)
        assert call(root / "recipe.json", *SMOOTH, "--seeds", 2, "--output", root / "out") == 0
    return root / "out"


@pytest.fixture
def trainer(monkeypatch):
    """Replaces training: a run writes its recipe and its last row, and is recorded."""
    return Trainer(monkeypatch)


class Trainer:
    """Replaces `training.train` and `training.prepare`, and records their arguments.

    Attributes:
        runs: (row, seed) in the order of the calls.
        stop_at: number of the call that is interrupted, counted from 1.
        diverges: name of a row whose runs diverge.
        row: the last row of each `summary.csv`.
    """

    def __init__(self, monkeypatch):
        self.runs, self.stop_at, self.diverges = [], None, None
        self.row = {"train_loss": 0.5, "val_loss": 0.5, "top1": 90.5, "step": 2, "seconds": 3.0}
        monkeypatch.setattr(training, "train", self)
        monkeypatch.setattr(training, "prepare", lambda recipe: None)

    def __call__(self, recipe, output, resume, verbose):
        assert resume == "auto"
        self.runs.append(place(recipe))
        output.mkdir(parents=True, exist_ok=True)
        (output / "recipe.json").write_text(recipe.to_json())
        if len(self.runs) == self.stop_at:
            raise KeyboardInterrupt
        if place(recipe)[0] == self.diverges:
            raise Diverged("the loss is nan at step 1 of epoch 1")
        rows = [dict.fromkeys(COLUMNS, "1") | {"ema_top1": ""} | self.row | {"epoch": epoch + 1}
                for epoch in range(recipe.schedule.epochs)]
        write_summary(output, rows)
        (output / "export").mkdir(exist_ok=True)
        write_class_names(output / "export", map(str, range(10)))


# ---- a real study


def test_the_files_and_their_numbers(trained):
    assert {path.name for path in trained.iterdir()} == {"ablation.csv", "ablation.md", "ablation.png", "runs"}
    assert {path.name for path in (trained / "runs").iterdir()} == TWO_ROWS
    lines = table(trained)
    assert [(line["row"], line["against"], line["seed"]) for line in lines] == [
        ("everything", "", "3"), ("everything", "", "4"),
        ("- label_smoothing", "everything", "3"), ("- label_smoothing", "everything", "4")]
    for line in lines:
        folder = trained / "runs" / f"{'00_everything' if line['against'] == '' else '01_label_smoothing'}"
        (last,) = summary(folder / f"seed{line['seed']}")
        assert line["top1"] == last["top1"] and 0 < float(line["top1"]) < 100
        assert (line["epochs"], line["updates"]) == (last["epoch"], last["step"]) == ("1", "2")
        assert float(line["minutes"]) == pytest.approx(float(last["seconds"]) / 60, abs=0.006)
    with Image.open(trained / "ablation.png") as image:
        image.verify()


def test_the_two_seeds_and_rows_are_other_runs(trained):
    losses = {row["train_loss"] for run in (trained / "runs").glob("*/*") for row in summary(run)}
    assert len(losses) == 4


def test_the_table_is_of_the_two_seeds(trained):
    lines = (trained / "ablation.md").read_text().splitlines()
    assert len(lines) == 4 and lines[2].startswith("| everything ") and lines[3].startswith("| - label_smoothing ")
    own = [float(line["top1"]) for line in table(trained) if line["row"] == "everything"]
    mean, sd = sum(own) / 2, abs(own[0] - own[1]) / 2**0.5
    assert [cell.strip() for cell in lines[2].split("|")[2:4]] == ["2", f"{mean:.2f} ± {sd:.2f}"]


def test_the_same_command_trains_nothing(trained, recipe, tmp_path, monkeypatch, capsys):
    shutil.copytree(trained, tmp_path / "out")
    for name in ("ablation.csv", "ablation.md"):
        (tmp_path / "out" / name).unlink()
    for name in ("train", "prepare"):
        monkeypatch.setattr(training, name, lambda *args, **kwargs: pytest.fail("trained again"))
    assert call(recipe, *SMOOTH, "--seeds", 2, "--output", tmp_path / "out") == 0
    for name in ("ablation.csv", "ablation.md"):
        assert (tmp_path / "out" / name).read_bytes() == (trained / name).read_bytes()
    assert (trained / "ablation.md").read_text() in capsys.readouterr().out


def test_a_run_that_was_killed_before_its_result_is_finished(trained, recipe, tmp_path, monkeypatch):
    """After a kill between the last row of `summary.csv` and the export, or a full disk."""
    monkeypatch.setattr(run_log, "draw_curves", lambda folder: None)
    shutil.copytree(trained, tmp_path / "out")
    killed, whole = (root / "runs/00_everything/seed3" for root in (tmp_path / "out", trained))
    shutil.rmtree(killed / "export")
    shutil.rmtree(killed / "checkpoints")
    assert call(recipe, *SMOOTH, "--seeds", 2, "--output", tmp_path / "out") == 0
    assert (killed / "export/classes.json").is_file()
    assert [line["top1"] for line in table(tmp_path / "out")] == [line["top1"] for line in table(trained)]
    ours, theirs = (load_file(run / "checkpoints/best.safetensors") for run in (killed, whole))
    assert all((ours[name] == theirs[name]).all() for name in theirs)


def test_one_more_seed_trains_the_new_runs_only(trained, recipe, tmp_path, trainer):
    shutil.copytree(trained, tmp_path / "out")
    assert call(recipe, *SMOOTH, "--seeds", 3, "--output", tmp_path / "out") == 0
    assert trainer.runs == [("everything", 5), ("- label_smoothing", 5)]
    old, new = table(trained), table(tmp_path / "out")
    assert [line for line in new if line["seed"] != "5"] == old and len(new) == 6


def test_a_non_finite_loss_is_a_result_too(recipe, tmp_path, monkeypatch, capsys):
    """The row diverges in its second update. The others continue, and the row is not trained again."""
    really = training.train, training.prepare
    trainer = Trainer(monkeypatch)

    def train(recipe, *args, **kwargs):
        if "wild" not in recipe.name:
            return trainer(recipe, *args, **kwargs)
        with monkeypatch.context() as patch:
            patch.setattr(training, "prepare", really[1])
            return really[0](recipe, *args, **kwargs)

    monkeypatch.setattr(training, "train", train)
    words = [recipe, "--add", "wild: schedule.base_learning_rate=1e20", "--add", "tame: schedule.base_learning_rate=.2",
             "--seeds", 1, "--output", tmp_path / "out"]
    assert call(*words) == 0
    assert trainer.runs == [("baseline", 3), ("+ tame", 3)]
    lines = table(tmp_path / "out")
    assert [(line["top1"], line["epochs"], line["updates"]) for line in lines] == [
        ("90.5", "1", "2"), ("", "0", "0"), ("90.5", "1", "2")]
    assert "the loss is nan at step 2 of epoch 1" in (
        tmp_path / "out" / "runs" / "01_wild" / "seed3" / "diverged.txt").read_text()
    out = capsys.readouterr().out
    assert "(1 of 1 diverged)" in out and "±" not in out and "One seed gives no standard deviation" in out

    monkeypatch.setattr(training, "train", lambda *args, **kwargs: pytest.fail("trained again"))
    assert call(*words) == 0 and table(tmp_path / "out") == lines


def test_a_row_that_cannot_be_trained_is_refused_before_any_is(recipe, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(training, "train", lambda *args, **kwargs: pytest.fail("trained"))
    assert call(recipe, "--add", "distillation", "--seeds", 1, "--output", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert "keras-tricks: The teacher resnet152d needs trained weights: --set loss.teacher_weights=RUN" in error
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.slow
def test_a_run_that_was_stopped_continues_and_ends_as_if_it_had_not_been(recipe, tmp_path, monkeypatch):
    words = [recipe, *SMOOTH, "--seeds", 1, "--set", "schedule.epochs=3", "--set", "train.deterministic=true"]
    assert call(*words, "--output", tmp_path / "whole") == 0
    from keras_tricks import callbacks

    real = callbacks.RunLog.on_epoch_end

    def stop(self, epoch, logs=None):
        real(self, epoch, logs)
        if "label_smoothing" in str(self.folder) and epoch == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(callbacks.RunLog, "on_epoch_end", stop)
    assert call(*words, "--output", tmp_path / "stopped") == 130
    assert [line["row"] for line in table(tmp_path / "stopped")] == ["everything"]
    monkeypatch.setattr(callbacks.RunLog, "on_epoch_end", real)
    assert call(*words, "--output", tmp_path / "stopped") == 0
    assert "resuming" in (tmp_path / "stopped" / "runs" / "01_label_smoothing" / "seed3" / "log.txt").read_text()
    assert timeless(tmp_path / "stopped") == timeless(tmp_path / "whole")


def timeless(folder):
    return [{key: value for key, value in line.items() if key != "minutes"} for line in table(folder)]


# ---- the order of the runs, with a trainer that only records them


def test_all_rows_are_run_once_before_any_is_run_twice(recipe, trainer, tmp_path):
    assert call(recipe, "--add", "mixup", "--add", "cutmix", "--seeds", 2, "--seed", 7, "--output", tmp_path / "o") == 0
    rows = ("baseline", "+ mixup", "+ cutmix")
    assert trainer.runs == [(row, seed) for seed in (7, 8) for row in rows]
    assert {path.name for path in (tmp_path / "o" / "runs").iterdir()} == {"00_baseline", "01_mixup", "02_cutmix"}


def test_every_run_has_the_recipe_of_its_row_and_exports_nothing(recipe, trainer, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(training, "train", lambda recipe, *args, **kwargs: (seen.append(recipe),
                                                                            trainer(recipe, *args, **kwargs)))
    assert call(recipe, *SMOOTH, "--seeds", 1, "--set", "schedule.epochs=2", "--output", tmp_path / "o") == 0
    assert [recipe.loss.label_smoothing for recipe in seen] == [0.1, 0.0]
    assert [recipe.schedule.epochs for recipe in seen] == [2, 2] and seen[0].export.formats == ()
    same = seen[1].replace(name=seen[0].name, loss={"label_smoothing": 0.1})
    assert same == seen[0]


def test_an_ablation_that_was_stopped_continues_with_the_missing_runs(recipe, trainer, tmp_path, capsys):
    words = [recipe, *SMOOTH, "--seeds", 2, "--output", tmp_path / "out"]
    trainer.stop_at = 3
    assert call(*words) == 130
    assert capsys.readouterr().err.endswith("keras-tricks: interrupted\n")
    assert [line["seed"] for line in table(tmp_path / "out")] == ["3", "3"]  # the table already exists
    assert len((tmp_path / "out" / "ablation.md").read_text().splitlines()) == 4
    trainer.runs, trainer.stop_at = [], None
    assert call(*words) == 0
    assert trainer.runs == [("everything", 4), ("- label_smoothing", 4)]
    assert [line["seed"] for line in table(tmp_path / "out")] == ["3", "4", "3", "4"]


def test_the_average_of_the_weights_counts_where_there_is_one(recipe, trainer, tmp_path):
    trainer.row |= {"ema_top1": 91.25}
    assert call(recipe, *SMOOTH, "--seeds", 1, "--output", tmp_path / "out") == 0
    assert [line["top1"] for line in table(tmp_path / "out")] == ["91.25", "91.25"]


def test_one_row_that_diverges_leaves_the_other_seeds_and_rows(recipe, trainer, tmp_path):
    trainer.diverges = "+ mixup"
    words = [recipe, "--add", "mixup", "--add", "cutmix", "--seeds", 2, "--output", tmp_path / "out"]
    assert call(*words) == 0
    assert [line["top1"] for line in table(tmp_path / "out")] == ["90.5", "90.5", "", "", "90.5", "90.5"]
    assert len(trainer.runs) == 6 and call(*words) == 0 and len(trainer.runs) == 6
    assert "| + mixup  | 2 | (2 of 2 diverged) |" in (tmp_path / "out" / "ablation.md").read_text()


def test_runs_of_other_settings_are_refused(recipe, trainer, tmp_path, capsys):
    words = [recipe, *SMOOTH, "--seeds", 1, "--output", tmp_path / "out"]
    assert call(*words) == 0
    before = (tmp_path / "out" / "ablation.csv").read_bytes()
    trainer.runs = []
    assert call(*words, "--set", "schedule.base_learning_rate=0.3") == 2
    error = capsys.readouterr().err
    assert "runs/00_everything/seed3 has a run with other settings: give --output another folder" in error
    assert trainer.runs == [] and (tmp_path / "out" / "ablation.csv").read_bytes() == before


def test_another_row_in_the_same_place_is_another_run(recipe, trainer, tmp_path):
    assert call(recipe, *SMOOTH, "--seeds", 1, "--output", tmp_path / "out") == 0
    trainer.runs = []
    assert call(recipe, "--remove", "no_bias_decay", *SMOOTH, "--seeds", 1, "--output", tmp_path / "out") == 0
    assert trainer.runs == [("- no_bias_decay", 3), ("- label_smoothing", 3)]


NO_NUMBER = {"val_loss": "nan", "top1": 10.5}, {"train_loss": "nan", "val_loss": "nan", "top1": 10.5}


@pytest.mark.parametrize("row", NO_NUMBER, ids=["in the validation", "in both"])
def test_a_run_that_ends_in_nan_has_diverged(recipe, trainer, tmp_path, row):
    trainer.row |= row
    assert call(recipe, *SMOOTH, "--seeds", 1, "--output", tmp_path / "out") == 0
    assert [line["top1"] for line in table(tmp_path / "out")] == ["", ""]


def test_a_run_that_diverges_as_it_saves_its_last_epoch_has_diverged(recipe, trainer, monkeypatch, tmp_path):
    def saves(*args, **kwargs):
        trainer(*args, **kwargs)
        raise Diverged("the weights are not finite")

    monkeypatch.setattr(training, "train", saves)
    assert call(recipe, *SMOOTH, "--seeds", 1, "--output", tmp_path / "out") == 0
    assert [line["top1"] for line in table(tmp_path / "out")] == ["", ""]


def test_the_last_epoch_is_evaluated(recipe, trainer, tmp_path):
    words = ["--set", "schedule.epochs=3", "--set", "train.evaluate_every=2"]
    assert call(recipe, *SMOOTH, *words, "--seeds", 1, "--output", tmp_path / "out") == 0
    assert {load_recipe(path).train.evaluate_every for path in tmp_path.rglob("out/**/recipe.json")} == {3}



@pytest.mark.slow
def test_a_float16_row_that_loses_its_scale_has_diverged(recipe, tmp_path):
    assert call(recipe, "--add", "wild: train.precision=mixed_float16 schedule.base_learning_rate=1e20", "--seeds", 1,
                "--set", "schedule.batch_size=8", "--output", tmp_path / "out") == 0
    assert [line["top1"] == "" for line in table(tmp_path / "out")] == [False, True]


# ---- errors and dry runs


@pytest.mark.parametrize("words, message", [
    (["RECIPE", *SMOOTH, "--seeds", 0], "argument --seeds: expected an integer of 1 or more. Received: '0'"),
    (["RECIPE", *SMOOTH, "--seeds", -1], "argument --seeds: expected an integer of 1 or more. Received: '-1'"),
    (["RECIPE"], "ablate takes --add (a chain), --remove (leave one out) or --chain"),
    (["RECIPE", *SMOOTH, "--add", "mixup"], "one of them, --add and --remove as often as needed"),
    (["RECIPE", "--chain", "bag_of_tricks_table_4", "--add", "mixup"], "Chains: bag_of_tricks_table_4, "),
    (["RECIPE", "--chain", "bag_of_tricks_table_4", *SMOOTH], "one of them"),
    (["--add", "mixup"], "ablate needs a recipe, or --chain"),
    (["--remove", "mixup"], "ablate needs a recipe, or --chain"),
    (["no_such_recipe", "--add", "mixup"], "There is no recipe 'no_such_recipe'"),
    (["RECIPE", "--chain", "table_9"], "`--chain` must be one of"),
    (["--chain", "table_9"], "`--chain` must be one of"),
    (["RECIPE", "--add", "mixupp"], "Did you mean \"mixup\"?"),
    (["RECIPE", "--add", "no_bias_decay"], "changes nothing"),
    (["RECIPE", "--remove", "mixup"], "does not have it"),
    (["RECIPE", "--define", "mixup=0.4", "--add", "mixup"], "--define takes NAME: section.key=value"),
], ids=str)
def test_a_mistake_is_one_line_and_nothing_is_written(words, message, recipe, trainer, tmp_path, capsys):
    assert call(*[recipe if word == "RECIPE" else word for word in words], "--output", tmp_path / "out") == 2
    lines = capsys.readouterr().err.splitlines()
    (line,) = [line for line in lines if line.startswith(("keras-tricks: ", "keras-tricks "))]
    assert message in line and trainer.runs == [] and not (tmp_path / "out").exists()


def test_an_output_that_cannot_be_written(recipe, trainer, tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    assert call(recipe, *SMOOTH, "--output", tmp_path / "file") == 2
    assert "give --output" in capsys.readouterr().err and trainer.runs == []


@pytest.mark.parametrize("words, lines", [
    (["--add", "mixup", "--add", "cutmix -mixup"],
     ["baseline          tiny/digits, test_resnet", "+ mixup           augment.mixup_alpha=0.2",
      "+ cutmix - mixup  augment.mixup_alpha=0.0 augment.cutmix_alpha=1.0"]),
    (["--add=-label_smoothing"],
     ["baseline           tiny/digits, test_resnet", "- label_smoothing  loss.label_smoothing=0.0"]),
    ([*SMOOTH], ["everything         tiny/digits, test_resnet", "- label_smoothing  loss.label_smoothing=0.0"]),
    (["--define", "mine: schedule.epochs=7", "--add", "mine"],
     ["baseline  tiny/digits, test_resnet", "+ mine    schedule.epochs=7"]),
    (["--let", "mine: schedule.epochs=7", "--add", "mine"],
     ["baseline  tiny/digits, test_resnet", "+ mine    schedule.epochs=7"]),
    (["--define", "warmup: schedule.warmup_epochs=1", "--chain", "bag_of_tricks_table_4"],
     ["baseline         tiny/digits, test_resnet", "+ warmup         schedule.warmup_epochs=1.0",
      "+ zero_gamma     model.zero_gamma=True", "+ no_bias_decay  optimizer.no_bias_decay=True",
      "+ mixed_float16  train.precision='mixed_float16'"]),
], ids=["add", "take away", "remove", "define", "old name of define", "chain"])
def test_a_dry_run_shows_the_rows_and_writes_nothing(words, lines, recipe, trainer, tmp_path, capsys):
    before = sorted(tmp_path.rglob("*"))
    assert call(recipe, *words, "--dry-run", "--output", tmp_path / "out") == 0
    assert capsys.readouterr().out.splitlines() == lines
    assert sorted(tmp_path.rglob("*")) == before and trainer.runs == []


def test_a_chain_has_a_recipe_of_its_own(trainer, capsys):
    assert call("--chain", "resnet_rs_table_1", "--set", "schedule.batch_size=512", "--dry-run") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["ResNet-200", "resnet_rs/study_01_resnet200,", "resnet200b"] and len(lines) == 11


def test_names_of_folders():
    assert _slug(3, "+ mixup - distillation") == "03_mixup_distillation"
    assert _slug(12, "ResNet-50 (α), B/C") == "12_resnet_50_b_c"

"""The command line. Most cases call it in this process; the last few start a new one."""

import os
import pathlib
import re
import subprocess
import sys

import pytest
from PIL import Image

from keras_tricks import cli, models, training
from keras_tricks.recipe import Recipe, list_recipes

ROOT = pathlib.Path(__file__).parents[2]
TINY = ["--set", "model.name=test_resnet", "--set", "model.options.stem=cifar"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Runs go to an empty working directory, and TensorFlow's determinism ends with the test."""
    from tensorflow.python.framework import config

    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    yield work
    config.disable_op_determinism()


def call(*arguments):
    """Runs a command; returns the exit code."""
    try:
        cli.run(cli.parse(["keras-tricks", *map(str, arguments)]))
    except SystemExit as stop:
        return stop.code
    return 0


def folder(root, classes=("a", "b"), count=12, size=16):
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (size, size), (100 * label, 10 * i, 50)).save(root / name / f"{i}.png")
    return root


# ---- bad input: name -> (arguments, given a folder to make things in; words of the message)

def set_(*assignments):
    return [word for assignment in assignments for word in ("--set", assignment)]


TRAIN = ["train", "quickstart"]
CHECK = ["data", "check", "image_folder", "--data-dir"]
SHORT_SIDE = set_("data.eval_crop=short_side", "data.short_side=8")
BAD_INPUT = {
    "nothing to inspect": (lambda t: ["inspect", "mobilenet"], ["has no residual addition"]),
    "inspecting an unknown model": (lambda t: ["inspect", "nfnet_f9"], ["no model 'nfnet_f9'", "Did you mean"]),
    "inspecting no model file": (lambda t: ["inspect", t / "x.keras"], ["x.keras cannot be opened"]),
    "misspelt key": (lambda t: [*TRAIN, *set_("schedule.epoch=3")],
                     ["`schedule.epoch`", 'Did you mean "schedule.epochs"?']),
    "misspelt section": (lambda t: ["plan", "quickstart", *set_("shedule.epochs=3")],
                         ['Did you mean "schedule.epochs"?']),
    "wrong type": (lambda t: [*TRAIN, *set_("schedule.epochs=many")], ["`schedule.epochs`", "'many'"]),
    "misspelt recipe": (lambda t: ["train", "quikstart"], ["'quikstart'", 'Did you mean "quickstart"?']),
    "misspelt model": (lambda t: ["plan", "quickstart", *set_("model.name=resnet50dd")],
                       ["'resnet50dd'", 'Did you mean "resnet50d"?']),
    "misspelt source": (lambda t: ["data", "check", "digts"], ["'digts'", 'Did you mean "digits"?']),
    "no data folder given": (lambda t: [*TRAIN, *set_("data.source=image_folder")], ["--data-dir"]),
    "missing data folder": (lambda t: [*CHECK, t / "no"], [f"{os.sep}no does not exist"]),
    "empty data folder": (lambda t: [*CHECK, made(t / "empty")], ["empty is empty"]),
    "class without image": (lambda t: [*CHECK, without_image(folder(t / "d"))], ["class folder", "has no image"]),
    "one class": (lambda t: ["train", "quickstart", *set_("data.source=image_folder", "loss.label_smoothing=0.1"),
                             "--data-dir", folder(t / "d", ("a",))], ["has one class (a)", "two classes or more"]),
    "one class to plan": (lambda t: ["plan", "quickstart", *set_("data.source=image_folder"), "--data-dir",
                                     folder(t / "d", ("a",))], ["has one class (a)"]),
    "classes contradict": (lambda t: [*TRAIN, *set_("model.classes=3")], ["`model.classes` is 3", "has 10 classes"]),
    "batch larger than the data": (lambda t: [*TRAIN, *set_("schedule.batch_size=5000")], ["5000", "1198"]),
    "unwritable output": (lambda t: [*TRAIN, *TINY, "--output", a_file(t) / "run"], ["cannot be written", "--output"]),
    "output is a file": (lambda t: [*TRAIN, *TINY, "--output", a_file(t)], ["cannot be written", "--output"]),
    "train what": (lambda t: ["train"], ["train needs a recipe, or --resume and a run folder"]),
    "resume no run": (lambda t: ["train", "--resume", t / "no"], ["is not a run folder"]),
    "existing run": (lambda t: [*TRAIN, *TINY, "--output", a_run(t)], ["already has a run", "--resume"]),
    "image size 0": (lambda t: [*TRAIN, *set_("data.image_size=0")], ["`data.image_size`", "greater than 0"]),
    "image size a word": (lambda t: ["plan", "quickstart", *set_("data.image_size=big")], ["data.image_size", "'big'"]),
    "crop over short side": (lambda t: [*TRAIN, *TINY, "--dry-run", *SHORT_SIDE], ["short_side", "8", "16"]),
    "weights missing": (lambda t: [*TRAIN, *TINY, *set_("model.weights=no.safetensors")], ["no.safetensors"]),
    "evaluate without weights": (lambda t: ["evaluate", "quickstart"], ["--weights"]),
    "evaluate no run": (lambda t: ["evaluate", made(t / "norun")], ["is not a run folder"]),
    "predict no run": (lambda t: ["predict", t / "no", t / "x.png"], ["is not a run folder"]),
    "no batches to measure": (lambda t: ["benchmark", "--data", "quickstart", "--batches", 0], ["--batches", "0"]),
    "data service without port": (lambda t: [*TRAIN, "--data-service", "host"], ["`data.service`", "grpc://host:5050"]),
    "a port that is none": (lambda t: ["data", "serve", "--port", 70000], ["'70000'", "--port"]),
    "set without value": (lambda t: [*TRAIN, *set_("schedule.epochs")], ["section.key=value"]),
    "unprepared tfds": (lambda t: ["data", "check", "tfds:imagenet2012", "--data-dir", t], ["ILSVRC2012_img_train"]),
}


def made(path):
    path.mkdir(parents=True)
    return path


def without_image(root):
    (made(root / "c") / "notes.txt").write_text("x")
    return root


def a_file(root):
    (root / "file").write_text("x")
    return root / "file"


def a_run(root):
    made(root / "run")
    (root / "run" / "recipe.json").write_text(Recipe().to_json())
    return root / "run"


def files(root):
    return sorted(str(p) for p in root.rglob("*"))


@pytest.mark.parametrize("case", BAD_INPUT.values(), ids=BAD_INPUT)
def test_bad_input_is_one_line_and_exit_code_2(case, tmp_path, elsewhere, capfd):
    make, words = case
    arguments = make(tmp_path)
    before = files(tmp_path)
    assert call(*arguments) == 2
    lines = capfd.readouterr().err.splitlines()
    ours = [line for line in lines if re.match(r"keras-tricks( \w+)*: ", line)]
    assert len(ours) == 1 and not any("Traceback" in line for line in lines), lines
    assert all(word in ours[0] for word in words), ours[0]
    assert files(tmp_path) == before  # nothing was written


@pytest.mark.parametrize("arguments", [[], ["trian"], ["plan"], ["train", "quickstart", "--precision", "float8"],
                                       ["benchmark", "quickstart"],
                                       ["train", "quickstart", "--outptu", "x"], ["list", "modles"]])
def test_a_misused_command_exits_with_2_and_one_line(arguments, capsys):
    assert call(*arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(r"keras-tricks( \w+)*: (argument|unknown|the following)", line)


# ---- output


def test_list_models(capsys):
    assert call("list", "models", "resnet50*") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == models.list_models("resnet50*")
    row = next(line.split() for line in lines if line.startswith("resnet50d "))
    assert row == ["resnet50d", "arXiv:1812.01187", "224", "77.16"]


def test_list_recipes(capsys):
    assert call("list", "recipes") == 0
    out = capsys.readouterr().out
    assert [line.split()[0] for line in out.splitlines()[1:]] == list_recipes()
    assert call("list", "recipes", "quick*") == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == ["quickstart"]


def test_list_shows_both(capsys):
    assert call("list") == 0
    out = capsys.readouterr().out
    assert "resnet50d" in out and "quickstart" in out


def test_plan_in_numbers(capsys):
    shorter = set_("schedule.batch_size=128", "schedule.epochs=10", "schedule.warmup_epochs=1")
    assert call("plan", "quickstart", *shorter, *TINY) == 0
    out = capsys.readouterr().out
    assert "digits: 1,198 training, 599 validation images, 10 classes" in out
    # 1198 // 128 = 9 steps; peak 0.4 * 128 / 256 = 0.2; the first update of 9 warmup updates has 0.2 / 9.
    assert re.search(r"steps +90 updates in 10 epochs", out)
    assert re.search(r"epochs 0 to 1: learning rate 0\.0222222 -> 0\.2 \(warmup\)", out)
    assert re.search(r"epochs 1 to 10: learning rate 0\.2 -> [\d.e-]+ \(cosine\)", out)
    parameters = models.create_model("test_resnet", stem="cifar", classes=10, input_shape=(16, 16, 3)).count_params()
    number = int(re.search(r"([\d,]+) parameters", out)[1].replace(",", ""))
    assert 0.9 * parameters < number <= parameters  # without the statistics of batch norm
    assert "label smoothing 0.1" in out and "momentum 0.9" in out and "GiB" in out


def test_options_of_the_command_line_reach_the_recipe(monkeypatch):
    options = ["--data-dir", "/d", "--precision", "mixed_float16", "--seed", "7", "--data-service", "host:1234"]
    given = []
    monkeypatch.setattr(training, "train", lambda recipe, *_, **__: given.append(recipe))
    assert call(*TRAIN, *options, *set_("schedule.epochs=3", "optimizer.momentum=0.5")) == 0
    (recipe,) = given
    assert (recipe.data.data_dir, recipe.train.precision, recipe.seed) == ("/d", "mixed_float16", 7)
    assert recipe.data.service == "grpc://host:1234"
    assert (recipe.schedule.epochs, recipe.optimizer.momentum) == (3, 0.5)


def test_data_check_of_a_folder(tmp_path, capsys):
    root = folder(tmp_path / "images", ("cat", "dog"), count=10)
    (root / "cat" / "3.png").write_bytes(b"broken")
    assert call("data", "check", "image_folder", "--data-dir", root) == 0
    out = capsys.readouterr().out
    assert "2 classes (cat, dog)" in out and "18 images" in out and "2 images" in out and "cat/3.png: " in out


def test_benchmark_of_the_input_pipeline(tmp_path, capsys):
    root = folder(tmp_path / "images", count=20)
    settings = set_("data.source=image_folder", f"data.data_dir={root}", "data.image_size=8", "data.short_side=8",
                    "augment.crop=random_resized", "augment.rand_augment_layers=1", "augment.mixup_alpha=0.2",
                    "schedule.batch_size=8")
    assert call("benchmark", "--data", "quickstart", "--batches", 1, *settings) == 0
    out = capsys.readouterr().out
    rows = re.findall(r"^(\S.*?) +([\d,]+) +(\d+) %$", out, re.MULTILINE)
    assert [name for name, *_ in rows] == ["read", "decode whole images", "decode, crop", "+ RandAugment", "+ mixing"]
    assert rows[1][2] == "100"
    assert re.search(r"The whole pipeline makes [\d,]+ images/s. The largest cost is ", out)


def test_doctor(capsys):
    assert call("doctor") == 0
    out = capsys.readouterr().out
    assert re.search(r"CPU:0 .*matrix product ok, \d+ GFLOP/s", out)
    for line in (r"keras +3\.\d+", r"tensorflow +2\.\d+", r"backend +tensorflow"):
        assert re.search(line, out)


def test_a_dry_run_writes_nothing(elsewhere, capsys):
    assert call("train", "quickstart", "--dry-run", *TINY, "--set", "data.image_size=8") == 0
    assert "nothing was written" in capsys.readouterr().out and files(elsewhere) == []


# ---- real processes


def program(*arguments, cwd, **environment):
    paths = os.pathsep.join(p for p in (str(ROOT), os.environ.get("PYTHONPATH")) if p)
    environment = {**os.environ, "PYTHONPATH": paths, **environment}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    command = [sys.executable, "-m", "keras_tricks", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


def test_the_program_ends_a_mistake_with_one_line_on_stderr(elsewhere):
    done = program("train", "quickstart", "--set", "schedule.epoch=3", cwd=elsewhere)
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("keras-tricks: Recipe key `schedule.epoch` is unknown.")
    assert files(elsewhere) == []


@pytest.mark.slow
def test_train_evaluate_and_predict(elsewhere):
    settings = [*TINY, "--set", "schedule.epochs=1", "--set", "data.image_size=8", "--output", "run"]
    done = program("train", "quickstart", *settings, cwd=elsewhere)
    assert done.returncode == 0, done.stderr
    assert "top-1" in done.stderr + done.stdout and "Traceback" not in done.stderr
    measured = program("evaluate", "run", cwd=elsewhere)
    assert measured.returncode == 0 and re.search(r"top1 +\d+\.\d+ %", measured.stdout), measured.stderr
    Image.new("RGB", (8, 8), (255, 255, 255)).save(elsewhere / "white.png")
    answer = program("predict", "run", "white.png", "--top", "2", cwd=elsewhere)
    lines = answer.stdout.splitlines()
    assert answer.returncode == 0 and lines[0] == "white.png" and len(lines) == 3
    assert all(re.fullmatch(r" +\d+\.\d\d %  \d", line) for line in lines[1:])


def test_inspect(capsys, elsewhere):
    assert call("inspect", "nf_resnet_cifar", "resnet20", "--batch-size", 1, "--plot", "signal.png") == 0
    text = capsys.readouterr().out
    assert "nf_resnet_cifar: 9 residual additions, no normalization layer" in text and "9 branches are zero" in text
    assert "resnet20: 9 residual additions, 21 normalization layers" in text
    assert (elsewhere / "signal.png").read_bytes().startswith(b"\x89PNG")

"""Runs every code block of the README and of docs/.

The blocks of a page run in order, Python in one namespace, in a folder with the files that the texts use: `DIR` (a
folder of images), `cifar10`, `photo.jpg`, a finished `runs/quickstart`, weights of timm in a cache of the Hub. Recipes
are made small (`stand_in.small`) and `fit` does one epoch; nothing else differs. The commands on the pages of
docs/results record long runs: their recipes, flags and scripts must exist.
"""

import os
import pathlib
import re
import shlex
import stat
import subprocess
import sys
import tarfile

import keras
import numpy as np
import pytest
from PIL import Image
from support import servers
from support.hub_cache import in_timms_names, put
from support.stand_in import install, small

import keras_tricks as kt
from keras_tricks import cli
from keras_tricks.cli import arguments

pytestmark = pytest.mark.docs
ROOT = pathlib.Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs" / "guides").glob("*.md"))]
RECORDS = sorted((ROOT / "docs" / "results").rglob("*.md"))
LANGUAGES = {"python", "bash", "text"}  # text: output, diagrams
BY_CI = "pip install"  # `.ci/run` takes the README's two commands from it and runs them in an empty environment
SMALLER = {  # {words of a command: flags that make it small}; of two equal flags the last one counts
    "scale --measure": "--widths 0.25 1 --depths 26 50 --resolutions 128 224 --up-to 0.3G --steps 1 --batch-size 2",
    "scale --train": "--widths 0.125 --depths 26 --resolutions 32",
    "benchmark": "--batches 1",
    "ablate": "--seeds 1",
}
ALONE = "mirrored"  # needs a new process, because the CPU cannot be divided once TensorFlow runs


def blocks(page):
    """[(language, text)] of a page. Lines indented by four spaces are commands."""
    found, lines, inside, language = [], [], None, None
    for line in page.read_text().splitlines():
        fence = re.match(r"```(\w*)$", line)
        if fence and inside:
            found.append((language, "\n".join(lines)))
            lines, inside = [], None
        elif fence:
            inside, language = "fence", fence[1] or "text"
        elif inside == "fence":
            lines.append(line)
        elif line.startswith("    ") and (inside or not line.strip().startswith(("-", "*"))):  # no nested list
            inside = "indent"
            lines.append(line[4:])
        elif inside == "indent":
            found.append(("bash", "\n".join(lines)))
            lines, inside = [], None
    return found + ([(language if inside == "fence" else "bash", "\n".join(lines))] if lines else [])


def commands_of(text):
    """The logical lines of a shell block, split into words."""
    return [words for line in text.replace("\\\n", " ").splitlines() if (words := shlex.split(line, comments=True))]


# ---- files that the texts use


def images(root, classes, count, size=64):
    rng = np.random.default_rng(0)
    for name in classes:
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(rng.integers(0, 256, (size, size, 3), "uint8")).save(root / name / f"{i}.jpg")


@pytest.fixture(scope="module")
def things(tmp_path_factory):
    root = tmp_path_factory.mktemp("things")
    for split in ("train", "val"):
        images(root / "DIR" / split, ("cat", "dog"), 12)
    rows = [f"DIR/{path.relative_to(root / 'DIR')},{path.parent.name},{path.parts[-3]}"
            for path in sorted((root / "DIR").rglob("*.jpg"))]
    (root / "photos.csv").write_text("\n".join(["path,label,split", *rows]) + "\n")
    (root / "SHARDS").mkdir()
    for split in ("train", "val"):
        with tarfile.open(root / "SHARDS" / f"{split}-000000.tar", "w") as shard:
            for number, path in enumerate(sorted((root / "DIR" / split).rglob("*.jpg"))):
                (root / "label").write_text(path.parent.name)
                shard.add(path, f"{number:05}.jpg")
                shard.add(root / "label", f"{number:05}.cls")
    for split in ("train", "test"):
        images(root / "cifar10" / split, [f"class{i}" for i in range(10)], 4, size=32)
    Image.open(root / "DIR" / "val" / "cat" / "0.jpg").save(root / "photo.jpg")
    Image.fromarray(np.zeros((8, 8, 3), "uint8")).save(root / "photo.png")
    model = kt.models.ResNet50D()
    published = {"input_size": [3, 224, 224], "crop_pct": 0.875, "interpolation": "bicubic", "license": "apache-2.0"}
    config = {"architecture": "resnet50d", "num_classes": 1000, "pretrained_cfg": published}
    tensors = in_timms_names(model)
    put(root / "hub", "timm/resnet50d.ra2_in1k", tensors, config, "REVISION")
    put(root / "hub", "timm/resnet50d.a1_in1k", tensors, config)  # the best known
    put(root / "hub", "owner/name", tensors, config)
    blob = next(p for p in (root / "hub" / "models--owner--name" / "blobs").iterdir() if len(p.name) == 64)
    (root / "resnet50d.safetensors").symlink_to(blob)
    for name in ("quickstart", "a", "b", "c"):
        recipe = small(kt.load_recipe("quickstart"))
        if name in ("quickstart", "a"):
            kt.train(recipe, root / "runs" / name, verbose=0)
        else:
            (root / "runs" / name).symlink_to(root / "runs" / "a")
    return root


@pytest.fixture
def place(things, tmp_path, monkeypatch):
    """A folder with those files, small recipes, and no network."""
    from huggingface_hub import constants
    from tensorflow.python.framework import config

    for thing in things.iterdir():
        if thing.name != "runs":
            (tmp_path / thing.name).symlink_to(thing)
    (tmp_path / "runs").mkdir()
    for run in (things / "runs").iterdir():
        subprocess.run(["cp", "-rL", run, tmp_path / "runs"], check=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(things / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(arguments, "recipe_from", arguments.recipe_from)  # restored afterwards
    install()
    train = kt.train

    def train_small(recipe, *args, **options):
        recipe = small(kt.load_recipe(recipe) if isinstance(recipe, str) else recipe)
        if "data" in options:
            recipe = recipe.replace(data={"train_images": None})
        return train(recipe, *args, verbose=0, **options)

    monkeypatch.setattr(kt, "train", train_small, raising=False)
    yield tmp_path
    config.disable_op_determinism()
    keras.config.set_dtype_policy("float32")


def given(block):
    """Names that a block uses and does not define."""
    rng = np.random.default_rng(0)
    names = {"kt": kt, "keras": keras, "load_recipe": kt.load_recipe,
             "images": rng.normal(size=(8, 64, 64, 3)).astype("float32"), "labels": np.arange(8) % 2,
             "digits": rng.integers(0, 256, (4, 16, 16, 3)).astype("float32")}
    if "model.fit(x, y" in block:
        names |= {"x": rng.normal(size=(4, 224, 224, 3)).astype("float32"), "y": np.arange(4)}
    if "instead_of_decay" in block:
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, activation="softmax")])
        model.compile(kt.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
        names |= {"x": rng.normal(size=(50_000, 2)).astype("float32"), "y": rng.integers(0, 3, 50_000), "model": model}
    return names


# ---- running the blocks


def run_here(words):
    """Runs one command of the program in this process."""
    recipe = "transfer/photos" if "--weights" in words else "quickstart"
    words = [recipe if word == "RECIPE" else word for word in words]
    code = 0
    try:
        flags = [flag for needed, text in SMALLER.items() if set(needed.split()) <= set(words) for flag in text.split()]
        cli.run(cli.parse([*words, *flags]))
    except SystemExit as stop:
        code = stop.code
    assert not code, f"{shlex.join(words)} ended with {code}"


def program(folder):
    """Creates a `keras-tricks` for the shell; returns the environment that finds it."""
    stub = folder / "bin" / "keras-tricks"
    stub.parent.mkdir(exist_ok=True)
    stub.write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT / "tests" / "support" / "stand_in.py"} "$@"\n')
    stub.chmod(stub.stat().st_mode | stat.S_IXUSR)
    return os.environ | {"PATH": f"{stub.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


def serve(words, folder, running):
    """Starts `keras-tricks data serve` as a process of its own; the first one's address stands for A."""
    words = [f"grpc://{running[0][1]}" if word == "grpc://A:5050" else word for word in words]
    port = [] if "--dispatcher" in words else ["--port", "0"]
    running.append(servers.start([*words, *port, "--host", "localhost"], program(folder)))


def run_python(text, namespace):
    """Runs a block of Python; `fit` does one epoch."""
    fit = keras.Model.fit

    def one_epoch(model, *args, epochs=1, **kwargs):
        return fit(model, *args, epochs=kwargs.get("initial_epoch", 0) + 1, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.Model, "fit", one_epoch)
        namespace |= given(text)
        if "model.fit(x, y" in text:  # four images: four batches in an update
            text = text.replace("batch_size=256", "batch_size=1").replace("batch_size=1024", "batch_size=4")
        exec(compile(text, "block", "exec"), namespace)


def run_shell(text, folder):
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", text], env=program(folder), capture_output=True, text=True,
                          timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]


def run(language, text, namespace, folder, running):
    assert language in LANGUAGES
    if language == "python":
        run_python(text, namespace)
    elif language == "bash" and text.startswith(BY_CI):
        assert "## Two commands" in (ROOT / ".ci" / "run").read_text()
    elif language == "bash" and all(line[0] == "keras-tricks" for line in commands_of(text)):
        for words in commands_of(text):
            if words[1:3] == ["data", "serve"]:
                serve(words, folder, running)
            elif ALONE in words:
                run_shell(shlex.join(words), folder)
            else:
                run_here([f"grpc://{running[0][1]}" if word == "grpc://A:5050" else word for word in words])
    elif language == "bash":
        run_shell(text, folder)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
@pytest.mark.filterwarnings("ignore")
def test_blocks_run(page, place):
    namespace, running = {}, []
    try:
        for language, text in blocks(page):
            run(language, text, namespace, place, running)
    finally:
        servers.stop(process for process, _ in running)


@pytest.mark.parametrize("page", RECORDS, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_records_name_what_exists(page):
    for language, text in blocks(page):
        assert language in ("bash", "text")
        for words in commands_of(text) if language == "bash" else ():
            words = [word for word in words if word not in ("done", "do", "for")]
            if "keras-tricks" in words:
                known = cli.parse([re.sub(r"\$\{?\w+\}?", "1", w) for w in words[words.index("keras-tricks"):]])
                recipe = getattr(known, "recipe", None)
                if recipe and "1" not in recipe:
                    kt.load_recipe(recipe)
            elif words[:1] == ["python"]:
                source = (ROOT / words[1]).read_text()
                assert all(word[2:] in source for word in words if word.startswith("--")), words


def test_blocks_are_found():
    """Shows that the tests above do not pass for lack of blocks."""
    found = {page.relative_to(ROOT).as_posix(): blocks(page) for page in PAGES}
    assert len(found["README.md"]) == 6 and len(found["docs/guides/serving.md"]) == 4
    text = [text for blocks in found.values() for language, text in blocks if language == "bash"]
    assert sum(len(commands_of(t)) for t in text) > 40

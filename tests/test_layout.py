"""The structure of the package: direction of imports, private names, size of files, cards of tricks."""

import ast
import functools
import pathlib
import re
import subprocess

import pytest

from keras_tricks.recipe import Recipe
from keras_tricks.utils import cards

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = ROOT / "keras_tricks"
FILES = sorted(PACKAGE.rglob("*.py"))

# The library, in data-flow order, then the program. A part imports only the listed parts, `utils` and itself.
MAY_IMPORT = {
    "utils": set(),
    "data": set(),
    "models": {"layers", "initializers", "ops", "weights", "analysis"},
    "layers": {"ops", "initializers"},
    "initializers": set(),
    "ops": set(),
    "losses": set(),
    "optimizers": {"ops"},
    "schedules": set(),
    "callbacks": {"schedules", "weights", "optimizers", "losses", "data", "distribution"},
    "distribution": set(),
    "export": {"layers", "weights"},
    "weights": set(),
    "surgery": {"layers"},
    "analysis": {"layers"},
    "recipe": set(),
    "run": {"recipe", "distribution", "callbacks", "analysis", "data", "models", "losses", "optimizers", "schedules",
            "weights", "export"},
    "training": {"recipe", "run", "distribution", "data", "models", "losses", "optimizers", "schedules", "callbacks",
                 "surgery", "export", "weights"},
    "evaluation": {"training", "run", "recipe", "data", "models", "weights", "export", "analysis"},
    "report": {"evaluation", "training", "run", "recipe", "data", "weights", "analysis"},
    "studies": {"training", "run", "recipe", "callbacks", "models", "analysis", "weights", "distribution"},
    "cli": {"studies", "report", "training", "evaluation", "run", "recipe", "distribution", "data", "models", "losses",
            "optimizers", "schedules", "export", "weights", "analysis"},
    "__main__": {"cli"},
}
EXCEPTIONS = {("data", "schedules")}  # `data/throughput.py` makes a plan of its batches
TENSORFLOW_AT_TOP = {"data", "distribution", "export"}
WITHOUT_TENSORFLOW = {"training", "evaluation", "run", "callbacks", "cli", "studies", "report"}
MAY_ASK_FOR_BACKEND = ("distribution/", "export/", "layers/", "optimizers/wrapper.py", "utils/backend.py",
                       "run/environment.py", "run/peers.py", "run/provenance.py", "run/start.py")  # run/ reports it
LONGEST_FILE, LONGEST_FUNCTION = 300, 60  # lines
# Longer files, and the reason.
LONG_FILES = {
    "recipe.py": "every key of a recipe, in one table",
    "training.py": "the data flow, in one page-turn",
}
KERAS_PRIVATE_ALLOWED = ("optimizers/wrapper.py", "distribution/")
LARGEST_TRACKED = 300_000  # bytes, outside docs/
REFUSED = (".whl", ".tar", ".gz", ".zip", ".h5", ".keras", ".safetensors", ".so", ".onnx", ".tflite", ".npz", ".pt")


def relative(path):
    return path.relative_to(PACKAGE).as_posix()


def part(path):
    """`layers/drop_path.py` -> layers, `recipe.py` -> recipe."""
    return relative(path).split("/")[0].removesuffix(".py")


def imports(tree):
    """(module, at module level) for every import; `from a import b` gives a.b, which may be a name inside a."""
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            yield from ((f"{node.module}.{alias.name}", id(node) in top) for alias in node.names)


@functools.cache
def parse(path):
    return ast.parse(path.read_text())


def test_the_top_level_is_the_two_halves():
    loose = {path.name for path in PACKAGE.glob("*.py")}
    assert loose == {"__init__.py", "__main__.py", "recipe.py", "training.py", "evaluation.py"}
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert folders == {name for name in MAY_IMPORT if (PACKAGE / name).is_dir()}


def test_imports_point_one_way():
    wrong = []
    for path in FILES:
        own = part(path)
        if own == "__init__":
            continue
        found = {name.split(".")[1] for name, _ in imports(parse(path)) if name.startswith("keras_tricks.")}
        allowed = MAY_IMPORT[own] | {"utils", own} | {other for source, other in EXCEPTIONS if source == own}
        wrong += [f"{relative(path)} imports {name}" for name in sorted(found - allowed)
                  if name in MAY_IMPORT]
    assert wrong == []


def test_the_order_has_no_circle():
    def below(name, above=()):
        assert name not in above, f"circle: {' -> '.join((*above, name))}"
        for other in MAY_IMPORT[name]:
            below(other, (*above, name))

    for name in MAY_IMPORT:
        below(name)


def test_sources_and_augmentations_do_not_import_the_pipeline():
    """Inside `data`: pipeline -> sources -> augment."""
    allowed = {"augment": {"augment"}, "sources": {"augment", "sources"}}
    for folder, below in allowed.items():
        for path in (PACKAGE / "data" / folder).glob("*.py"):
            found = {name.split(".")[2] for name, _ in imports(parse(path)) if name.startswith("keras_tricks.data.")}
            assert found <= below, relative(path)


def test_the_library_does_not_import_the_program():
    program = {"recipe", "run", "training", "evaluation", "report", "studies", "cli"}
    assert all(not MAY_IMPORT[name] & program for name in MAY_IMPORT if name not in program | {"__main__"})


# ---- private names


def private_names(tree):
    """{name: line} of the private names that a file uses on objects of other files.

    Only `self._x = ...`, functions, classes and module constants define a name. A store on another object, a name under
    `__internal__`, and a string given to `getattr` or `setattr` are uses.
    """
    defined, used = set(), {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            defined.add(node.name)
        elif isinstance(node, ast.Attribute) and re.match(r"_[a-z]|__internal__", node.attr):
            on_self = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
            if on_self and isinstance(node.ctx, ast.Store):
                defined.add(node.attr)
            else:
                used.setdefault((node.attr, on_self), node.lineno)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("getattr", "setattr"):
            for argument in node.args[1:2]:
                if isinstance(argument, ast.Constant) and re.match(r"_[a-z]", str(argument.value)):
                    used.setdefault((argument.value, False), node.lineno)
    return defined, used


def foreign_names(tree):
    """Private names of other files: on `self`, those not defined in the file; elsewhere, all but its functions."""
    defined, used = private_names(tree)
    functions = {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    return {name: line for (name, on_self), line in used.items() if name not in (defined if on_self else functions)}


def test_private_keras_names_stay_in_two_places():
    found = []
    for path in FILES:
        tree = parse(path)
        if relative(path).startswith(KERAS_PRIVATE_ALLOWED):
            continue
        found += [f"{relative(path)}: {name}" for name, _ in imports(tree) if name.startswith("keras.src")]
        found += [f"{relative(path)}:{line}: {name}" for name, line in foreign_names(tree).items()]
    assert found == []


@pytest.mark.parametrize("text, name", [
    ("opt._all_reduce_sum_gradients = f", "_all_reduce_sum_gradients"),
    ("tf.__internal__.x", "__internal__"),
    ("x._m = 1\ny._m", "_m"),
    ("getattr(model, '_layers')", "_layers"),
    ("self._trackable", "_trackable"),
])
def test_the_private_names_are_found(text, name):
    assert name in foreign_names(ast.parse(text))


def test_the_private_names_of_the_wrapper_are_found():
    """Shows that the test above does not pass for lack of private names."""
    assert "_get_variable_index" in foreign_names(parse(PACKAGE / "optimizers" / "wrapper.py"))


def test_tensorflow_is_imported_late():
    early = [relative(path) for path in FILES if part(path) not in TENSORFLOW_AT_TOP
             for name, top in imports(parse(path)) if top and name.split(".")[0].startswith("tensorflow")]
    assert early == []


def test_the_program_asks_distribution_and_data_for_tensorflow():
    """The program and the callbacks work on every backend."""
    found = [relative(path) for path in FILES if part(path) in WITHOUT_TENSORFLOW
             for name, _ in imports(parse(path)) if name.split(".")[0] in ("tensorflow", "jax", "torch")]
    assert found == []


def test_only_some_files_ask_for_the_backend():
    found = {relative(path) for path in FILES if "backend.backend()" in path.read_text()}
    assert {name for name in found if not name.startswith(MAY_ASK_FOR_BACKEND)} == set()


# ---- size


def test_files_are_short():
    long = {relative(path) for path in FILES if len(path.read_text().splitlines()) > LONGEST_FILE}
    assert long <= set(LONG_FILES), "split it, or say why in LONG_FILES"


def test_functions_are_short():
    def lines(node):
        """Number of lines of code; a docstring does not count."""
        first = node.body[1 if ast.get_docstring(node) and len(node.body) > 1 else 0]
        return node.end_lineno - first.lineno + 1

    long = [f"{relative(path)}: {node.name}, {lines(node)} lines" for path in FILES for node in ast.walk(parse(path))
            if isinstance(node, ast.FunctionDef) and lines(node) >= LONGEST_FUNCTION]
    assert long == []


def tracked():
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_binaries_are_tracked():
    found = [str(path) for path in tracked() if path.suffix in REFUSED
             or (path.stat().st_size > LARGEST_TRACKED and ROOT / "docs" not in path.parents
                 and b"\0" in path.read_bytes()[:8192])]
    assert found == []


# ---- cards

DEFAULTS = {"random_resized_crop", "resnet_d", "step_decay"}  # tricks that the default recipe already has
HELPERS = {"layers/chain.py", "layers/convolution.py", "optimizers/combinations.py", "optimizers/describe.py",
           "optimizers/wrapper.py"}  # no tricks
TRICKS = [f for f in FILES if part(f) in ("layers", "losses", "schedules", "optimizers", "initializers")
          and f.name != "__init__.py" and relative(f) not in HELPERS]
NO_FAMILY = {"__init__.py", "applications.py", "feature_pyramid.py", "heads.py", "hub_backbones.py",
             "normalization.py", "normalizer_free.py", "own.py", "registry.py"}
FAMILIES = [f for f in FILES if part(f) == "models" and f.name not in NO_FAMILY]
CARDS = [*TRICKS, *FAMILIES, *(PACKAGE / "callbacks" / f"{name}.py"
                               for name in ("batch_size_scheduler", "warmup_linear_scaling", "weight_ema"))]


@pytest.mark.parametrize("path", CARDS, ids=relative)
def test_every_trick_has_a_card(path):
    card = ast.get_docstring(parse(path)) or ""
    found = cards.parse(card, relative(path)).fields
    assert list(found) == [h for h in cards.HEADINGS if h != "Recipe" or path not in FAMILIES]


def test_every_trick_is_handed_on_by_its_folder():
    """A trick that `__init__` does not import would be listed by its card and not be tested."""
    missing = []
    for path in TRICKS:
        public = {node.name for node in parse(path).body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
        handed_on = {name.rsplit(".", 1)[1] for name, _ in imports(parse(path.parent / "__init__.py"))}
        if not public & handed_on:
            missing.append(relative(path))
    assert missing == []


def test_cards_cite_files_that_exist():
    cited = [(card.path, name) for card in cards.cards() for text in (*card.fields.values(), card.rest)
             for name in re.findall(r"`?((?:benchmarks|docs|tests|examples|recipes)/[\w./]+)`?", text)]
    assert [(path, name) for path, name in cited if not (ROOT / name.rstrip(".")).exists()] == []


def test_every_switch_of_a_card_is_of_the_recipe_and_changes_it():
    names = [name for card in cards.cards() for name in card.switches]
    assert len(names) == len(set(names)) > 20
    for name, changes in cards.tricks().items():
        assert Recipe().override(changes) != Recipe() or name in DEFAULTS


def test_every_file_has_a_docstring():
    assert [relative(path) for path in FILES if not ast.get_docstring(parse(path))] == []

"""The shape of the package: imports point one way, Keras' private parts stay in two places, tricks have cards."""

import ast
import pathlib
import re

import pytest

from keras_tricks import cards
from keras_tricks.recipe import Recipe

PACKAGE = pathlib.Path(__file__).parents[1] / "keras_tricks"
FILES = sorted(PACKAGE.rglob("*.py"))
ANYONE = {"errors", "files", "graph", "imagenet", "patience", "quiet"}  # small files that build on nothing, open to all
MAY_IMPORT = {  # part: the parts it may import. What is not listed imports nothing of the package.
    "cli": {"commands"},
    "commands": {"training", "evaluation", "planning", "comparison", "benchmark", "doctor", "recipe", "data", "models",
            "analysis", "scaling_study", "ablation", "cards", "exporting", "run_folder", "failures"},
    "evaluation": {"training", "recipe", "data", "models", "weights", "export", "run_folder"},
    "planning": {"training", "schedules", "analysis", "optimizers"},
    "comparison": {"callbacks", "recipe"},
    "benchmark": {"schedules", "data"},
    "exporting": {"evaluation", "export", "publishing", "training", "callbacks", "recipe", "weights", "data"},
    "publishing": {"weights"},
    "scaling_study": {"training", "models", "analysis", "callbacks", "run_folder"},
    "ablation": {"training", "callbacks", "recipe", "run_folder", "failures", "cards"},
    "doctor": {"run_folder"},
    "run_folder": {"callbacks", "recipe"},
    "training": {"recipe", "distribution", "data", "models", "losses", "optimizers", "schedules", "callbacks",
                 "export", "surgery", "run_folder", "failures"},
    "failures": {"analysis", "callbacks", "benchmark", "data"},
    "models": {"layers", "initializers", "ops", "weights", "analysis"},
    "layers": {"ops", "initializers"},
    "optimizers": {"ops"},
    "callbacks": {"schedules", "weights"},
    "analysis": {"layers"},
    "export": {"layers"},
    "surgery": {"layers"},
    "__main__": {"cli"},
}
DEFAULTS = {"random_resized_crop", "resnet_d", "step_decay"}  # what a recipe has that says nothing
HELPERS = {"layers/chain.py", "layers/convolution.py", "optimizers/wrapper.py"}  # no trick of their own, so no card


def relative(path):
    return path.relative_to(PACKAGE).as_posix()


def part(path):
    """`layers/drop_path.py` -> layers, `cli.py` -> cli."""
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


def parse(path):
    return ast.parse(path.read_text())


@pytest.mark.parametrize("path", [f for f in FILES if f != PACKAGE / "__init__.py"], ids=relative)
def test_imports_point_one_way(path):
    own = part(path)
    found = {name.split(".")[1] for name, _ in imports(parse(path)) if name.startswith("keras_tricks.")}
    assert found <= MAY_IMPORT.get(own, set()) | ANYONE | {own}


def test_the_order_has_no_circle():
    def below(name, above=()):
        assert name not in above, f"circle: {' -> '.join((*above, name))}"
        for other in MAY_IMPORT.get(name, ()):
            below(other, (*above, name))

    for name in MAY_IMPORT:
        below(name)


def private_names(tree):
    """Names with one leading underscore that a file defines, and those it reaches for as attributes."""
    defined, reached = set(), {}
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            defined.add(node.name)
        elif isinstance(node, ast.Attribute):
            if isinstance(node.ctx, ast.Store):
                defined.add(node.attr)
            elif re.match(r"_[a-z]", node.attr):
                reached[node.attr] = node.lineno
    return defined, reached


KERAS_PRIVATE_ALLOWED = ("optimizers/wrapper.py", "distribution/")


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_private_keras_names_stay_in_two_places(path):
    tree = parse(path)
    private = [name for name, _ in imports(tree) if name.startswith("keras.src")]
    defined, reached = private_names(tree)
    private += [f"{name} (line {line})" for name, line in reached.items() if name not in defined]
    assert relative(path).startswith(KERAS_PRIVATE_ALLOWED) or private == []


def test_the_private_names_are_found():
    """So that the test above cannot pass because it looks at nothing."""
    _, reached = private_names(parse(PACKAGE / "optimizers" / "wrapper.py"))
    assert "_get_variable_index" in reached


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_tensorflow_is_imported_late(path):
    if part(path) not in ("data", "distribution", "export", "training"):
        assert [n for n, top in imports(parse(path)) if top and n.split(".")[0].startswith("tensorflow")] == []


TRICKS = [f for f in FILES if part(f) in ("layers", "losses", "schedules", "optimizers", "initializers")
          and f.name != "__init__.py" and relative(f) not in HELPERS]  # fmt: skip
NO_FAMILY = {"__init__.py", "applications.py", "feature_pyramid.py", "heads.py", "normalization.py",
             "normalizer_free.py", "registry.py"}  # fmt: skip
FAMILIES = [f for f in FILES if part(f) == "models" and f.name not in NO_FAMILY]
CARDS = [*TRICKS, *FAMILIES, *(PACKAGE / "callbacks" / f"{name}.py"
                               for name in ("batch_size_scheduler", "warmup_linear_scaling", "weight_ema"))]


@pytest.mark.parametrize("path", CARDS, ids=relative)
def test_every_trick_has_a_card(path):
    card = ast.get_docstring(parse(path)) or ""
    found = cards.parse(card, relative(path)).fields
    assert list(found) == [h for h in cards.HEADINGS if h != "Recipe" or path not in FAMILIES]


def test_every_switch_of_a_card_is_of_the_recipe_and_changes_it():
    names = [name for card in cards.cards() for name in card.switches]
    assert len(names) == len(set(names)) > 20
    for name, changes in cards.tricks().items():
        assert Recipe().override(changes) != Recipe() or name in DEFAULTS


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_every_file_says_what_it_is(path):
    assert ast.get_docstring(parse(path))

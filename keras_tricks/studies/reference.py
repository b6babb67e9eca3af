"""What the papers and their code set, beside what the recipes set: `recipes/reference/*.toml`.

A recipe declares a difference in `about.differs`, {key: reason}. `tests/studies/test_reference.py` compares every
recipe with its table: it rejects a difference that is not declared, and a declared one that does not exist.
"""

import dataclasses
import fnmatch
import functools
import math
import tomllib
import typing

from keras_tricks import models
from keras_tricks.recipe import list_recipes, load_recipe, recipe_folders


@dataclasses.dataclass(frozen=True)
class Reference:
    """A value in a paper or its code, and the place that was read."""

    value: typing.Any
    source: str


@dataclasses.dataclass(frozen=True)
class Difference:
    """A key of a recipe whose value is not the reference's. `reason`: what the recipe declares, `""` if nothing."""

    key: str
    value: typing.Any
    reference: Reference
    reason: str


@functools.cache
def tables():
    """{family: table}, of all files, such as `"nfnet"`."""
    paths = [path for folder in recipe_folders()[:1] for path in sorted((folder / "reference").glob("*.toml"))]
    return {path.stem: tomllib.loads(path.read_text()) for path in paths}


def references(name):
    """{key: `Reference`} of a recipe, by its name such as `"nfnet/f0"`; empty for a recipe that follows no table."""
    family, _, own = name.partition("/")
    table, found = tables().get(family, {}), {}
    if _matches(own, table.get("left_out", ())):
        return found
    for entry in table.get("values", ()):
        if _matches(own, entry["recipes"]) and not _matches(own, entry.get("except", ())):
            found |= {key: Reference(value, entry["source"]) for key, value in entry.items()
                      if key not in ("recipes", "except", "source")}
    return found


def differences(recipe, name=None):
    """The values of a recipe that are not those of its table, a list of `Difference` in the order of the table.

    Args:
        recipe: `Recipe`.
        name: the recipe whose table to use. Defaults to `None`: `recipe.name`.
    """
    found = []
    for key, reference in references(name or recipe.name).items():
        value = value_of(recipe, key)
        if not _equal(value, reference.value):
            found.append(Difference(key, value, reference, recipe.about.differs.get(key, "")))
    return found


def value_of(recipe, key):
    """The value of `"section.key"` or `"model.options.key"`, for the latter also the default of the network.

    `None` for an option that a function of the user may have.

    Raises:
        KeyError: there is no such key.
    """
    section, _, field = key.partition(".")
    option = field.removeprefix("options.")
    if option == field:
        return getattr(recipe, section).model_dump()[field]
    if option in recipe.model.options:
        return recipe.model.options[option]
    defaults = models.registry.defaults_of(recipe.model.name)  # empty for a function of the user
    return defaults[option] if defaults else None


def table_of_differences():
    """The table of docs/differences.md: one row for each difference of each family, with the recipes that have it."""
    rows = {}
    for name in list_recipes():
        for found in differences(load_recipe(name)):
            key = (name.partition("/")[0], found.key, _shown(found.value), _shown(found.reference.value), found.reason)
            rows.setdefault(key, []).append(name.partition("/")[2])
    lines = ["| family | recipes | key | recipe | reference | why |", "|---|---|---|---|---|---|"]
    for (family, key, value, reference, reason), names in rows.items():
        own = [name for name in list_recipes() if name.startswith(f"{family}/") and references(name)]
        which = "all" if len(names) == len(own) else ", ".join(names) if len(names) < 4 else f"{len(names)} recipes"
        lines.append(f"| {family} | {which} | `{key}` | {value} | {reference} | {reason} |")
    return "\n".join(lines)


def _matches(name, patterns):
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _equal(value, reference):
    if isinstance(value, (list, tuple)) and isinstance(reference, list):
        return len(value) == len(reference) and all(map(_equal, value, reference))
    if isinstance(value, bool) or isinstance(reference, bool) or isinstance(value, str) or isinstance(reference, str):
        return value == reference
    return value is not None and math.isclose(value, reference, rel_tol=1e-6)


def _shown(value):
    return ", ".join(f"{v:g}" for v in value) if isinstance(value, (list, tuple)) else str(value)

"""Writes a recipe as a Python file."""

import pprint

from keras_tricks.recipe import Recipe


def as_python(recipe, source):
    """A recipe file: the values that differ from the defaults.

    Args:
        recipe: `Recipe`.
        source: name of the file it was made of.
    """
    values, defaults = recipe.model_dump(), Recipe().model_dump()
    lines = []
    for section, value in values.items():
        if isinstance(value, dict):
            value = {key: v for key, v in value.items() if v != defaults[section][key]}
        if value and value != defaults[section]:
            text = pprint.pformat(value, width=100, sort_dicts=False).replace("\n", f"\n{' ' * (len(section) + 5)}")
            lines.append(f"    {section}={text},\n")
    return (f'"""{recipe.name}, made of timm\'s {source}."""\n\nfrom keras_tricks.recipe import Recipe\n\n'
            f"RECIPE = Recipe(\n{''.join(lines)})\n")

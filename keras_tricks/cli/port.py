"""turn timm's saved arguments into a recipe"""

import pathlib
import pprint
import sys

from keras_tricks.cli import arguments
from keras_tricks.utils.errors import UserError


def add_arguments(parser):
    parser.add_argument("arguments", metavar="file", help="args.yaml that timm's train.py wrote")
    parser.add_argument("--output", metavar="FILE", help="write the recipe to this .json or .py file (default: JSON on "
                                                         "standard output)")
    parser.add_argument("--processes", type=arguments.count(1), default=1, metavar="N",
                        help="set the number of GPUs of the training (default: 1)")


def run(args):
    from keras_tricks.run.timm_arguments import port
    from keras_tricks.utils.atomic_files import write_text

    path, output = pathlib.Path(args.arguments), args.output and pathlib.Path(args.output)
    if output and output.suffix not in (".json", ".py"):
        raise UserError(f"--output takes the name of a .json or .py file. Received: {output}")
    found = port(read_yaml(path), path.stem if path.stem != "args" else path.absolute().parent.name, args.processes)
    if output:
        is_python = output.suffix == ".py"
        write_text(output, as_python(found.recipe, path.name) if is_python else found.recipe.to_json(), "--output")
    else:
        print(found.recipe.to_json(), end="", flush=True)
    notes = sys.stdout if output else sys.stderr
    if output:
        print(f"recipe      {output}")
    for title, sentences in (("left out", found.dropped), ("assumed", found.assumed)):
        for place, sentence in enumerate(sentences):
            print(f"{'' if place else title:<12}{sentence}", file=notes)


def read_yaml(path):
    """The contents of a YAML file. Raises `UserError` if it cannot be read, or PyYAML is missing."""
    try:
        import yaml
    except ImportError:
        raise UserError("port reads YAML: pip install 'keras-tricks[port]'") from None
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise UserError(f"{path} is not YAML ({' '.join(str(error).split())[:100]}).") from None


def as_python(recipe, source):
    """A recipe file: the values that differ from the defaults.

    Args:
        recipe: `Recipe`.
        source: name of the file it was made of.
    """
    from keras_tricks.recipe import Recipe

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

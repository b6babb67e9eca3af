"""The parser of the command line: argparse, with errors of one line that name the nearest word."""

import re

from absl.flags import argparse_flags

from keras_tricks.utils.errors import nearest, nearest_key

MAY_BEGIN_WITH_A_DASH = ("--add",)  # options whose value may start with a dash: `--add -mixup`
SET_DATA = ("data", "predict")  # commands whose `--set` changes the section data only
RECIPE_WORDS = {"batch": "batch_size", "b": "batch_size", "wd": "weight_decay", "opt": "optimizer.name",
                "optimizer": "optimizer.name", "model": "model.name", "arch": "model.name", "img_size": "image_size",
                "j": "data.workers", "num_workers": "data.workers"}  # as other programs name them
LONGEST = 500  # characters of an error


class Parser(argparse_flags.ArgumentParser):
    """An `ArgumentParser` that ends with one line and exit code 2, without the usage."""

    def error(self, message):
        if found := re.search(r"invalid choice: '?(.*?)'? \(choose from (.*)\)", message):
            message += nearest(found[1], re.findall(r"[\w.-]+", found[2]))
        if "are required" in message:
            message += f". `{self.prog} --help` shows all"
        message = " ".join(message.split())
        shown = message if len(message) <= LONGEST else f"{message[: LONGEST - 3]}..."
        self.exit(2, f"{self.prog}: {shown}\n")

    def option_names(self):
        """The long options of this command."""
        return sorted(set(re.findall(r"--[a-z][\w-]+", self.format_help())))


def parse(parser, commands, arguments):
    """Parses a list of arguments. Exits if they are invalid.

    Args:
        parser: the `Parser` of all commands.
        commands: {name: `Parser` of that command}.
        arguments: list of strings, without the name of the program.
    """
    parsed, unknown = parser.parse_known_args(attach_values(arguments))
    if unknown:
        command = commands[parsed.command]
        command.error(f"unknown argument: {' '.join(unknown)}.{_hint(unknown, parsed, command.option_names())}")
    return parsed


def _hint(unknown, parsed, options):
    """What was probably meant by unknown arguments: an option, or a setting of the recipe, such as `--epochs 3`."""
    word, _, value = unknown[0].partition("=")
    value = value or next((w for w in unknown[1:2] if not w.startswith("-")), "VALUE")
    if hint := nearest(word, options, cutoff=0.75):
        return hint
    for assignment in getattr(parsed, "assignments", ()):
        if "=" not in assignment and not word.startswith("-"):
            return f' Did you mean "--set {assignment}={word}"?'
    if "--set" in options:
        from keras_tricks.recipe import recipe_keys

        keys = [k for k in recipe_keys() if k.startswith("data.") or parsed.command not in SET_DATA]
        key = word.lstrip("-").replace("-", "_")
        key = key if key in keys else nearest_key(RECIPE_WORDS.get(key, key), keys)
        if key:
            return f' Did you mean "--set {key}={value}"?'
    return nearest(word, options, cutoff=0.65)


def attach_values(arguments):
    """`["--add", "-mixup"]` -> `["--add=-mixup"]`: argparse reads a value that starts with a dash as an option."""
    attached, rest = [], list(arguments)
    while rest:
        word = rest.pop(0)
        if word in MAY_BEGIN_WITH_A_DASH and rest and re.match(r"-\w", rest[0]):
            word = f"{word}={rest.pop(0)}"
        attached.append(word)
    return attached

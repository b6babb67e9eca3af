"""The cards of the tricks: the module docstring of each file, read without importing the file.

`list tricks`, `ablate` and the documentation read the cards here, so that a new trick appears in all of them.

The line "Recipe" of a card states how a recipe enables the trick, in the grammar of `parse_row`:

    Recipe     warmup: schedule.warmup_epochs=5
"""

import ast
import dataclasses
import functools
import pathlib
import re

HEADINGS = ("Formula", "Paper", "Recipe", "Use when", "Do not", "Cost", "Differs", "Status")
PACKAGE = pathlib.Path(__file__).parents[1]
_SWITCH = re.compile(r"\w+: \S+=\S+")


@dataclasses.dataclass(frozen=True)
class Card:
    """A card.

    Attributes:
        name: name of the file without suffix, such as `"drop_path"`.
        path: path of the file in the package, such as `"layers/drop_path.py"`.
        title: the first sentence.
        fields: {heading: text}, in order; a text keeps its line breaks.
        rest: the text after the fields: tables and remarks.
        switches: {name of the trick: recipe assignments that enable it}; empty if a recipe cannot enable it.
    """

    name: str
    path: str
    title: str
    fields: dict
    rest: str
    switches: dict

    @property
    def folder(self):
        return self.path.partition("/")[0]


@functools.cache
def cards():
    """All cards of the package, sorted by path."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        text = ast.get_docstring(ast.parse(path.read_text())) or ""
        card = parse(text, path.relative_to(PACKAGE).as_posix())
        if "Formula" in card.fields:
            found.append(card)
    return tuple(found)


def tricks():
    """{name: assignments} of all tricks that a recipe can enable, in the order of the cards."""
    return {name: changes for card in cards() for name, changes in card.switches.items()}


def parse(text, path):
    """The `Card` in a docstring."""
    title, _, body = text.partition("\n")
    fields, heading, lines = {}, None, body.strip("\n").splitlines()
    end = len(lines)
    for number, line in enumerate(lines):
        match = re.match(rf"({'|'.join(HEADINGS)}) +(\S.*)", line)
        if match:
            heading = match[1]
            fields[heading] = match[2]
        elif heading and line.startswith("    ") and line.strip():
            fields[heading] += "\n" + line.strip()
        elif heading:
            end = number
            break
    switches = {}
    for part in fields.get("Recipe", "").replace("\n", " ").split(";"):
        if _SWITCH.match(part.strip()):
            name, _, changes = part.strip().partition(": ")
            switches[name] = tuple(changes.split())
    return Card(pathlib.PurePosixPath(path).stem, path, title.rstrip("."), fields,
                "\n".join(lines[end:]).strip(), switches)

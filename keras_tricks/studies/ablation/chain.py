"""The rows of an ablation: recipes that differ by a trick.

One grammar serves the cards, the chains of the papers and the command line:

    warmup                                       a trick, as its card says
    mixup -distillation                          one added, one taken away again
    longer: schedule.epochs=350                  values of a recipe, under a name
"""

import dataclasses
import logging
import re

from keras_tricks.recipe import Recipe
from keras_tricks.utils import cards
from keras_tricks.utils.errors import UserError, nearest

log = logging.getLogger("absl")


@dataclasses.dataclass(frozen=True)
class AblationRow:
    """A row of the table.

    Attributes:
        name: as the table shows it, `"+ warmup"`.
        recipe: `Recipe` of its runs.
        against: place of the row it is compared with; `None`: the first.
    """

    name: str
    recipe: Recipe
    against: int | None = None


def resolve_tricks(definitions, known=None):
    """The tricks of the package and a user's own, or other values for ours: {name: assignments}.

    Args:
        definitions: strings, `"warmup: schedule.warmup_epochs=1"`.
        known: {name: assignments}. Defaults to those of the cards.

    Raises:
        UserError: one is not of that form.
    """
    found = dict(cards.tricks() if known is None else known)
    for text in definitions:
        name, changes = _parse(text)
        if not re.fullmatch(r"\w+", name or "") or not changes or not all(map(_is_assignment, changes)):
            raise UserError('--define takes NAME: section.key=value ..., such as "warmup: schedule.warmup_epochs=1". '
                            f"Received: {text!r}")
        found[name] = tuple(changes)
    return found


def cumulative_rows(recipe, texts, tricks, first="baseline", strict=True):
    """A chain: the recipe, and for each text the recipe of the row before with one more change.

    Args:
        recipe: `Recipe` of the first row.
        texts: strings in the grammar above.
        tricks: {name: assignments}, see `resolve_tricks`.
        first: name of the first row.
        strict: bool, refuse a trick that sets what another trick of the chain has set, and a row that changes nothing,
            which is left out otherwise.

    Returns:
        A list of `AblationRow`.

    Raises:
        UserError: an unknown trick (the nearest is named), a row that changes nothing, rows in conflict.
    """
    rows, owners = [AblationRow(first, recipe)], {}
    for text in texts:
        name, changes = _parse(text)
        before = rows[-1].recipe
        after = before
        for change in sorted(changes, key=lambda c: not c.startswith("-")):  # what goes makes room for what comes
            if change.startswith("-"):
                after = without_trick(after, change[1:], tricks)
                owners = {key: owner for key, owner in owners.items() if owner != change[1:]}
            else:
                for assignment in _assignments(change, tricks):
                    key = assignment.partition("=")[0]
                    if strict and change in tricks and owners.setdefault(key, change) != change:
                        raise UserError(f"{change!r} sets {key}, which {owners[key]!r} has set before it: they cannot "
                                        f'stand in one chain, unless one goes as the other comes: "{change} '
                                        f'-{owners[key]}".')
                    after = after.override([assignment])
        if _same(after, before) and not strict:
            log.info("the row %r is left out: the recipe has it already", text)
            continue
        if _same(after, before):
            raise UserError(f"The row {text!r} changes nothing: the recipe has it already. Leave it out, or see what "
                            "it is worth with --remove.")
        shown = _shown(name, changes)
        if shown in (row.name for row in rows):
            raise UserError(f'Two rows are called {shown!r}: give one a name, such as "both: {text}".')
        rows.append(AblationRow(shown, after, len(rows) - 1))
    return rows


def leave_one_out_rows(recipe, names, tricks):
    """Leave one out: the recipe, and the recipe without each of some tricks.

    Returns:
        A list of `AblationRow`, all compared with the first.

    Raises:
        UserError: an unknown trick, or one the recipe does not have.
    """
    rows = [AblationRow("everything", recipe)]
    if len(set(names)) < len(names):
        raise UserError(f"--remove takes each trick once. Received: {', '.join(names)}")
    for name in names:
        changes = _assignments(name, tricks)
        if any(change.startswith("model.name=") for change in changes):
            raise UserError(f"--remove {name}: {', '.join(changes)} names a network, not the one without it. Compare "
                            "them with --add model.name=NAME.")
        without = without_trick(recipe, name, tricks)
        if _same(without, recipe) or not _has(recipe, changes):
            raise UserError(f"--remove {name}: the recipe {recipe.name!r} does not have it ({', '.join(changes)}).")
        rows.append(AblationRow(f"- {name}", without, 0))
    return rows


def _has(recipe, changes):
    """Whether a recipe has a trick: its words as they are, its numbers in any size."""
    with_it = _flat(recipe.override(changes))
    return all(with_it[k] == v for k, v in _flat(recipe).items() if isinstance(v, str))


def without_trick(recipe, trick, tricks):
    """A recipe without a trick: what the trick sets has the default of `Recipe` again, options of the model go."""
    for assignment in _assignments(trick, tricks):
        key = assignment.partition("=")[0]
        section, _, field = key.partition(".")
        if field.startswith("options."):
            options = {k: v for k, v in recipe.model.options.items() if k != field.removeprefix("options.")}
            recipe = recipe.replace(model={"options": options})
        else:
            recipe = recipe.replace(**{section: {field: getattr(getattr(Recipe(), section), field)}})
    return recipe


def describe(rows):
    """What each row changes, as lines of text: the name, and the keys that differ from the row it is compared with."""
    width = max(len(row.name) for row in rows)
    for row in rows:
        if row.against is None:
            yield f"{row.name:<{width}}  {row.recipe.name}, {row.recipe.model.name}"
            continue
        old, new = _flat(rows[row.against].recipe), _flat(row.recipe)
        changes = [f"{k}={new.get(k)!r}" for k in {**old, **new} if old.get(k) != new.get(k)]
        yield f"{row.name:<{width}}  {' '.join(changes)}"


def _parse(text):
    """`"longer: schedule.epochs=350"` -> ("longer", ["schedule.epochs=350"]); no name: `None`."""
    name, colon, changes = text.partition(": ")
    if not colon:
        name, changes = None, text
    return name and name.strip(), changes.split()


def _is_assignment(change):
    return re.match(r"\w+(\.\w+)*=", change) is not None


def _assignments(change, tricks):
    if _is_assignment(change):
        return (change,)
    if change not in tricks:
        raise UserError(f"There is no trick {change!r}.{nearest(change, tricks)} `keras-tricks list tricks` shows all; "
                        "section.key=value works too.")
    return tricks[change]


def _shown(name, changes):
    if name:
        return f"+ {name}"
    return " ".join(f"- {c[1:]}" if c.startswith("-") else f"+ {c}" for c in changes)


def _same(a, b):
    return _flat(a) == _flat(b)


def _flat(recipe):
    """{"section.key": value}, each option of the model by itself, without what trains nothing."""
    found = {}
    for section, values in recipe.model_dump(exclude={"about", "name", "export"}).items():
        if isinstance(values, dict):
            options = values.pop("options", {})
            found |= {f"{section}.{k}": v for k, v in values.items()}
            found |= {f"{section}.options.{k}": v for k, v in options.items()}
        else:
            found[section] = values
    return found

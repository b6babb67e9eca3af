"""The rows of an ablation: recipes that differ by a trick.

The cards, the chains of the papers and the command line share one grammar:

    warmup                                       add a trick, with the values of its card
    mixup -distillation                          add one trick and remove another
    longer: schedule.epochs=350                  change values of the recipe and name the row
"""

import dataclasses
import logging
import re

from keras_tricks.recipe import Recipe, recipe_keys
from keras_tricks.utils import cards
from keras_tricks.utils.errors import UserError, nearest, nearest_path

log = logging.getLogger("absl")


@dataclasses.dataclass(frozen=True)
class AblationRow:
    """A row of the table.

    Attributes:
        name: string shown in the table, `"+ warmup"`.
        recipe: `Recipe` of its runs.
        against: index of the row it is compared with. Defaults to `None`: none, for the first row.
    """

    name: str
    recipe: Recipe
    against: int | None = None


def resolve_tricks(definitions, known=None):
    """The tricks of the package with the user's definitions, which add or replace some: {name: assignments}.

    Args:
        definitions: strings, `"warmup: schedule.warmup_epochs=1"`.
        known: {name: assignments}. Defaults to those of the cards.

    Raises:
        UserError: a definition does not have this form.
    """
    found = dict(cards.tricks() if known is None else known)
    for text in definitions:
        name, changes = parse_row(text)
        if not re.fullmatch(r"\w+", name or "") or not changes or not all(map(_is_assignment, changes)):
            raise UserError('--define takes NAME: section.key=value ..., such as "warmup: schedule.warmup_epochs=1". '
                            f"Received: {text!r}")
        found[name] = tuple(changes)
    return found


def cumulative_rows(recipe, texts, tricks, first="baseline", strict=True):
    """A chain of rows: the recipe, and for each text the recipe of the previous row with one more change.

    Args:
        recipe: `Recipe` of the first row.
        texts: strings in the grammar above.
        tricks: {name: assignments}, see `resolve_tricks`.
        first: name of the first row.
        strict: bool, reject a trick that sets a key that another trick of the chain has set, and a row that changes
            nothing. If false, such a row is left out.

    Returns:
        A list of `AblationRow`.

    Raises:
        UserError: an unknown trick (the nearest one is suggested), a row that changes nothing, conflicting rows.
    """
    rows, owners = [AblationRow(first, recipe)], {}
    for text in texts:
        name, changes = parse_row(text)
        before = rows[-1].recipe
        after = before
        for change in sorted(changes, key=lambda c: not c.startswith("-")):  # removals first
            if change.startswith("-"):
                after = without_trick(after, change[1:], tricks)
                owners = {key: owner for key, owner in owners.items() if owner != change[1:]}
            else:
                for assignment in _assignments(change, tricks):
                    key = assignment.partition("=")[0]
                    if strict and change in tricks and owners.setdefault(key, change) != change:
                        raise UserError(f"{change!r} sets {key}, which {owners[key]!r} has already set: a chain cannot "
                                        f'have both. Replace one by the other: "{change} -{owners[key]}".')
                    after = after.override([assignment])
        if _same(after, before) and not strict:
            log.info("the row %r is left out: the recipe already has it", text)
            continue
        if _same(after, before):
            raise UserError(f"The row {text!r} changes nothing: the recipe already has it. Leave it out, or measure "
                            "its effect with --remove.")
        shown = _shown(name, changes)
        if shown in (row.name for row in rows):
            raise UserError(f'Two rows are named {shown!r}: give one another name, such as "both: {text}".')
        rows.append(AblationRow(shown, after, len(rows) - 1))
    return rows


def leave_one_out_rows(recipe, names, tricks):
    """Leave-one-out rows: the recipe, and the recipe without each of the named tricks.

    Returns:
        A list of `AblationRow`, each compared with the first.

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
        if _same(without, recipe) or not _has_trick(recipe, changes):
            raise UserError(f"--remove {name}: the recipe {recipe.name!r} does not have it ({', '.join(changes)}).")
        rows.append(AblationRow(f"- {name}", without, 0))
    return rows


def _has_trick(recipe, changes):
    """Whether a recipe has a trick: the same values for its text keys, and any values for its numbers."""
    with_it = _flat(recipe.override(changes))
    return all(with_it[k] == v for k, v in _flat(recipe).items() if isinstance(v, str))


def without_trick(recipe, trick, tricks):
    """A recipe without a trick: its keys get the defaults of `Recipe`, and its options of the model are removed."""
    before = recipe
    for assignment in _assignments(trick, tricks):
        key = assignment.partition("=")[0]
        section, _, field = key.partition(".")
        if not field.startswith("options.") and key not in recipe_keys():
            raise UserError(f"There is no recipe key {key!r}.{nearest_path(key, recipe_keys())}")
        if not field:
            recipe = recipe.replace(**{section: getattr(Recipe(), section)})
        elif field.startswith("options."):
            options = {k: v for k, v in recipe.model.options.items() if k != field.removeprefix("options.")}
            recipe = recipe.replace(model={"options": options})
        else:
            recipe = recipe.replace(**{section: {field: getattr(getattr(Recipe(), section), field)}})
    return _without_leftovers(recipe, before)


def _without_leftovers(recipe, before):
    """A recipe without values that only a removed trick needs: momentum 0 of an average, no milestones of a cosine."""
    options = recipe.model.options
    if before.optimizer.ema_decay > recipe.optimizer.ema_decay == options.get("bn_momentum"):
        recipe = recipe.replace(model={"options": {k: v for k, v in options.items() if k != "bn_momentum"}})
    if before.schedule.decay != recipe.schedule.decay == "step" and not recipe.schedule.milestones:
        recipe = recipe.replace(schedule={"milestones": Recipe().schedule.milestones})
    return recipe


def describe(rows):
    """Yields a line for each row: its name, and the keys that differ from the row it is compared with."""
    width = max(len(row.name) for row in rows)
    for row in rows:
        if row.against is None:
            yield f"{row.name:<{width}}  {row.recipe.name}, {row.recipe.model.name}"
            continue
        old, new = _flat(rows[row.against].recipe), _flat(row.recipe)
        changes = [f"{k}={new.get(k)!r}" for k in {**old, **new} if old.get(k) != new.get(k)]
        yield f"{row.name:<{width}}  {' '.join(changes)}"


def parse_row(text):
    """`"longer: schedule.epochs=350"` -> ("longer", ["schedule.epochs=350"]). Without a name: `None`."""
    named = re.match(r"([^=\[{\"]*?): (.*)", text, re.DOTALL)
    name, changes = named.groups() if named else (None, text)
    return name and name.strip(), _words(changes)


def _words(text):
    """The words of a row. A space inside brackets or quotes belongs to a word: `schedule.milestones=[30, 60]`."""
    words, word, depth, quoted = [], "", 0, False
    for character in text:
        if character.isspace() and not depth and not quoted:
            words, word = words + [word], ""
            continue
        word += character
        if character == '"':
            quoted = not quoted
        elif not quoted:
            depth += (character in "[{") - (character in "]}")
    if depth or quoted:
        raise UserError(f"A bracket or a quotation mark is not closed in {text!r}.")
    return [word for word in [*words, word] if word]


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
    """{"section.key": value}, with one key per option of the model, without keys that do not affect training."""
    found = {}
    for section, values in recipe.model_dump(exclude={"about", "name", "export"}).items():
        if isinstance(values, dict):
            options = values.pop("options", {})
            found |= {f"{section}.{k}": v for k, v in values.items()}
            found |= {f"{section}.options.{k}": v for k, v in options.items()}
        else:
            found[section] = values
    return found

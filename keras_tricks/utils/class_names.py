"""Class names: the files that store them for a run or for weights, and the mapping between two lists of names.

    <run>/classes.json           a JSON list of names, in the order of the outputs; written before the first step
    <run>/export/classes.json    the same; runs of earlier versions have only this one

Classes are compared by name: two data sets with the same number of classes can have different ones, and the order of
the outputs follows the folder names.
"""

import json
import pathlib

from keras_tricks.utils.atomic_files import check_regular, write_text
from keras_tricks.utils.errors import UserError, nearest
from keras_tricks.utils.text import unique_keys

FILE = "classes.json"
SHOWN = 5  # names in a message


def write_class_names(folder, names):
    """Writes `classes.json` to a folder."""
    write_text(pathlib.Path(folder) / FILE, json.dumps(list(names)) + "\n")


def read_class_names(path):
    """The names in a `classes.json`, a tuple of strings.

    Raises:
        UserError: the file cannot be read, or is not a list of different names.
    """
    check_regular(path)
    names = _read_json(path, path)
    is_list = isinstance(names, list) and names and all(isinstance(name, str) for name in names)
    if not is_list or len(set(names)) < len(names):
        raise UserError(f"{path} is not a JSON list of class names: restore the file, or remove it.")
    return tuple(names)


def of_run(folder):
    """The class names of a run folder, a tuple, or `None`. Raises the errors of `read_class_names`."""
    folder = pathlib.Path(folder)
    for path in (folder / FILE, folder / "export" / FILE):
        if path.exists():
            return read_class_names(path)
    return None


def of_weights(path):
    """The class names stored with a weight file of a run or of its export, a tuple; empty if there are none."""
    folder = pathlib.Path(path).parent
    if folder.name == "checkpoints":
        return of_run(folder.parent) or ()
    return read_class_names(folder / FILE) if folder.name == "export" and (folder / FILE).exists() else ()


def difference(found, known, of_found="the data", of_known="the weights"):
    """A phrase that names the classes of each list that are missing in the other."""
    parts = []
    for names, others, where in ((found, known, of_found), (known, found, of_known)):
        if odd := [name for name in names if name not in set(others)]:
            more = f" and {len(odd) - SHOWN} more" if len(odd) > SHOWN else ""
            parts.append(f"only in {where}: {', '.join(odd[:SHOWN])}{more}")
    return "; ".join(parts)


def places(found, known, mapping=None):
    """The output of the network for each class of a data set: a tuple of integers, one per entry of `found`.

    Args:
        found: names of the data set, in label order.
        known: names of the network, in the order of its outputs.
        mapping: {name of the data set: name of the network}, for names that differ. Defaults to `None`.

    Raises:
        UserError: a class of the data is not one of the network, or `mapping` names one that does not exist.
    """
    mapping = mapping or {}
    for name in mapping.values():
        if name not in known:
            raise UserError(f"--class-map: the weights have no class {name!r}.{nearest(name, known)} Their classes: "
                            f"{', '.join(known[:SHOWN])}{', ...' if len(known) > SHOWN else ''}.")
    renamed = [mapping.get(name, name) for name in found]
    if not set(renamed) <= set(known):
        odd = next(name for name in renamed if name not in known)
        raise UserError(f"The data have other classes than the weights ({difference(renamed, known)})."
                        f"{nearest(odd, known)} Map them with --class-map FILE, a JSON object such as "
                        "{\"folder name\": \"class of the weights\"}.")
    return tuple(known.index(name) for name in renamed)


def read_mapping(path):
    """{name of the data set: name of the network} from a JSON file. Raises `UserError` for any other content."""
    mapping = _read_json(path, f"--class-map {path}")
    if not isinstance(mapping, dict) or not mapping or not all(isinstance(name, str) for name in mapping.values()):
        raise UserError(f"--class-map {path} must hold a JSON object of names, each key once, such as "
                        '{"folder name": "class of the weights"}.')
    return mapping


def _read_json(path, what):
    """The value in a JSON file, `None` if it is not JSON. Raises `UserError` if the file cannot be read."""
    try:
        return json.loads(pathlib.Path(path).read_text(encoding="utf-8"), object_pairs_hook=unique_keys)
    except OSError as error:
        raise UserError(f"{what} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError):
        return None


def look_alikes(class_names):
    """Texts that name the classes which differ only in case or spaces, as `["'Cat' and 'cat'"]`."""
    groups = {}
    for name in class_names:
        groups.setdefault("".join(name.casefold().split()), []).append(name)
    return [" and ".join(map(repr, group)) for group in groups.values() if len(group) > 1]

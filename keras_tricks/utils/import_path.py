"""Loads an object by its import path, such as `"mypackage.mydata:open_source"`."""

import importlib
import importlib.util
import os
import sys
import typing

from keras_tricks.utils.errors import UserError, nearest, one_line


def is_import_path(text: str) -> bool:
    """Whether a text has the form `package.module:name`, in which both sides are dotted Python names."""
    module, colon, name = text.partition(":")
    return bool(colon) and all(part.isidentifier() for side in (module, name) for part in side.split("."))


def load_object(path: str, argument: str) -> typing.Any:
    """Imports a module and returns an object of it.

    Modules of the current folder are found after those that are installed.

    Args:
        path: `"package.module:name"`; the name may have dots, as in `"module:Class.method"`.
        argument: what the user set, such as `data.source`, for the messages.

    Raises:
        UserError: `path` has another form, the module does not exist or raises, or it has no such name.
    """
    if not is_import_path(path):
        raise UserError(f"`{argument}` must be an import path such as mypackage.mymodule:name. Received: {path!r}.")
    module_name, _, name = path.partition(":")
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())
    importlib.invalidate_caches()
    try:
        found = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise UserError(_import_fault(path, argument, module_name, error)) from error
    for part in name.split("."):
        if not hasattr(found, part):
            raise UserError(f"`{argument}` is {path!r}, and {module_name} has no {name}.{nearest(part, dir(found))}")
        found = getattr(found, part)
    return found


def _import_fault(path, argument, module_name, error):
    """The message of an import that failed."""
    parts = module_name.split(".")
    if isinstance(error, ModuleNotFoundError) and error.name in [".".join(parts[: n + 1]) for n in range(len(parts))]:
        return (f"`{argument}` is {path!r}, and there is no module {error.name}. Install it, or run from the folder "
                f"that holds it: {os.getcwd()} is searched.")
    return f"`{argument}` is {path!r}, and importing {module_name} failed: {type(error).__name__}: {one_line(error)}"

"""A plugin of pytest that runs the tests of each module in a random order: `SHUFFLE=seed pytest -p support.shuffle`."""

import itertools
import os
import random


def pytest_collection_modifyitems(items):
    """Shuffles the tests of each module; fixtures of modules are then made once, as before."""
    numbers = random.Random(os.environ["SHUFFLE"])
    modules = [list(group) for _, group in itertools.groupby(items, lambda item: item.module.__name__)]
    for group in modules:
        numbers.shuffle(group)
    numbers.shuffle(modules)
    items[:] = itertools.chain(*modules)

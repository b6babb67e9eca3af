"""Contract of everything that Keras can save: `from_config` keeps its argument, and a config shares nothing with it."""

import copy

import cases
import pytest

CASES = [
    *((cls, lambda a=arguments: a) for cls, arguments, _ in cases.LAYERS),
    *((cls, lambda a=arguments: a) for cls, arguments in (*cases.LOSSES, *cases.METRICS, *cases.INITIALIZERS,
                                                              *cases.SCHEDULES)),
    *((cls, lambda a=arguments: a(0.1)) for cls, arguments, _ in cases.OPTIMIZERS),
    *((cls, arguments) for cls, arguments, _ in cases.MODEL_CLASSES),
]


def emptied(value):
    """Empties every list and dictionary in a config, in place."""
    for inner in list(value.values() if isinstance(value, dict) else value):
        if isinstance(inner, (dict, list)):
            emptied(inner)
    value.clear()


@pytest.mark.parametrize("cls, arguments", CASES, ids=cases.names(CASES))
def test_from_config_keeps_its_argument(cls, arguments):
    config = cls(**arguments()).get_config()
    before = copy.deepcopy(config)
    cls.from_config(config)
    assert config == before


@pytest.mark.parametrize("cls, arguments", CASES, ids=cases.names(CASES))
def test_a_config_is_a_copy(cls, arguments):
    made = cls(**arguments())
    before = copy.deepcopy(made.get_config())
    emptied(made.get_config())
    assert made.get_config() == before


def plain(arguments):
    return copy.deepcopy({key: value for key, value in arguments.items() if isinstance(value, (dict, list, tuple))})


def test_arguments_are_not_changed():
    for cls, arguments in CASES:
        given = arguments()
        before = plain(given)
        cls(**given)
        assert plain(given) == before, cls

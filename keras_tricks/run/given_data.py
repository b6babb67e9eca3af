"""Data that are given to `kt.train` instead of a source by name."""

import typing


class GivenData(typing.NamedTuple):
    """The `Source` of data given to `kt.train`, and the values of the recipe's `data` section that describe it."""

    source: typing.Any
    section: dict


def given_data(data: typing.Any) -> GivenData | None:
    """The `GivenData` of the argument `data` of `kt.train`; `None` if there are none.

    A run keeps their fingerprint in `recipe.json`, so that it resumes with the same data only.

    Raises:
        UserError: they are nothing that `kt.data.as_source` takes.
    """
    if data is None:
        return None
    from keras_tricks.data.sources.as_source import as_source
    from keras_tricks.data.sources.open_source import HANDED_OVER

    source = as_source(data)
    fingerprint = f"{source.description or source.name}, sha256 {source.identity[:16]}"
    return GivenData(source, {"source": HANDED_OVER, "data_dir": None, "fingerprint": fingerprint,
                              "multi_label": source.multi_label})

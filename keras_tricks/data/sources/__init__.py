"""Sources: where examples come from. A source has classes and two splits; a split reads an example by its number."""

from keras_tricks.data.sources.as_source import as_source
from keras_tricks.data.sources.data_source import DataSource
from keras_tricks.data.sources.open_source import open_evaluation, open_source
from keras_tricks.data.sources.source import Source, Split

"""Looking at a model without training it."""

from keras_tricks.analysis.cost import Cost, LayerCost, cost

"""Torch's global random state before every step, as a function of the seed, the epoch and the step.

Keras' layers without a seed draw from it (`keras.layers.Dropout` of Keras 3.15.1 calls
`torch.nn.functional.dropout`), and no checkpoint holds it. On the other backends layers keep their state in variables.
"""

import keras
import numpy as np


class TorchSeeds(keras.callbacks.Callback):
    """Seeds torch before every step, so that a resumed run draws what an uninterrupted one draws.

    Args:
        seed: integer >= 0.
        start: `(epoch, steps)` done before `fit` starts. Defaults to `(0, 0)`.
    """

    def __init__(self, seed, start=(0, 0)):
        super().__init__()
        self.seed, self.start, self.epoch = seed, start, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        import torch

        step = batch + (self.start[1] if self.epoch == self.start[0] else 0)
        seed, = np.random.SeedSequence((self.seed, self.epoch, step)).generate_state(1, np.uint32)
        torch.manual_seed(int(seed))

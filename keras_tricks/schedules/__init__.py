"""The learning rate over time, as pure functions and as Keras schedules."""

from keras_tricks.schedules.cosine import Cosine, cosine
from keras_tricks.schedules.linear_scaling import linear_scaling
from keras_tricks.schedules.step import Step, step_decay
from keras_tricks.schedules.warmup import warmup
from keras_tricks.schedules.warmup_linear_scaling import WarmupLinearScaling, learning_rate

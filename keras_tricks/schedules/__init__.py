"""Learning rate and batch size over time, as pure functions and as Keras schedules."""

from keras_tricks.schedules.batch_size_plan import BatchSizePlan, batch_size_plan
from keras_tricks.schedules.cosine import Cosine, cosine
from keras_tricks.schedules.exponential import Exponential, exponential
from keras_tricks.schedules.linear import Linear, linear
from keras_tricks.schedules.linear_scaling import linear_scaling
from keras_tricks.schedules.noise_scale import exact_noise_scale, forgetting_epochs, noise_scale, same_noise_batch_size
from keras_tricks.schedules.step import Step, step_decay
from keras_tricks.schedules.warmup import warmup
from keras_tricks.schedules.warmup_linear_scaling import WarmupLinearScaling, learning_rate

"""Input data: sources, crops, colour, RandAugment, mixing, and one deterministic pipeline. TensorFlow only.

`service` prepares the batches on other machines.
"""

from keras_tricks.data import image_ops
from keras_tricks.data.as_source import as_source
from keras_tricks.data.data_source import DataSource
from keras_tricks.data.errors import explain_error
from keras_tricks.data.mixing import cutmix, mixup
from keras_tricks.data.pipeline import batch_indices, evaluation_batches, training_batches, training_examples
from keras_tricks.data.preprocessing import evaluation_image
from keras_tricks.data.open_source import open_evaluation, open_source
from keras_tricks.data.rand_augment import rand_augment
from keras_tricks.data.source import Source, Split
from keras_tricks.data.wait_clock import WaitClock

"""Images in: sources, crops, colour, mixing, and one deterministic pipeline. TensorFlow only (`tf.data`)."""

from keras_tricks.data.mixing import mixup
from keras_tricks.data.pipeline import WaitClock, evaluation_batches, evaluation_image, training_batches
from keras_tricks.data.open_source import open_source
from keras_tricks.data.source import Source, Split

"""Input data: sources, crops, colour, RandAugment, mixing, and one deterministic pipeline. TensorFlow only.

`service` prepares the batches on other machines.
"""

from keras_tricks.data import image_ops, pillow_affine
from keras_tricks.data.alternating_flip import is_mirrored
from keras_tricks.data.as_source import as_source
from keras_tricks.data.data_source import DataSource
from keras_tricks.data.errors import CONNECTION_ERRORS, PIPELINE_ERROR, explain_error
from keras_tricks.data.examples import image_of_file, some_images
from keras_tricks.data.mixing import cutmix, mixup
from keras_tricks.data.pipeline import batch_indices, evaluation_batches, first_images, training_batches
from keras_tricks.data.pipeline import training_examples
from keras_tricks.data.preprocessing import evaluation_image
from keras_tricks.data.open_source import open_evaluation, open_source
from keras_tricks.data.rand_augment import rand_augment
from keras_tricks.data.rand_augment_increasing import rand_augment_increasing
from keras_tricks.data.random_erasing import erasing_box, random_erasing
from keras_tricks.data.repeated_augmentation import check_repeats, copy_of
from keras_tricks.data.source import Source, Split
from keras_tricks.data.trivial_augment import trivial_augment
from keras_tricks.data.wait_clock import WaitClock

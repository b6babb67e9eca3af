"""Input data, on TensorFlow only: `sources` read examples, `augment` changes their images, the files here make batches.

One deterministic pipeline: `pipeline` makes the batches of training and evaluation, `batch_range` makes the batches of
some epochs as functions of their step, `parts` divides them among processes, `service` makes them on other machines.
"""

from keras_tricks.data.augment import crops, cutmix, erasing_box, evaluation_image, image_ops, is_mirrored, mixup
from keras_tricks.data.augment import pillow_affine, rand_augment, rand_augment_increasing, random_erasing
from keras_tricks.data.augment import trivial_augment
from keras_tricks.data.errors import CONNECTION_ERRORS, PIPELINE_ERROR, explain_error
from keras_tricks.data.examples import contents_of, image_of_file, read_files, some_images
from keras_tricks.data.pipeline import batch_indices, evaluation_batches, first_images, training_batches
from keras_tricks.data.pipeline import training_examples
from keras_tricks.data.repeated_augmentation import check_repeats, copy_of
from keras_tricks.data.sources import DataSource, Source, Split, as_source, open_evaluation, open_source
from keras_tricks.data.wait_clock import WaitClock

"""Crops, colour, RandAugment, erasing and mixing: one image becomes the image that a network is trained on.

Everything random is a function of a seed of two integers, which the pipeline derives from (seed, epoch, position).
"""

from keras_tricks.data.augment import crops, image_ops, pillow_affine
from keras_tricks.data.augment.alternating_flip import is_mirrored
from keras_tricks.data.augment.mixing import cutmix, mixup
from keras_tricks.data.augment.preprocessing import evaluation_image
from keras_tricks.data.augment.rand_augment import rand_augment
from keras_tricks.data.augment.rand_augment_increasing import rand_augment_increasing
from keras_tricks.data.augment.random_erasing import erasing_box, random_erasing
from keras_tricks.data.augment.trivial_augment import trivial_augment

"""Inception-ResNet-v2 on ImageNet: the batch grows tenfold at the first step, then the rate decays.

Run      keras-tricks train dont_decay/inception_resnet_v2_grow_once --data-dir DIR
Data     imagenet2012, prepared by TFDS
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("dont_decay/inception_resnet_v2_decay").replace(
    about={"note": "section 5.3; 5,580 updates without a cap (5,820 with max_batch_size 65536)"},
    schedule={"mode": "hybrid", "max_batch_size": 81_920},
)

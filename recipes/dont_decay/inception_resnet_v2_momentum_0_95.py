"""Inception-ResNet-v2 on ImageNet, momentum 0.95: batch 16384, then 65536.

Run      keras-tricks train dont_decay/inception_resnet_v2_momentum_0_95 --data-dir DIR
Data     imagenet2012, prepared by TFDS
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("dont_decay/inception_resnet_v2_momentum_0_9").replace(
    about={"note": "section 5.3, ghost size 64; 3,480 updates"},
    optimizer={"momentum": 0.95},
    schedule={"batch_size": 16_384, "base_batch_size": 16_384},
)

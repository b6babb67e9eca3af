"""Inception-ResNet-v2 on ImageNet, momentum 0.975: batch 32768, then 65536.

Run      keras-tricks train dont_decay/inception_resnet_v2_momentum_0_975 --data-dir DIR
Data     imagenet2012, prepared by TFDS
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("dont_decay/inception_resnet_v2_momentum_0_9").replace(
    about={"note": "section 5.3, ghost size 64; 2,310 updates"},
    optimizer={"momentum": 0.975},
    schedule={"batch_size": 32_768, "base_batch_size": 32_768},
)

"""Inception-ResNet-v2 on ImageNet, momentum 0.9: batch 8192, then 65536.

Run      keras-tricks train dont_decay/inception_resnet_v2_momentum_0_9 --data-dir DIR
Data     imagenet2012, prepared by TFDS
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("dont_decay/inception_resnet_v2_decay").replace(
    about={"note": "section 5.3, ghost size 64; 5,820 updates"},
    model={"options": {"ghost_batch_size": 64}},
    schedule={"mode": "hybrid", "max_batch_size": 65_536},
)

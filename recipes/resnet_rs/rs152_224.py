"""ResNet-RS-152 at 224 pixels, 350 epochs.

Run      keras-tricks train resnet_rs/rs152_224 --data-dir ~/tensorflow_datasets
Paper    Bello et al. 2021, arXiv:2103.07579, section 6: 82.2 %
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("resnet_rs/rs50_160").replace(
    about={"expected_top1": 82.2},
    data={"image_size": 224},
    augment={"rand_augment_magnitude": 15},
    model={"name": "resnet_rs152", "options": {"dropout_rate": 0.25, "bn_momentum": 0.0}},
)

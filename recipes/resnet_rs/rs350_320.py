"""ResNet-RS-350 at 320 pixels, 350 epochs.

Run      keras-tricks train resnet_rs/rs350_320 --data-dir ~/tensorflow_datasets
Paper    Bello et al. 2021, arXiv:2103.07579, section 6: 84.2 %
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("resnet_rs/rs50_160").replace(
    about={"expected_top1": 84.2},
    data={"image_size": 320},
    augment={"rand_augment_magnitude": 15},
    model={"name": "resnet_rs350", "options": {"dropout_rate": 0.4, "bn_momentum": 0.0, "drop_path_rate": 0.1}},
)

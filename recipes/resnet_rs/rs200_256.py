"""ResNet-RS-200 at 256 pixels, 350 epochs.

Run      keras-tricks train resnet_rs/rs200_256 --data-dir ~/tensorflow_datasets
Paper    Bello et al. 2021, arXiv:2103.07579, section 6: 83.4 %
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("resnet_rs/rs50_160").replace(
    about={"expected_top1": 83.4},
    data={"image_size": 256},
    augment={"rand_augment_magnitude": 15},
    model={"name": "resnet_rs200", "options": {"dropout_rate": 0.25, "bn_momentum": 0.0, "drop_path_rate": 0.1}},
)

"""NFNet-F5 at 416 pixels, evaluated at 544.

Run      keras-tricks train nfnet/f5 --data-dir ~/tensorflow_datasets
Paper    Brock et al. 2021, arXiv:2102.06171, section 4 and appendix A, table 1: 86.0 %
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("nfnet/f0").replace(
    about={"expected_top1": 86.0},
    data={"image_size": 416, "test_image_size": 544},
    augment={"rand_augment_magnitude": 15},
    model={"name": "nfnet_f5", "options": {"dropout_rate": 0.5, "drop_path_rate": 0.25}},
)

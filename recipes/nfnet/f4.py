"""NFNet-F4 at 384 pixels, evaluated at 512.

Run      keras-tricks train nfnet/f4 --data-dir ~/tensorflow_datasets
Paper    Brock et al. 2021, arXiv:2102.06171, section 4 and appendix A, table 1: 85.9 %
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("nfnet/f0").replace(
    about={"expected_top1": 85.9},
    data={"image_size": 384, "test_image_size": 512},
    augment={"rand_augment_magnitude": 15},
    model={"name": "nfnet_f4", "options": {"dropout_rate": 0.5, "drop_path_rate": 0.25}},
)

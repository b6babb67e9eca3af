"""NFNet-F6 at 448 pixels, evaluated at 576.

Run      keras-tricks train nfnet/f6 --data-dir ~/tensorflow_datasets
Paper    Brock et al. 2021, arXiv:2102.06171, section 4 and appendix A; its 86.5 % is with SAM
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("nfnet/f0").replace(
    about={"expected_top1": None, "expected_from": "", "note": "the paper used SAM, which is not implemented"},
    data={"image_size": 448, "test_image_size": 576},
    augment={"rand_augment_magnitude": 15},
    model={"name": "nfnet_f6", "options": {"dropout_rate": 0.5, "drop_path_rate": 0.25}},
)

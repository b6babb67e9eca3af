"""NFNet-F6 at 448 pixels, evaluated at 576.

Run      keras-tricks train nfnet/f6 --data-dir ~/tensorflow_datasets
Paper    Brock et al. 2021, arXiv:2102.06171, section 4 and appendix A: 86.5 % with SAM
"""

from keras_tricks.recipe import load_recipe

SAM = {"optimizer.sam_stride": "a fifth of the images in the paper; 5 does not divide the batch of a replica"}
RECIPE = load_recipe("nfnet/f0").replace(
    about={"expected_top1": 86.5, "differs": SAM},
    data={"image_size": 448, "test_image_size": 576},
    augment={"rand_augment_magnitude": 15},
    model={"name": "nfnet_f6", "options": {"dropout_rate": 0.5, "drop_path_rate": 0.25}},
    optimizer={"sam_rho": 0.05, "sam_stride": 4},
)

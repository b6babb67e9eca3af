"""NFNet-F5 with sharpness-aware minimization, at 416 pixels, evaluated at 544.

Run      keras-tricks train nfnet/f5_sam --data-dir ~/tensorflow_datasets
Paper    Brock et al. 2021, arXiv:2102.06171, section 4 and appendix A, table 1: 86.3 %
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("nfnet/f5").replace(
    about={"expected_top1": 86.3, "differs": load_recipe("nfnet/f6").about.differs},
    optimizer={"sam_rho": 0.05, "sam_stride": 4},
)

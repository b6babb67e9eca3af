"""NF-ResNet-50 at batch 4096 with adaptive gradient clipping: the clipping study of the NFNet paper.

Run      keras-tricks train nfnet/nf_resnet50_agc --data-dir ~/tensorflow_datasets
Paper    Brock et al. 2021, arXiv:2102.06171, section 4.1 (90 epochs, rate 0.1 per 256 images, clipping 0.01)
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("nfnet/nf_resnet50").replace(
    about={"paper": "arXiv:2102.06171", "note": "the paper shows curves only",
           "follows": "paper, section 4.1"},
    optimizer={"agc_clip_factor": 0.01},
    schedule={"batch_size": 4096},
)

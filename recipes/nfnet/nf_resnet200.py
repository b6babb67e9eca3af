"""NF-ResNet-200, 90 epochs, otherwise as `nfnet/nf_resnet50`.

Run      keras-tricks train nfnet/nf_resnet200 --data-dir ~/tensorflow_datasets
Paper    Brock et al. 2021, arXiv:2101.08692; values of deepmind-research/nfnets/experiment.py
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("nfnet/nf_resnet50").replace(
    model={"name": "nf_resnet200"},
)

"""NF-ResNet on 10,000 CIFAR-10 images of 16 pixels at batch 1024, with adaptive gradient clipping: laptop size.

Run      keras-tricks train nfnet/cifar10_nf_resnet_1024_agc --data-dir cifar10
Data     cifar10/{train,test}/<class>/*.jpg (or .png)
Results  docs/results/nfnet
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("nfnet/cifar10_nf_resnet_64").replace(
    optimizer={"agc_clip_factor": 0.01},
    schedule={"epochs": 12, "batch_size": 1024, "warmup_epochs": 2},
)

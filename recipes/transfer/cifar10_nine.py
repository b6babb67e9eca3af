"""ResNet-20-D on nine classes of CIFAR-10 images: the weights from which `transfer/cifar10_few` starts. 8 epochs.

Run      keras-tricks train transfer/cifar10_nine --data-dir nine
Data     nine/{train,test}/<class>/*.jpg without the class truck; benchmarks/transfer.py makes it
Result   83.7 % top-1 on its nine classes (n = 1); docs/results/transfer
Differs  a demonstration of this package, not a row of a paper
"""

from keras_tricks.recipe import About, load_recipe

RECIPE = load_recipe("bag_of_tricks/cifar10_resnet20d").replace(
    about=About(paper="arXiv:1812.01187", expected_top1=83.73, expected_from="docs/results/transfer", measured=True,
                note="a network to transfer from; not a row of the paper"),
    schedule={"epochs": 8},
    train={"evaluate_every": 4},
)

"""WRN-16-4 on CIFAR-10: five times the learning rate and the batch, then growth.

Run      keras-tricks train dont_decay/cifar10_increased_learning_rate --data-dir cifar10
Data     cifar10/{train,test}/<class>/*.jpg (or .png)
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("dont_decay/cifar10_increase_batch").replace(
    about={"note": "section 5.2; 6,300 updates"},
    schedule={"batch_size": 640, "base_learning_rate": 0.5, "base_batch_size": 640},
)

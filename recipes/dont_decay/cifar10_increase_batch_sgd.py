"""WRN-16-4 on CIFAR-10 without momentum: batch grown by 5.

Run      keras-tricks train dont_decay/cifar10_increase_batch_sgd --data-dir cifar10
Data     cifar10/{train,test}/<class>/*.jpg (or .png)
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("dont_decay/cifar10_increase_batch").replace(
    about={"note": "section 5.1, vanilla SGD",
           "differs": {"schedule.base_learning_rate": "our choice: keeps eps / (1 - m) of the runs with momentum"}},
    optimizer={"momentum": 0.0, "nesterov": False},
    schedule={"base_learning_rate": 1.0},
)

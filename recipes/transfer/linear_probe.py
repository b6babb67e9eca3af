"""A linear classifier on the frozen features of ResNet-50-D, on your own photographs: 30 epochs, cosine.

Run      keras-tricks train transfer/linear_probe --data-dir DIR --weights timm/resnet50d.ra2_in1k
         keras-tricks train transfer/photos, with the same arguments, trains all weights: the fine-tuning beside it
Data     DIR/{train,val}/<class>/*.jpg, such as CIFAR-100 or Flowers-102 as folders
Differs  not a row of a paper: learning rate, epochs and crops are our choice. Not measured here
"""

from keras_tricks.recipe import load_recipe

RECIPE = load_recipe("transfer/photos").replace(
    about={"note": "with --weights; only the classifier is trained; not a row of the paper"},
    model={"freeze": ("stem", "stage1", "stage2", "stage3", "stage4"), "freeze_norms": True},
    loss={"label_smoothing": 0.0},
    optimizer={"weight_decay": 0.0},
    schedule={"epochs": 30, "base_learning_rate": 0.1, "warmup_epochs": 0},
)

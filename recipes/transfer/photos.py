"""ResNet-50-D on your own photographs, from weights of timm: 20 epochs at a small learning rate, cosine.

Run      keras-tricks train transfer/photos --data-dir DIR --weights timm/resnet50d.ra2_in1k
Data     DIR/{train,val}/<class>/*.jpg
Differs  a starting point for your own data, not a row of a paper: a tenth of the learning rate of a run from scratch,
         the crops of the paper without its colour jitter. Not measured here; docs/results/transfer has CIFAR-10
"""

from keras_tricks.recipe import About, Augment, Data, Loss, Model, Optimizer, Recipe, Schedule

RECIPE = Recipe(
    about=About(paper="arXiv:1812.01187", note="with --weights; not a row of the paper"),
    data=Data(source="image_folder", image_size=224, eval_crop="short_side", short_side=256),
    augment=Augment(crop="random_resized", flip=True),
    model=Model(name="resnet50d"),
    loss=Loss(label_smoothing=0.1),
    optimizer=Optimizer(weight_decay=1e-4, no_bias_decay=True),
    schedule=Schedule(epochs=20, batch_size=64, base_learning_rate=0.01, base_batch_size=64, warmup_epochs=1,
                      decay="cosine"),
)

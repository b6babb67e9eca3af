"""NF-ResNet on 10,000 CIFAR-10 images of 16 pixels at batch 64, without clipping: laptop size.

Run      keras-tricks train nfnet/cifar10_nf_resnet_64 --data-dir cifar10
Data     cifar10/{train,test}/<class>/*.jpg (or .png)
Results  docs/results/nfnet
"""

from keras_tricks.recipe import About, Augment, Data, Loss, Model, Optimizer, Recipe, Schedule, Train

RECIPE = Recipe(
    about=About(paper="arXiv:2102.06171"),
    data=Data(source="image_folder", train_images=10_000, image_size=16, eval_crop="whole",
              mean=(125.3, 123.0, 113.9), std=(63.0, 62.1, 66.7)),
    augment=Augment(crop="pad", pad=2),
    model=Model(name="nf_resnet_cifar"),
    loss=Loss(label_smoothing=0.1, smoothing="uniform"),
    optimizer=Optimizer(weight_decay=1e-4, no_bias_decay=True),
    schedule=Schedule(epochs=4, batch_size=64, base_learning_rate=0.4, base_batch_size=256, warmup_epochs=1,
                      decay="cosine"),
    train=Train(evaluate_every=2, eval_batch_size=500),
)

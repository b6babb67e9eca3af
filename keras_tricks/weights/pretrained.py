"""The published checkpoints that models of the zoo can load, and the best of each model.

timm's are from its results/results-imagenet.csv (commit 0173a139), with the size at which the top-1 accuracy was
measured; keras.applications' from the table of keras.io/api/applications. A licence is that of the checkpoint's own
config.json, which is known once it is in the cache of the Hugging Face Hub.
"""

import dataclasses
import json
import os
import pathlib

from keras_tricks.utils.errors import UserError
from keras_tricks.weights.timm_names import zoo_name

# name, ImageNet top-1 in percent, millions of parameters, pixels
TIMM = """
dm_nfnet_f0.dm_in1k 83.486 71.49 256
dm_nfnet_f1.dm_in1k 84.702 132.63 320
dm_nfnet_f2.dm_in1k 85.194 193.78 352
dm_nfnet_f3.dm_in1k 85.686 254.92 416
dm_nfnet_f4.dm_in1k 85.836 316.07 512
dm_nfnet_f5.dm_in1k 86.098 377.21 544
dm_nfnet_f6.dm_in1k 86.362 438.36 576
inception_resnet_v2.tf_ens_adv_in1k 79.978 55.84 299
inception_resnet_v2.tf_in1k 80.462 55.84 299
nf_resnet50.ra2_in1k 80.640 25.56 288
resnet18.a1_in1k 73.158 11.69 288
resnet18.a2_in1k 72.372 11.69 288
resnet18.a3_in1k 68.254 11.69 224
resnet18.fb_ssl_yfcc100m_ft_in1k 72.594 11.69 224
resnet18.fb_swsl_ig1b_ft_in1k 73.282 11.69 224
resnet18.gluon_in1k 70.838 11.69 224
resnet18.tv_in1k 69.760 11.69 224
resnet18d.ra2_in1k 73.794 11.71 288
resnet34.a1_in1k 77.918 21.80 288
resnet34.a2_in1k 77.158 21.80 288
resnet34.a3_in1k 72.970 21.80 224
resnet34.bt_in1k 76.480 21.80 288
resnet34.gluon_in1k 74.578 21.80 224
resnet34d.ra2_in1k 78.436 21.82 288
resnet50.a1_in1k 81.214 25.56 288
resnet50.a1h_in1k 80.676 25.56 224
resnet50.a2_in1k 80.772 25.56 288
resnet50.a3_in1k 78.048 25.56 224
resnet50.am_in1k 78.998 25.56 224
resnet50.b1k_in1k 80.706 25.56 288
resnet50.b2k_in1k 80.454 25.56 288
resnet50.bt_in1k 79.640 25.56 288
resnet50.c1_in1k 80.912 25.56 288
resnet50.c2_in1k 80.870 25.56 288
resnet50.d_in1k 80.972 25.56 288
resnet50.fb_ssl_yfcc100m_ft_in1k 79.234 25.56 224
resnet50.fb_swsl_ig1b_ft_in1k 81.182 25.56 224
resnet50.gluon_in1k 77.580 25.56 224
resnet50.ra_in1k 79.836 25.56 288
resnet50.ram_in1k 79.976 25.56 288
resnet50.tv2_in1k 80.850 25.56 224
resnet50.tv_in1k 76.130 25.56 224
resnet50c.gluon_in1k 78.012 25.58 224
resnet50d.a1_in1k 81.450 25.58 288
resnet50d.a2_in1k 81.164 25.58 288
resnet50d.a3_in1k 78.722 25.58 224
resnet50d.gluon_in1k 79.078 25.58 224
resnet50d.ra2_in1k 81.356 25.58 288
resnet101.a1_in1k 82.322 44.55 288
resnet101.a1h_in1k 82.778 44.55 288
resnet101.a2_in1k 82.236 44.55 288
resnet101.a3_in1k 79.814 44.55 224
resnet101.gluon_in1k 79.310 44.55 224
resnet101.tv2_in1k 81.890 44.55 224
resnet101.tv_in1k 77.376 44.55 224
resnet101c.gluon_in1k 79.542 44.57 224
resnet101d.gluon_in1k 80.426 44.57 224
resnet101d.ra2_in1k 83.016 44.57 320
resnet152.a1_in1k 82.732 60.19 288
resnet152.a1h_in1k 83.450 60.19 288
resnet152.a2_in1k 82.608 60.19 288
resnet152.a3_in1k 80.546 60.19 224
resnet152.gluon_in1k 79.694 60.19 224
resnet152.tv2_in1k 82.288 60.19 224
resnet152.tv_in1k 78.322 60.19 224
resnet152c.gluon_in1k 79.910 60.21 224
resnet152d.gluon_in1k 80.476 60.21 224
resnet152d.ra2_in1k 83.684 60.21 320
resnet200d.ra2_in1k 83.964 64.69 320
resnetrs50.tf_in1k 79.896 35.69 224
resnetrs101.tf_in1k 82.284 63.62 288
resnetrs152.tf_in1k 83.702 86.62 320
resnetrs200.tf_in1k 84.444 93.21 320
resnetrs270.tf_in1k 84.428 129.86 352
resnetrs350.tf_in1k 84.714 163.96 384
resnetrs420.tf_in1k 85.006 191.89 416
tf_efficientnet_b0.aa_in1k 76.834 5.29 224
tf_efficientnet_b0.ap_in1k 77.090 5.29 224
tf_efficientnet_b0.in1k 76.532 5.29 224
tf_efficientnet_b0.ns_jft_in1k 78.670 5.29 224
tf_efficientnet_b1.aa_in1k 78.830 7.79 240
tf_efficientnet_b1.ap_in1k 79.280 7.79 240
tf_efficientnet_b1.in1k 78.560 7.79 240
tf_efficientnet_b1.ns_jft_in1k 81.394 7.79 240
tf_efficientnet_b2.aa_in1k 80.084 9.11 260
tf_efficientnet_b2.ap_in1k 80.308 9.11 260
tf_efficientnet_b2.in1k 79.604 9.11 260
tf_efficientnet_b2.ns_jft_in1k 82.378 9.11 260
tf_efficientnet_b3.aa_in1k 81.644 12.23 300
tf_efficientnet_b3.ap_in1k 81.826 12.23 300
tf_efficientnet_b3.in1k 80.878 12.23 300
tf_efficientnet_b3.ns_jft_in1k 84.056 12.23 300
tf_efficientnet_b4.aa_in1k 83.018 19.34 380
tf_efficientnet_b4.ap_in1k 83.250 19.34 380
tf_efficientnet_b4.in1k 82.608 19.34 380
tf_efficientnet_b4.ns_jft_in1k 85.162 19.34 380
tf_efficientnet_b5.aa_in1k 83.688 30.39 456
tf_efficientnet_b5.ap_in1k 84.258 30.39 456
tf_efficientnet_b5.in1k 83.176 30.39 456
tf_efficientnet_b5.ns_jft_in1k 86.088 30.39 456
tf_efficientnet_b5.ra_in1k 83.810 30.39 456
tf_efficientnet_b6.aa_in1k 84.116 43.04 528
tf_efficientnet_b6.ap_in1k 84.786 43.04 528
tf_efficientnet_b6.ns_jft_in1k 86.456 43.04 528
tf_efficientnet_b7.aa_in1k 84.414 66.35 600
tf_efficientnet_b7.ap_in1k 85.122 66.35 600
tf_efficientnet_b7.ns_jft_in1k 86.840 66.35 600
tf_efficientnet_b7.ra_in1k 84.932 66.35 600
"""
# model here, builder in keras.applications, top-1, millions of parameters, pixels
APPLICATIONS = """
inception_resnet_v2 InceptionResNetV2 80.3 55.9 299
resnet50 ResNet50 74.9 25.6 224
resnet101 ResNet101 76.4 44.7 224
resnet152 ResNet152 76.6 60.4 224
"""
IMAGENET_NAMES = "imagenet_class_index.json"  # keras.applications keeps it in its cache


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A published checkpoint.

    Attributes:
        model: name of the model here.
        name: what `weights=` takes; for `keras.applications` the name of its builder.
        top1: ImageNet top-1 in percent.
        parameters: float, in millions.
        image_size: integer, pixels at which `top1` was measured.
        loaded_by: `"weights"`, or `"from_applications"` for `kt.weights.from_applications`.
    """

    model: str
    name: str
    top1: float
    parameters: float
    image_size: int
    loaded_by: str = "weights"


def checkpoints(model: str | None = None) -> list[Checkpoint]:
    """The published checkpoints of a model, or of all, the best first for each model."""
    found = []
    for line in TIMM.split("\n")[1:-1]:
        name, top1, parameters, size = line.split()
        found.append(Checkpoint(zoo_name(name.split(".")[0]), f"timm/{name}", float(top1), float(parameters),
                                int(size)))
    for line in APPLICATIONS.split("\n")[1:-1]:
        own, name, top1, parameters, size = line.split()
        found.append(Checkpoint(own, f"keras.applications.{name}", float(top1), float(parameters), int(size),
                                "from_applications"))
    return sorted((c for c in found if model in (None, c.model)), key=lambda c: -c.top1)


def best(model: str) -> str:
    """The name of the checkpoint with the highest top-1 that `weights=` takes for a model.

    Raises:
        UserError: none is known.
    """
    own = checkpoints(model)
    found = next((c for c in own if c.loaded_by == "weights"), None)
    if found is not None:
        return found.name
    hint = f" kt.weights.from_applications copies those of {own[0].name}." if own else ""
    hint += f" timm's are for {model}b, whose strides differ." if checkpoints(f"{model}b") else ""
    raise UserError(f"No pretrained weights that {model} loads by name are known.{hint} `keras-tricks list weights` "
                    "shows all that are.")


def licence(checkpoint: Checkpoint) -> str:
    """The licence in the config.json of a checkpoint that is in the cache; `""` if it is not there, or states none."""
    if checkpoint.loaded_by != "weights":
        return ""
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return ""
    path = try_to_load_from_cache(checkpoint.name, "config.json")
    try:
        return str(json.loads(pathlib.Path(path).read_text())["pretrained_cfg"].get("license") or "")
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return ""


def imagenet_names() -> tuple[str, ...]:
    """ImageNet's 1,000 class names from the cache of `keras.applications`; empty if they are not there.

    `keras.applications.imagenet_utils.decode_predictions` downloads them.
    """
    home = os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
    try:
        index = json.loads((pathlib.Path(home) / "models" / IMAGENET_NAMES).read_text())
        return tuple(index[str(i)][1] for i in range(1000))
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return ()

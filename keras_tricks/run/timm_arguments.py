"""timm's saved arguments (`args.yaml` of its train.py) as a recipe, and a list of what does not carry over.

The table follows the arguments of timm 1.0. An argument is named if its value changes the training and a recipe has no
key for it. Arguments that change no weight (logging, workers, memory layout) are left out.
"""

import dataclasses
import math
import re

from keras_tricks import models
from keras_tricks.recipe import Recipe
from keras_tricks.utils.errors import UserError
from keras_tricks.weights.timm_names import zoo_name

EXPONENT = re.compile(r"[+-]?\d+(\.\d*)?e[+-]?\d+", re.IGNORECASE)
ADAPTIVE = ("ada", "lamb", "lion")  # optimizers whose learning rate timm scales by the root of the batch size
NO_EFFECT = frozenset("""
    amp_dtype amp_impl apex_amp bce_sum bce_target_thresh channels_last checkpoint_hist class_map data dataset_download
    dataset_trust_remote_code decay_epochs decay_milestones decay_rate device device_modules dist_bn eval_metric
    experiment fast_norm fuser grad_checkpointing input_img_mode input_key local_rank log_interval log_wandb lr_base
    lr_base_scale lr_base_size lr_cycle_decay lr_noise_pct lr_noise_std model_ema_decay model_ema_force_cpu native_amp
    no_ddp_bb no_prefetcher no_resume_opt output patience_epochs pin_mem recount recovery_interval remode resplit resume
    save_images sched_on_updates start_epoch synchronize_step target_key torchcompile torchcompile_mode torchscript
    train_num_samples tta use_multi_epochs_loader val_num_samples validation_batch_size wandb_project wandb_resume_id
    wandb_tags worker_seeding workers
""".split())
# Arguments without a counterpart, and the values with which they do nothing.
NEUTRAL = {
    "aug_splits": (0,), "bce_pos_weight": (None,), "bn_eps": (None,), "color_jitter_prob": (None,),
    "cooldown_epochs": (0,), "cutmix_minmax": (None, []), "drop_block": (None, 0.0), "epoch_repeats": (0.0,),
    "gaussian_blur_prob": (None, 0.0), "gp": (None,), "grayscale_prob": (None, 0.0), "head_init_bias": (None,),
    "head_init_scale": (None,), "in_chans": (None, 3), "initial_checkpoint": ("",), "jsd_loss": (False,),
    "layer_decay": (None, 1.0), "lr_cycle_limit": (1,), "lr_cycle_mul": (1.0,), "lr_k_decay": (1.0,),
    "lr_noise": (None, []), "min_lr": (0.0,), "mixup_prob": (1.0,), "model_dtype": (None,),
    "model_ema_warmup": (False,), "model_kwargs": ({}, None), "opt_betas": (None, []), "opt_kwargs": ({}, None),
    "pretrained": (False,), "pretrained_path": (None,), "split_bn": (False,), "train_crop_mode": (None, "rrc"),
    "vflip": (0.0,), "warmup_lr": (0.0,), "naflex_loader": (False,), "kd_model_name": (None,),
}
WHY = {
    "cooldown_epochs": "epochs at the lowest rate after the decay",
    "pretrained": "start from weights with model.weights=pretrained, or timm/NAME",
    "initial_checkpoint": "start from weights with model.weights=FILE", "min_lr": "the decay here ends at 0",
    "warmup_lr": "the warmup here starts at 0", "model_ema_warmup": "the average here has one decay",
}


@dataclasses.dataclass
class Ported:
    """A recipe made of timm's arguments.

    Attributes:
        recipe: `Recipe`.
        dropped: sentences, one for each argument that does not carry over.
        assumed: sentences about what the file does not state.
    """

    recipe: Recipe
    dropped: list
    assumed: list


def port(arguments, name="timm", processes=1):
    """Turns the arguments of a timm training into a recipe.

    Args:
        arguments: dict of timm's argument names and values.
        name: name of the recipe.
        processes: integer, number of GPUs of the training: timm's batch size is that of one. Defaults to `1`.

    Returns:
        `Ported`.

    Raises:
        UserError: there is no `model`, or a value has the wrong kind.
    """
    if not isinstance(arguments, dict) or not isinstance(arguments.get("model"), str):
        raise UserError("The file has no `model`: expected the args.yaml that timm's train.py writes, with one "
                        "`argument: value` a line.")
    reader = _Reader({key: _number(value) for key, value in arguments.items()})
    try:
        sections = {"data": reader.data(), "model": reader.model(), "augment": reader.augment(),
                    "loss": reader.loss(), "optimizer": reader.optimizer(), "schedule": reader.schedule(processes),
                    "train": {"precision": reader.precision()}}
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"The file has a value of the wrong kind: {error}") from None
    if processes == 1:
        reader.assumed.append(f"one process: the batch size {reader('batch_size', 128)} is that of one GPU in timm; "
                              "give --processes N for a training on N")
    if not reader("sched_on_updates"):
        reader.assumed.append("the rate changes at every update; timm's changes after each epoch")
    recipe = Recipe(name=name, seed=int(reader("seed", 42)), **sections)
    return Ported(recipe, reader.dropped + reader.rest(), reader.assumed)


def _number(value):
    """A text such as `"1e-5"`, which YAML 1.1 does not take for a number, as a float, as timm reads it."""
    return float(value) if isinstance(value, str) and EXPONENT.fullmatch(value) else value


class _Reader:
    """Reads arguments by name, and collects what does not carry over."""

    def __init__(self, arguments):
        self.arguments, self.read, self.dropped, self.assumed = arguments, {"model"}, [], []
        self.name = zoo_name(arguments["model"])
        self.known = self.name in models.list_models()
        self.info = models.model_info(self.name) if self.known else None

    def __call__(self, key, default=None):
        """The value of an argument; the default of timm if it is missing or null."""
        self.read.add(key)
        value = self.arguments.get(key)
        return default if value is None else value

    def drop(self, key, why):
        self.read.add(key)
        self.dropped.append(f"{key}={self.arguments.get(key)}: {why}")

    def data(self):
        name, split = str(self("dataset", "")), str(self("val_split", "validation"))
        found = {"source": "image_folder", "data_dir": self("data_dir") or self.arguments.get("data"),
                 "eval_crop": "center", "train_split": str(self("train_split", "train"))}
        if split != "validation":
            found["validation_split"] = split
        if name.startswith("tfds/"):
            found["source"] = f"tfds:{name.removeprefix('tfds/')}"
        elif name not in ("", "folder", "torch/image_folder", "image_folder"):
            self.drop("dataset", "set data.source")
        found |= self._sizes()
        for key, default in (("mean", (0.485, 0.456, 0.406)), ("std", (0.229, 0.224, 0.225))):
            found[key] = tuple(255 * float(v) for v in self(key, default))
        found["crop_pct"] = float(self("crop_pct", self.info.crop_pct if self.known else 0.875))
        interpolation = self("interpolation", self.info.interpolation if self.known else "bilinear")
        found["interpolation"] = interpolation if interpolation in ("bilinear", "bicubic") else "bicubic"
        found["antialias"] = True  # Pillow's resizing
        if self("train_interpolation", "random") != found["interpolation"]:
            self.drop("train_interpolation", f"training images are resized as for evaluation, {interpolation}")
        return found

    def _sizes(self):
        """Sizes of the images in training and in evaluation."""
        size = self("input_size")
        size = self("img_size") or (size[1] if size else None)
        if size is not None:
            return {"image_size": int(size)}
        if not self.known:
            return {"image_size": 224}
        return {"image_size": self.info.input_size[0], "test_image_size": self.info.test_input_size[0]}

    def model(self):
        options = {}
        if not self.known:
            self.drop("model", "there is no such model here: set model.name")
        path_rate = self("drop_path", self("drop_connect"))
        wanted = {"dropout_rate": self("drop") or None, "drop_path_rate": path_rate or None,
                  "sync_bn": self("sync_bn") or None}
        if (momentum := self("bn_momentum")) is not None:
            wanted["bn_momentum"] = 1.0 - float(momentum)  # torch's is the weight of the new value
        accepted = models.arguments_of(self.name) if self.known else wanted
        for option, value in wanted.items():
            if value is not None and option not in accepted:
                self.dropped.append(f"{option}={value}: {self.name} has no such option")
            elif value is not None:
                options[option] = value
        return {"name": self.name, "classes": self("num_classes"), "options": options}

    def augment(self):
        found = {"crop_area": tuple(self("scale", (0.08, 1.0))), "crop_aspect": tuple(self("ratio", (3 / 4, 4 / 3))),
                 "flip": float(self("hflip", 0.5)) > 0}
        policy, jitter = self("aa", ""), self("color_jitter", 0.4)
        if self("no_aug", False):
            return {"crop": "none", "flip": False}
        if found["flip"] and float(self("hflip", 0.5)) != 0.5:
            self.drop("hflip", "images are flipped with probability 0.5")
        if policy:
            found |= self._policy(str(policy))
        elif jitter:
            found |= {"color_jitter": "gluoncv", "color_jitter_strength": float(jitter)}
        found |= self._erasing()
        mixup, cutmix = float(self("mixup", 0.0)), float(self("cutmix", 0.0))
        mode = self("mixup_mode", "batch")
        found |= {"mixup_alpha": mixup, "cutmix_alpha": cutmix, "mix_both": "either",
                  "mixup_per": "batch" if mode == "batch" else "sample"}
        if mode == "pair" and (mixup or cutmix):
            self.drop("mixup_mode", "each image is mixed separately, not each pair")
        if mixup and cutmix and float(self("mixup_switch_prob", 0.5)) != 0.5:
            self.drop("mixup_switch_prob", "a batch gets mixup or CutMix with probability 0.5 each")
        self.read.add("mixup_switch_prob")
        if off := int(self("mixup_off_epoch", 0)):
            found["mix_off_epoch"] = off
        return found

    def _erasing(self):
        """Random erasing, and the copies of each image in a batch."""
        found = {"repeats": max(int(self("aug_repeats", 0)), 1)}
        if probability := float(self("reprob", 0.0)):
            mode = str(self("remode", "pixel"))
            if mode not in ("pixel", "const") or int(self("recount", 1)) > 1:
                self.drop("reprob", f"one region is erased with noise; remode={mode}, recount={self('recount', 1)}")
            found |= {"random_erasing": probability,
                      "random_erasing_mode": "constant" if mode == "const" else "pixel"}
        return found

    def _policy(self, policy):
        """RandAugment of timm, such as `rand-m9-mstd0.5-inc1`: two operations, each with probability 0.5."""
        kind, *parts = policy.split("-")
        if kind != "rand":
            self.drop("aa", "of timm's policies only rand-... is here")
            return {}
        values = dict(re.fullmatch(r"([a-z]+)([\d.]*)", part).groups() for part in parts)
        increasing = values.get("inc", "0") == "1"
        known = ("m", "n", "p", "inc", "mstd") if increasing else ("m", "n", "p", "inc")
        left = [key for key in values if key not in known]
        if left:
            self.drop("aa", f"{', '.join(left)} of the policy")
        found = {"rand_augment_layers": int(values.get("n", 2)), "rand_augment_magnitude": float(values.get("m", 10)),
                 "rand_augment_probability": float(values.get("p", 0.5)), "rand_augment_increasing": increasing}
        return found | ({"rand_augment_magnitude_std": float(values.get("mstd", 0))} if increasing else {})

    def loss(self):
        found = {"label_smoothing": float(self("smoothing", 0.1)), "smoothing": "uniform"}
        threshold, is_sum = self("bce_target_thresh"), bool(self("bce_sum", False))
        if self("bce_loss", False):
            found |= {"name": "binary_crossentropy", "target_threshold": threshold, "sum_classes": is_sum}
        return found

    def optimizer(self):
        name = str(self("opt", "sgd")).lower()
        ahead, name = name.startswith("lookahead_"), name.removeprefix("lookahead_")
        found = {"momentum": float(self("momentum", 0.9)), "weight_decay": float(self("weight_decay", 2e-5)),
                 "no_bias_decay": True, "nesterov": name != "momentum"}
        found |= {"lookahead_steps": 6, "lookahead_step_size": 0.5} if ahead else {}  # timm's defaults
        if name == "lamb":
            found |= {"name": "lamb", "options": {"epsilon": float(self("opt_eps", 1e-6))}}
        elif name in ("adam", "adamw", "nadam", "nadamw"):
            found |= {"name": "adam", "options": {"epsilon": float(self("opt_eps", 1e-8))}}
            if name != "adamw":
                self.drop("opt", "Adam with decoupled weight decay is used")
        elif name not in ("sgd", "momentum", "nesterov"):
            self.drop("opt", "SGD is used: choose a learning rate for it, or another optimizer.name")
            self("opt_eps")
        clip, mode = self("clip_grad"), self("clip_mode", "norm")
        if clip and mode == "agc":
            found["agc_clip_factor"] = float(clip)
        elif clip:
            self.drop("clip_grad", f"clipping by {mode}; there is adaptive gradient clipping (agc)")
        if self("model_ema", False):
            found["ema_decay"] = float(self("model_ema_decay", 0.9998))
        found["accumulation_steps"] = int(self("grad_accum_steps", 1))
        return found

    def schedule(self, processes):
        size = int(self("batch_size", 128)) * processes * int(self("grad_accum_steps", 1))
        if rest := size % max(int(self("aug_repeats", 0)), 1):
            self.assumed.append(f"a batch of {size - rest} for {size}, which {self('aug_repeats')} copies of each "
                                "image do not divide; the learning rate is the same")
            size -= rest
        epochs = int(self("epochs", 300))
        found = {"epochs": epochs, "warmup_epochs": float(self("warmup_epochs", 5)), "batch_size": size,
                 "base_learning_rate": self._rate(size), "base_batch_size": size}
        kind, prefix = str(self("sched", "cosine")), found["warmup_epochs"] if self("warmup_prefix", False) else 0.0
        if prefix:  # timm's epochs exclude the warmup
            found["epochs"] += math.ceil(prefix)
        elif found["warmup_epochs"] and kind not in ("step", "multistep"):
            self.drop("warmup_prefix", "the cosine here starts after the warmup, and timm's with it")
        if kind in ("step", "multistep"):
            every = float(self("decay_epochs", 90))
            steps = [round(every * i, 6) for i in range(1, math.ceil(epochs / every))]
            steps = self("decay_milestones", (90, 180, 270)) if kind == "multistep" else steps
            steps = [step + prefix for step in steps]
            return found | {"decay": "step", "milestones": tuple(steps), "factor": float(self("decay_rate", 0.1))}
        if kind != "cosine":
            self.drop("sched", "a cosine is used")
        return found | {"decay": "cosine"}

    def _rate(self, size):
        """The peak learning rate."""
        if (rate := self("lr")) is not None:
            return float(rate)
        base, base_size = float(self("lr_base", 0.1)), int(self("lr_base_size", 256))
        adaptive = str(self("opt", "sgd")).lower().startswith(ADAPTIVE)
        scale = self("lr_base_scale", "") or ("sqrt" if adaptive else "linear")
        return base * (math.sqrt(size / base_size) if scale == "sqrt" else size / base_size)

    def precision(self):
        kind = str(self("amp_dtype", "float16"))
        if not (self("amp", False) or self("native_amp", False) or self("apex_amp", False)):
            return "float32"
        return f"mixed_{kind}" if kind in ("float16", "bfloat16") else "mixed_float16"

    def rest(self):
        """Sentences for the arguments that no section has read."""
        found = []
        for key, value in self.arguments.items():
            if key in self.read or key in NO_EFFECT or value in NEUTRAL.get(key, (None, False, "")):
                continue
            why = WHY.get(key, "there is no such setting" if key in NEUTRAL else "unknown")
            found.append(f"{key}={value}: {why}")
        return found

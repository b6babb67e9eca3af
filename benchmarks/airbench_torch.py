"""The recipe `cifar10/airbench94` in PyTorch on the CPU, beside which its accuracy and speed are measured.

Run      python benchmarks/airbench_torch.py CIFAR10 [--seed 0] [--precision bfloat16] [--epochs 8] [--output JSON]
         CIFAR10 holds {train,test}/<class>/*.png (or .jpg). Needs torch and Pillow, not this package.
Paper    Jordan 2024, arXiv:2404.00498; values of `airbench94_muon.py` in KellerJordan/cifar10-airbench
         (which needs CUDA)
Work     As there: whitened first layer (its bias is trained for 3 epochs), Muon with momentum 0.6 for convolutions, SGD
         with Nesterov momentum 0.85 for the rest, rates that fall linearly to 0, label smoothing 0.2, batch 2000,
         alternating flip, shifts of 2 pixels with reflected borders, mirrored and shifted views at test time.
Timing   The images are in memory when the clock starts. Evaluation does not count.
"""

import argparse
import json
import os
import pathlib
import time

import numpy as np
import torch
from PIL import Image
from torch.nn import functional
from torch_networks import Airbench

BATCH, SMOOTHING, DECAY = 2000, 0.2, 2e-6 * 2000
KERNEL_RATE, BIAS_RATE, HEAD_RATE = 0.24, 0.053, 0.67
WHITENING_IMAGES, WHITENING_EPOCHS, WHITENING_EPS = 5000, 3, 5e-4
MEAN, STD = (125.307, 122.961, 113.8575), (62.985, 62.0925, 66.708)


def read(folder):
    """Images `(n, 3, 32, 32)`, normalized, in channels-last memory, and labels `(n,)`."""
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    files = [(path, label) for label, name in enumerate(classes) for path in sorted(name.iterdir())]
    pixels = np.stack([np.asarray(Image.open(path).convert("RGB")) for path, _ in files])
    images = (torch.from_numpy(pixels).float() - torch.tensor(MEAN)) / torch.tensor(STD)
    return images.permute(0, 3, 1, 2), torch.tensor([label for _, label in files])


def whitening_filters(images, size=2):
    patches = functional.unfold(images, size).permute(0, 2, 1).reshape(-1, 3 * size * size).double()
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    filters = (vectors / torch.sqrt(values + WHITENING_EPS)).flip(1).T
    return torch.cat([filters, -filters]).float().reshape(-1, 3, size, size)


class Muon(torch.optim.Optimizer):
    """Orthogonal momentum of convolution kernels, whose norm is kept."""

    def __init__(self, kernels):
        super().__init__(kernels, {"lr": KERNEL_RATE, "momentum": 0.6})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for kernel in group["params"]:
                velocity = self.state[kernel].setdefault("velocity", torch.zeros_like(kernel))
                velocity.mul_(group["momentum"]).add_(kernel.grad)
                direction = kernel.grad.add(velocity, alpha=group["momentum"])
                kernel.mul_(len(kernel) ** 0.5 / kernel.norm())
                kernel.add_(orthogonal(direction.reshape(len(kernel), -1)).view_as(kernel), alpha=-group["lr"])


def orthogonal(matrix, steps=3):
    a, b, c = 3.4445, -4.7750, 2.0315
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    x = wide / (wide.norm() + 1e-7)
    for _ in range(steps):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x if matrix.shape[0] <= matrix.shape[1] else x.T


def augmented(images, flipped, generator):
    """Every second image flipped, the other half in the next epoch; shifts of up to 2 pixels, each image its own."""
    images = torch.where(flipped[:, None, None, None], images.flip(-1), images)
    padded = functional.pad(images, (2, 2, 2, 2), "reflect")
    offsets = torch.randint(5, (2, len(images)), generator=generator)
    result = torch.empty_like(images)
    for top in range(5):
        for left in range(5):
            chosen = (offsets[0] == top) & (offsets[1] == left)
            result[chosen] = padded[chosen, :, top : top + 32, left : left + 32]
    return result.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def logits(model, images, views):
    """Mean logits: of the image, or 1/2 of itself and its mirror image, 1/4 of both shifted up-left and down-right."""

    def both(x):
        x = x.contiguous(memory_format=torch.channels_last)
        return 0.5 * model(x) + 0.5 * model(x.flip(-1))

    if not views:
        return model(images.contiguous(memory_format=torch.channels_last)).float()
    padded = functional.pad(images, (1, 1, 1, 1), "reflect")
    shifted = 0.5 * both(padded[..., :32, :32]) + 0.5 * both(padded[..., 2:, 2:])
    return (0.5 * both(images) + 0.5 * shifted).float()


def accuracy(model, images, labels, views, autocast):
    model.eval()
    with autocast():
        outputs = torch.cat([logits(model, x, views) for x in images.split(1000)])
    model.train()
    return 100 * float((outputs.argmax(1) == labels).float().mean())


def train(args):
    torch.manual_seed(args.seed)
    torch.set_num_threads(os.cpu_count())
    generator = torch.Generator().manual_seed(args.seed)
    images, labels = read(args.folder / "train")
    test_images, test_labels = read(args.folder / "test")
    model = Airbench().train().to(memory_format=torch.channels_last)
    model.whiten.weight.copy_(whitening_filters(images[torch.randperm(len(images))[:WHITENING_IMAGES]]))
    forward = torch.compile(model) if args.compile else model
    rest = [
        {"params": [model.whiten.bias], "lr": BIAS_RATE, "weight_decay": DECAY / BIAS_RATE},
        {"params": [norm.bias for norm in model.norms], "lr": BIAS_RATE, "weight_decay": DECAY / BIAS_RATE},
        {"params": [model.head.weight], "lr": HEAD_RATE, "weight_decay": DECAY / HEAD_RATE}]
    sgd = torch.optim.SGD(rest, momentum=0.85, nesterov=True)
    muon = Muon([convolution.weight for convolution in model.convolutions])
    groups = sgd.param_groups + muon.param_groups
    initial = [group["lr"] for group in groups]
    first_flip = torch.rand(len(images), generator=generator) < 0.5

    def autocast():
        return torch.autocast("cpu", torch.bfloat16, enabled=args.precision == "bfloat16")

    in_epoch = len(images) // BATCH
    step, seconds = 0, 0.0
    for epoch in range(args.epochs):
        start = time.perf_counter()
        for index in torch.randperm(len(images), generator=generator)[: in_epoch * BATCH].split(BATCH):
            for group, rate in zip(groups, initial, strict=True):
                end = WHITENING_EPOCHS * in_epoch if group is groups[0] else args.epochs * in_epoch
                group["lr"] = rate * max(0.0, 1 - step / end)
            x = augmented(images[index], first_flip[index] ^ bool(epoch % 2), generator)
            with autocast():
                outputs = forward(x)
            loss = functional.cross_entropy(outputs.float(), labels[index], label_smoothing=SMOOTHING, reduction="sum")
            sgd.zero_grad()
            muon.zero_grad()
            loss.backward()
            sgd.step()
            muon.step()
            step += 1
        seconds += time.perf_counter() - start
        top1 = accuracy(model, test_images, test_labels, False, autocast)
        print(f"epoch {epoch + 1}: loss {loss.item() / BATCH:.4f}, top-1 {top1:.2f}, {seconds:.0f} s", flush=True)
    return {"seed": args.seed, "precision": args.precision, "compiled": args.compile, "top1": top1,
            "top1_views": accuracy(model, test_images, test_labels, True, autocast), "seconds": seconds,
            "images_per_s": args.epochs * in_epoch * BATCH / seconds, "torch": torch.__version__}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--output", type=pathlib.Path)
    args = parser.parse_args()
    result = train(args)
    print(json.dumps(result))
    if args.output:
        args.output.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

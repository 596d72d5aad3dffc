"""Real data, and minibatches of it in a seeded order that can be resumed bit for bit."""

from . import audio, augment, text, toys
from .datasets import Dataset, digits, faces, mnist
from .generate import (
    convex,
    is_convex,
    mnist_back_image,
    mnist_back_rand,
    mnist_rot,
    mnist_rot_back_image,
    patches,
    rectangles,
    rectangles_image,
)
from .loader import Loader, Subset
from .split import k_fold, random_split, shuffle, train_test_split

__all__ = [
    "Dataset", "Loader", "Subset", "audio", "augment", "convex", "digits", "faces", "is_convex", "k_fold", "mnist",
    "mnist_back_image", "mnist_back_rand", "mnist_rot", "mnist_rot_back_image", "patches", "random_split", "rectangles",
    "rectangles_image", "shuffle", "text", "toys", "train_test_split",
]  # fmt: skip

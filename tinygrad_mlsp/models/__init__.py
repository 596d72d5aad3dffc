"""Whole nets."""

from .compression import distill, distillation_loss, random_inputs
from .convolutional import AlexNet, DenseNet, GoogLeNet, LeNet, ResNet, resnet
from .deep import DeepNet, SequenceClassifier
from .mlp import MLP, HighwayNet, ResidualMLP
from .sequence import CharModel, Seq2Seq
from .transformer import CausalLanguageModel

__all__ = [
    "MLP",
    "AlexNet",
    "CausalLanguageModel",
    "CharModel",
    "DeepNet",
    "DenseNet",
    "GoogLeNet",
    "HighwayNet",
    "LeNet",
    "ResNet",
    "ResidualMLP",
    "Seq2Seq",
    "SequenceClassifier",
    "distill",
    "distillation_loss",
    "random_inputs",
    "resnet",
]

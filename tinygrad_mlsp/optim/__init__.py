"""Optimizers, with PyTorch's names, arguments and defaults; schedules, averages of weights, second-order methods."""

from . import averaging, line_search, lr_scheduler
from . import averaging as swa_utils
from .adafactor import Adafactor
from .adam import Adam, Adamax, AdamW, NAdam, RAdam
from .adaptive import Adadelta, Adagrad, RMSprop
from .asgd import ASGD
from .minimize import Result, minimize
from .newton import HessianFree, Newton
from .optimizer import Optimizer
from .quasi_newton import BFGS, LBFGS, NonlinearCG
from .sgd import SGD
from .signs import DeltaBarDelta, Lion, Rprop

__all__ = [
    "ASGD", "BFGS", "LBFGS", "SGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "DeltaBarDelta",
    "HessianFree", "Lion", "NAdam", "Newton", "NonlinearCG", "Optimizer", "RAdam", "RMSprop", "Result", "Rprop",
    "averaging", "line_search", "lr_scheduler", "minimize", "swa_utils",
]  # fmt: skip

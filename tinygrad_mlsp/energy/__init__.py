"""Energy-based models: Hopfield and Boltzmann networks, restricted and deep, and what stands on them."""

from .divergence import FromData, Persistent, contrastive_divergence, exact_divergence
from .enumeration import binary_states, expectation, log_sum
from .rbm import RBM
from .units import Bernoulli, Gaussian, Joint, Softmax, Units

__all__ = [
    "RBM", "Bernoulli", "FromData", "Gaussian", "Joint", "Persistent", "Softmax", "Units", "binary_states",
    "contrastive_divergence", "exact_divergence", "expectation", "log_sum",
]  # fmt: skip

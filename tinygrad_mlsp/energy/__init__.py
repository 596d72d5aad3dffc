"""Energy-based models: Hopfield and Boltzmann networks, restricted and deep, and what stands on them."""

from .annealing import Path, RBMPath
from .belief import Recognition, SigmoidBeliefNet, wake_sleep
from .boltzmann import BoltzmannMachine, TwoPhases
from .convolutional import ConvolutionalRBM, EveryPlace, Pooled
from .dbm import DBM, MeanFieldPersistent
from .dbn import DBN, Directed, up_down
from .divergence import FromData, Persistent, contrastive_divergence, exact_divergence
from .enumeration import binary_states, expectation, log_sum
from .hopfield import Hopfield, HopfieldLayer, ModernHopfield, Recall, bit_error
from .monitor import free_energy_gap, log_likelihood, pseudo_likelihood, reconstruction_error
from .partition import Partition, annealed_importance_sampling
from .rbm import RBM
from .samplers import Exact, FastPersistent, Tempered
from .training import Sparsity, fit
from .units import Bernoulli, Gaussian, Joint, ReLU, Softmax, Units
from .variational import Factorial, Layered, Table, VariationalBound, fit_mean_field, local_expectation_loss, posterior

__all__ = [
    "DBM", "DBN", "RBM", "Bernoulli", "BoltzmannMachine", "ConvolutionalRBM", "Directed", "EveryPlace", "Exact",
    "Factorial", "FastPersistent", "FromData", "Gaussian", "Hopfield", "HopfieldLayer", "Joint", "Layered",
    "MeanFieldPersistent", "ModernHopfield", "Partition", "Path", "Persistent", "Pooled", "RBMPath", "ReLU", "Recall",
    "Recognition", "SigmoidBeliefNet", "Softmax", "Sparsity", "Table", "Tempered", "TwoPhases",
    "Units", "VariationalBound", "annealed_importance_sampling", "binary_states", "bit_error", "contrastive_divergence",
    "exact_divergence", "expectation", "fit", "fit_mean_field", "free_energy_gap", "local_expectation_loss",
    "log_likelihood", "log_sum", "posterior", "pseudo_likelihood", "reconstruction_error", "up_down", "wake_sleep",
]  # fmt: skip

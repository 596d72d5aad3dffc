"""What can go wrong, one exception a cause. Every message names the operation and what to do."""


class Error(Exception):
    """The parent of every exception that this library raises on purpose."""


class ShapeError(Error, ValueError):
    """Shapes that do not fit the operation."""


class DTypeError(Error, TypeError):
    """A dtype or a type of argument that the operation does not take."""


class DeviceError(Error, RuntimeError):
    """Tensors on two devices, or a device that is not there."""


class MatrixError(Error, ValueError):
    """A matrix without what the operation needs of it: it is singular, or not positive definite."""


class GraphError(Error, RuntimeError):
    """A backward pass that cannot run: freed, changed or missing graph."""


class MissingDependency(Error, ImportError):
    """An optional package is needed; the message names the extra that installs it."""


class DataError(Error, ValueError):
    """A data set that is missing, damaged or of the wrong form."""


class OptionError(Error, ValueError):
    """An option, argument or name that the callee does not know."""


class NoRuleError(OptionError):
    """A derivative in a direction for which an operation declares no rule."""


class IndexingError(Error, IndexError):
    """An index outside the tensor, or of a kind that does not index."""


class AxisError(ShapeError, IndexingError):
    """An axis that the tensor does not have."""


class CheckpointError(Error, ValueError):
    """A file of weights or a checkpoint that cannot be read, or does not fit; the message names the file."""


class MissingCheckpoint(CheckpointError, FileNotFoundError):
    """A file of weights or a checkpoint, or the folder for one, that is not there."""


class DivergenceError(Error, ArithmeticError):
    """A training whose loss or gradients stopped being finite numbers."""


class NonFiniteError(DivergenceError):
    """A NaN or an infinity; under `detect_anomaly` the message explains where it came from."""


class NotFitted(Error, ValueError, AttributeError):
    """An estimator that is asked for an answer before it was given anything to learn."""


class TrainingWarning(UserWarning):
    """Something about the data or the state of a training that learning will not put right by itself."""

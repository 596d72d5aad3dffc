"""Gradient checking, for our functions and anybody's.

check(f, *inputs)        the derivatives of f against measured ones: a Report, with a verdict
property, tensors        the same at inputs that hypothesis draws, and shrinks where they show a fault
contracts(f, *inputs)    what a gradient owes besides being right: memory, layouts, threads, accumulation
mutants(f, *inputs)      plants faults in the rules that f uses, and says which checks notice
GradientCheckError       what a report that is not ok raises
"""

from __future__ import annotations

from .check import check
from .contracts import Contract, ContractReport, contracts
from .mutants import Mutant, Survey, mutants
from .properties import property
from .report import Element, GradientCheckError, Report
from .strategies import tensors

__all__ = [
    "Contract", "ContractReport", "Element", "GradientCheckError", "Mutant", "Report", "Survey", "check", "contracts",
    "mutants", "property", "tensors",
]  # fmt: skip

"""Seeing a graph of operations: plain records from the tape, folding, DOT, pictures, text, and plots of gradients."""

from .graph import Edge, Graph, Node
from .tape import Trace, graph_of, trace
from .walk import Walk, walk

__all__ = ["Edge", "Graph", "Node", "Trace", "Walk", "graph_of", "trace", "walk"]

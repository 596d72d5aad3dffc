"""Seeing a graph of operations: plain records from the tape, folding, DOT, pictures, text, and plots of gradients."""

from .graph import Edge, Graph, Node
from .tape import Trace, graph_of, trace

__all__ = ["Edge", "Graph", "Node", "Trace", "graph_of", "trace"]

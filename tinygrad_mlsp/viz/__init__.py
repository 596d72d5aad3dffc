"""Seeing a graph of operations: plain records from the tape, folding, DOT, pictures, text, and plots of gradients."""

from .diff import Diff, diff
from .explain import Explanation, explain
from .graph import Edge, Graph, Node
from .player import Player, play
from .tape import Trace, graph_of, trace
from .walk import Walk, walk

__all__ = [
    "Diff",
    "Edge",
    "Explanation",
    "Graph",
    "Node",
    "Player",
    "Trace",
    "Walk",
    "diff",
    "explain",
    "graph_of",
    "play",
    "trace",
    "walk",
]

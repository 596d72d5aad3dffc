"""Seeing a graph of operations: plain records from the tape, folding, DOT, pictures, text, and plots of gradients."""

from .diff import Diff, diff
from .explain import Explanation, explain
from .flow import Flow, Verdict, watch
from .graph import Edge, Graph, Node
from .player import Player, play
from .surface import (
    Critical,
    Curvature,
    Surface,
    critical_points,
    curvature,
    embed,
    embedding,
    landscape,
    pca_directions,
    random_directions,
    surface,
    trajectories,
    weights,
)
from .tape import Trace, graph_of, trace
from .unroll import Comparison, Unrolled, compare_through_time, through_time
from .walk import Walk, walk

__all__ = [
    "Comparison",
    "Critical",
    "Curvature",
    "Diff",
    "Edge",
    "Explanation",
    "Flow",
    "Graph",
    "Node",
    "Player",
    "Surface",
    "Trace",
    "Unrolled",
    "Verdict",
    "Walk",
    "compare_through_time",
    "critical_points",
    "curvature",
    "diff",
    "embed",
    "embedding",
    "explain",
    "graph_of",
    "landscape",
    "pca_directions",
    "play",
    "random_directions",
    "surface",
    "through_time",
    "trace",
    "trajectories",
    "walk",
    "watch",
    "weights",
]

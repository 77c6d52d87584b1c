"""Decision trees that write tokens: compiled from machines, verified exactly, fitted to text.

Source: *On the Power of Decision Trees in Auto-Regressive Language Modeling*, arXiv:2409.19150; chapter
"autoregressive-trees". The constructions follow the paper's idea; their exact counts, the verifier and the converse are ours.
"""

from .ardt import ARDT, Memory
from .compilers import Running, bounds, compile_circuit, compile_dfa, compile_tm, configuration
from .errors import TreeError
from .machines import Circuit, Dfa, Turing
from .tree import Tree
from .verification import Verdict, verify

__all__ = ["ARDT", "Circuit", "Dfa", "Memory", "Running", "Tree", "TreeError", "Turing", "Verdict", "bounds",
           "compile_circuit", "compile_dfa", "compile_tm", "configuration", "verify"]

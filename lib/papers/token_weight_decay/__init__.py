"""Who pays for weight decay: losses of single token types, theory of their price, and decay that spares the rare.

Source: *The Fair Language Model Paradox*, arXiv:2410.11985; chapter "token-weight-decay". The theorems are re-derived here.
"""

from .decay import POLICIES, RowDecay, param_groups, token_matrices
from .errors import LedgerError
from .ledger import Bin, Report, TokenLedger, windows
from .theory import front, half_time, linear_loss, threshold, ufm_loss

__all__ = [
    "Bin", "LedgerError", "POLICIES", "Report", "RowDecay", "TokenLedger", "front", "half_time", "linear_loss",
    "param_groups", "threshold", "token_matrices", "ufm_loss", "windows"
]

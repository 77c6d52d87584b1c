"""Why deep attention and message passing forget, and centering: the mean value is subtracted from what is attended to.

Source: *Centered Self-Attention Layers*, arXiv:2306.01610; chapter "centered-attention". Theorems and constants are ours.
"""

from .errors import CenteringError
from .graphs import CenteredConv, random_walk
from .operators import CenteredAttention, center, centered_attention, visible_mean
from .smoothing import Profile, contraction, effective_rank, residual, smoothing_profile, token_cosine

__all__ = [
    "CenteredAttention", "CenteredConv", "CenteringError", "Profile", "center", "centered_attention", "contraction",
    "effective_rank", "random_walk", "residual", "smoothing_profile", "token_cosine", "visible_mean"
]

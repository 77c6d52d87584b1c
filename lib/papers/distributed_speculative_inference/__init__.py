"""Can speculation always pay? Closed forms, a simulator and a lossless engine for speculative inference in parallel.

Source: *Distributed Speculative Inference (DSI): Speculation Parallelism for Provably Faster Lossless Language Model
Inference*, arXiv:2405.14105; chapter "distributed-speculative-inference". ``plan`` predicts latencies, ``measure`` finds what
it needs of a pair of Hugging Face causal language models, ``generate`` and ``Engine`` run plain decoding, SI and DSI.
"""

from .choice import Greedy, Rejection, SharedNoise
from .coordinator import Coordinator, Task
from .engine import METHODS, Answer, Engine, generate, plain, si
from .errors import SpeculationError
from .forms import dsi_forwards, dsi_rate, dsi_times, least_lookahead, servers_needed, si_forwards, si_rate, si_times
from .planning import Adaptive, Measured, Plan, acceptance_rate, measure, plan
from .simulation import Simulated, simulate
from .speakers import Speaker

__all__ = ["METHODS", "Adaptive", "Answer", "Coordinator", "Engine", "Greedy", "Measured", "Plan", "Rejection", "SharedNoise",
           "Simulated", "Speaker", "SpeculationError", "Task", "acceptance_rate", "dsi_forwards", "dsi_rate", "dsi_times",
           "generate", "least_lookahead", "measure", "plain", "plan", "servers_needed", "si", "si_forwards", "si_rate",
           "si_times", "simulate"]

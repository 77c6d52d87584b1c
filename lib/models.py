"""Small networks that several chapters train: plain modules, no buffers, so that ensembles of them can be stacked."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Mlp(nn.Module):
    """Fully connected ReLU net without biases; ``widths`` holds input, hidden and output widths."""

    def __init__(self, widths: list[int]):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(i, o, bias=False) for i, o in zip(widths, widths[1:]))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = layer(x).relu()
        return self.layers[-1](x)


class Block(nn.Module):
    """Two 3 x 3 convolutions with group norm, added to the input (through a 1 x 1 convolution where shapes differ)."""

    def __init__(self, n_in: int, n_out: int, stride: int):
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(min(8, n_in), n_in), nn.GroupNorm(min(8, n_out), n_out)
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.skip = nn.Conv2d(n_in, n_out, 1, stride, bias=False) if n_in != n_out or stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.norm1(x))
        return self.skip(x) + self.conv2(F.relu(self.norm2(self.conv1(h))))


class ResNet(nn.Module):
    """Residual conv net with group norm for images [n, channels, s, s].

    ``blocks`` residual blocks in each of ``len(widths)`` stages, the first stage at full resolution, each later one at
    half; then a mean over positions, a hidden fully connected layer of width ``hidden`` (none where 0), and the output.
    With widths (64, 128, 256, 512) and two blocks a stage it is the ResNet-18 of the CIFAR literature with group norm.
    """

    def __init__(self, channels: int, n_out: int, widths: tuple[int, ...] = (64, 128, 256, 512), blocks: int = 2,
                 hidden: int = 0):
        super().__init__()
        self.stem = nn.Conv2d(channels, widths[0], 3, 1, 1, bias=False)
        stages, before = [], widths[0]
        for i, w in enumerate(widths):
            for k in range(blocks):
                stages.append(Block(before, w, 2 if i and not k else 1))
                before = w
        self.stages = nn.Sequential(*stages)
        self.norm = nn.GroupNorm(min(8, before), before)
        self.hidden = nn.Linear(before, hidden, bias=False) if hidden else None
        self.head = nn.Linear(hidden or before, n_out, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.norm(self.stages(self.stem(x)))).mean((2, 3))
        if self.hidden is not None:
            h = F.relu(self.hidden(h))
        return self.head(h)


def rotary(n: int, width: int, base: float = 10_000.0, device: str | torch.device = "cpu") -> tuple[Tensor, Tensor]:
    """Cosines and sines [n, width / 2] of the rotary position code for n positions of a head of even width."""
    angle = torch.arange(n, device=device)[:, None] * base ** (-torch.arange(0, width, 2, device=device) / width)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, code: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary position code applied to queries or keys [..., n, width]."""
    (c, s), (a, b) = code, x.chunk(2, -1)
    return torch.cat([a * c - b * s, a * s + b * c], -1)


class Attention(nn.Module):
    """Causal (or full) self-attention with rotary positions."""

    def __init__(self, d: int, heads: int, causal: bool):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv, self.out = nn.Linear(d, 3 * d, bias=False), nn.Linear(d, d, bias=False)

    def forward(self, x: Tensor, code: tuple[Tensor, Tensor]) -> Tensor:
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(-3, -2) for t in self.qkv(x).chunk(3, -1))
        h = F.scaled_dot_product_attention(rotate(q, code), rotate(k, code), v, is_causal=self.causal)
        return self.out(h.transpose(-3, -2).flatten(-2))


class TransformerBlock(nn.Module):
    """RMS norm, attention, RMS norm, gated feed-forward layer (SwiGLU), each with a skip."""

    def __init__(self, d: int, heads: int, causal: bool):
        super().__init__()
        inner = 8 * round(d * 8 / 3 / 8)
        self.norm1, self.norm2 = nn.RMSNorm(d), nn.RMSNorm(d)
        self.attention = Attention(d, heads, causal)
        self.gate, self.up, self.down = (nn.Linear(i, o, bias=False) for i, o in ((d, inner), (d, inner), (inner, d)))

    def forward(self, x: Tensor, code: tuple[Tensor, Tensor]) -> Tensor:
        x = x + self.attention(self.norm1(x), code)
        h = self.norm2(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Gpt(nn.Module):
    """Decoder-only transformer: rotary positions, RMS norm, SwiGLU, untied output; tokens [n, T] -> logits [n, T, V]."""

    def __init__(self, vocabulary: int, d: int = 512, layers: int = 6, heads: int = 8):
        super().__init__()
        self.d, self.heads = d, heads
        self.embed = nn.Embedding(vocabulary, d)
        self.blocks = nn.ModuleList(TransformerBlock(d, heads, True) for _ in range(layers))
        self.norm, self.head = nn.RMSNorm(d), nn.Linear(d, vocabulary, bias=False)
        for p in self.parameters():
            if p.ndim > 1:
                nn.init.normal_(p, std=0.02)

    def forward(self, ids: Tensor) -> Tensor:
        x, code = self.embed(ids), rotary(ids.shape[-1], self.d // self.heads, device=ids.device)
        for block in self.blocks:
            x = block(x, code)
        return self.head(self.norm(x))


class RowTransformer(nn.Module):
    """Transformer that reads an image [n, rows * columns] as a sequence of rows and gives class scores."""

    def __init__(self, rows: int, columns: int, n_out: int, d: int = 32, layers: int = 2, heads: int = 2):
        super().__init__()
        self.shape, self.d, self.heads = (rows, columns), d, heads
        self.embed = nn.Linear(columns, d, bias=False)
        self.blocks = nn.ModuleList(TransformerBlock(d, heads, False) for _ in range(layers))
        self.norm, self.head = nn.RMSNorm(d), nn.Linear(d, n_out, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x, code = self.embed(x.unflatten(-1, self.shape)), rotary(self.shape[0], self.d // self.heads, device=x.device)
        for block in self.blocks:
            x = block(x, code)
        return self.head(self.norm(x).mean(-2))

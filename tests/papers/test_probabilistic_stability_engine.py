"""The simulation engine of `lib.papers.probabilistic_stability` against plain NumPy loops, on every thread count and
layout.
"""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from lib.papers import probabilistic_stability as ps
from lib.papers.probabilistic_stability import _cuda, engine


@pytest.fixture(autouse=True)
def threads_from_the_first_step(monkeypatch):
    monkeypatch.setattr(engine, "_WORTH_A_THREAD", 1)


def loop_two_parameter(u, w, lam, G, R, limit=1e3):
    u, w, rate = u.copy(), w.copy(), np.broadcast_to(lam, u.shape).astype(u.dtype)
    for t in range(R.shape[0]):
        r = rate * (R[t] - u * w * G[t])
        u, w = u + r * w, w + r * u
        rate = np.where(u * u + w * w < limit**2, rate, 0)
    return u, w, rate == 0


def two_parameter_case(n=2500, T=120, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    G, R = ps.draw_statistics(rng, T, n, 0.5, 3.0, 1, dtype)
    u, w = (rng.normal(size=n).astype(dtype) for _ in range(2))
    return u, w, rng.uniform(0.02, 0.9, n), G, R


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_two_parameter_has_the_bits_of_the_plain_loop(dtype):
    u, w, lam, G, R = two_parameter_case(dtype=dtype)
    got = ps.two_parameter(u, w, lam, G, R)
    want = loop_two_parameter(u, w, lam.astype(dtype), G, R)
    assert 0.05 < want[2].mean() < 0.95  # both kinds of chains are there
    for a, b in zip(got, want):
        np.testing.assert_array_equal(a, b)
    assert np.isfinite(got.u).all() and got.u.dtype == dtype
    assert np.all(np.hypot(got.u, got.w)[got.diverged] >= 999) and np.all(np.hypot(got.u, got.w)[~got.diverged] < 1e3)


def test_two_parameter_layouts_threads_and_pieces():
    u, w, lam, G, R = two_parameter_case(n=4096)
    one = ps.two_parameter(u, w, lam, G, R)
    halves = ps.two_parameter(u, w, lam, G[:50], R[:50])
    halves = ps.two_parameter(halves.u, halves.w, lam, G[50:], R[50:], diverged=halves.diverged)
    others = [
        ps.two_parameter(u, w, lam, G, R, threads=2),
        ps.two_parameter(u, w, lam, G, R, threads=3),
        ps.two_parameter(u, w, lam, ps.blocked(G, 512), ps.blocked(R, 512), threads=2),
        ps.two_parameter(u, w, lam, np.asfortranarray(G), R),
        halves,
        ps.two_parameter(*(torch.from_numpy(a) for a in (u, w, lam, G, R))),
    ]
    for other in others:
        for a, b in zip(one, other):
            np.testing.assert_array_equal(a, b)
    assert isinstance(others[-1].u, torch.Tensor)


def test_two_parameter_signs_as_bytes():
    rng = np.random.default_rng(0)
    n, T = 1500, 200
    signs = rng.choice(np.array([-1, 1], np.int8), size=(T, n))
    u = w = np.full(n, 0.1)
    lam = np.linspace(0.05, 2.2, n)
    want = loop_two_parameter(u, w, lam, np.ones((T, n)), signs.astype(float))
    for got in (ps.two_parameter(u, w, lam, 1, signs), ps.two_parameter(u, w, lam, np.ones(n), signs, threads=2)):
        for a, b in zip(got, want):
            np.testing.assert_array_equal(a, b)
    assert want[2].any() and not want[2].all()


def test_engine_does_not_change_its_input():
    u, w, lam, G, R = two_parameter_case(n=64, T=5)
    before = u.copy(), w.copy(), lam.copy(), R.copy()
    ps.two_parameter(u, w, lam, G, R)
    for a, b in zip(before, (u, w, lam, R)):
        np.testing.assert_array_equal(a, b)


def loop_matrices(U, W, lam, x, y, limit=1e3):
    U, W, rate = U.copy(), W.copy(), np.broadcast_to(lam, U.shape[:1]).astype(float)
    for t in range(x.shape[0]):
        h = W @ x[t]
        e = (U @ h - y[t]) * (rate / x.shape[3])[:, None, None]
        U, W = U - e @ h.transpose(0, 2, 1), W - U.transpose(0, 2, 1) @ e @ x[t].transpose(0, 2, 1)
        rate = np.where((np.abs(U).max((1, 2)) < limit) & (np.abs(W).max((1, 2)) < limit), rate, 0)
    return U, W, rate == 0


def matrix_case(B, d_out, d_hid, d_in, S, T=40, seed=0):
    rng = np.random.default_rng(seed)
    U, W = rng.normal(size=(B, d_out, d_hid)), rng.normal(size=(B, d_hid, d_in))
    x = rng.normal(size=(T, B, d_in, S))
    y = rng.normal(size=(d_out, d_in)) @ x + rng.normal(size=(T, B, d_out, S))
    return 0.3 * U, 0.3 * W, rng.uniform(0.005, 0.3, B), x, y


@pytest.mark.parametrize("shape", [(70, 6, 6, 6, 4), (5, 2, 7, 3, 1), (130, 1, 1, 1, 2), (9, 3, 5, 4, 9)])
def test_matrix_factorisation_equals_the_plain_loop(shape):
    case = matrix_case(*shape)
    got, want = ps.matrix_factorisation(*case), loop_matrices(*case)
    np.testing.assert_array_equal(got.diverged, want[2])
    ok = ~want[2]
    assert ok.any()
    np.testing.assert_allclose(got.u[ok], want[0][ok], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(got.w[ok], want[1][ok], rtol=1e-9, atol=1e-12)
    assert np.isfinite(got.u).all()
    for threads in (2, 3):
        again = ps.matrix_factorisation(*case, threads=threads)
        for a, b in zip(got, again):
            np.testing.assert_array_equal(a, b)


def test_matrix_factorisation_tight_on_a_calm_case():
    U, W, _, x, y = matrix_case(20, 6, 6, 6, 4, T=60)
    got, want = ps.matrix_factorisation(U, W, 0.01, x, y), loop_matrices(U, W, 0.01, x, y)
    assert not want[2].any()
    np.testing.assert_allclose(got.u, want[0], atol=1e-12, rtol=0)
    np.testing.assert_allclose(got.w, want[1], atol=1e-12, rtol=0)
    single = ps.matrix_factorisation(*(a.astype(np.float32) for a in (U, W)), 0.01, x.astype(np.float32), y)
    np.testing.assert_allclose(single.u, want[0], atol=1e-4)


def test_tanh_net_equals_the_plain_loop():
    rng = np.random.default_rng(0)
    n, H, T = 40, 16, 100
    u, w = 0.3 * rng.normal(size=(2, n, H))
    x = rng.normal(size=(T, n))
    y = x + 4 * rng.normal(size=(T, n))
    lam = np.linspace(0.01, 0.1, n)
    want = _cuda.tanh_net(*(torch.from_numpy(a) for a in (u, w, lam, x, y)), 1e3, None)
    got = ps.tanh_net(u, w, lam, x, y, threads=2)
    np.testing.assert_allclose(got.u, want[0], atol=1e-12)
    np.testing.assert_allclose(got.w, want[1], atol=1e-12)
    np.testing.assert_array_equal(got.diverged, want[2])
    np.testing.assert_array_equal(ps.tanh_net(u, w, lam, x, y).u, got.u)


def test_torch_loops_agree_with_the_kernels():
    case = two_parameter_case()
    want = ps.two_parameter(*case)
    tensors = [torch.from_numpy(a) for a in case]
    for a, b in zip(want, _cuda.two_parameter(*tensors, 1e3, None, fused=False)):
        np.testing.assert_array_equal(a, b)
    three = [*tensors[:3], *(ps.blocked(a[:, :2048], 512) for a in tensors[3:])]
    three[:3] = [a[:2048] for a in three[:3]]
    np.testing.assert_array_equal(_cuda.two_parameter(*three, 1e3, None, fused=False)[0], want.u[:2048])
    case = matrix_case(70, 6, 6, 6, 4)
    want = ps.matrix_factorisation(*case)
    got = _cuda.matrix_factorisation(*(torch.from_numpy(a) for a in case), 1e3, None)
    np.testing.assert_array_equal(want.diverged, got[2])
    np.testing.assert_allclose(want.u[~want.diverged], got[0][~got[2]], rtol=1e-9, atol=1e-12)


def test_missing_triton_warns_once(monkeypatch):
    monkeypatch.setitem(sys.modules, "lib.papers.probabilistic_stability._kernel_triton", None)
    monkeypatch.setattr(_cuda, "_warned", False)
    tensors = [torch.from_numpy(a) for a in two_parameter_case(n=16, T=3)]
    with pytest.warns(UserWarning, match="triton is not installed"):
        _cuda.two_parameter(*tensors, 1e3, None, fused=True)


def test_fused_kernel_in_the_interpreter():
    """The GPU kernel, interpreted on the CPU, has the bits of the CPU kernel."""
    pytest.importorskip("triton")
    code = (
        "import numpy as np, torch\n"
        "from lib.papers import probabilistic_stability as ps\n"
        "from lib.papers.probabilistic_stability import _cuda\n"
        "rng = np.random.default_rng(0)\n"
        "G, R = ps.draw_statistics(rng, 60, 300, 0.5, 3.0)\n"
        "u, lam = np.full(300, 0.1), rng.uniform(0.02, 0.9, 300)\n"
        "a = ps.two_parameter(u, u, lam, G, R)\n"
        "b = _cuda.two_parameter(*map(torch.from_numpy, (u, u, lam, G, R)), 1e3, None, fused=True)\n"
        "assert np.array_equal(a.u, b[0]) and np.array_equal(a.diverged, b[2]) and a.diverged.any()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "TRITON_INTERPRET": "1"})


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_has_the_bits_of_the_cpu():
    case = two_parameter_case()
    got = ps.two_parameter(*(torch.from_numpy(a).cuda() for a in case))
    for a, b in zip(ps.two_parameter(*case), got):
        np.testing.assert_array_equal(a, b.cpu())


def test_kernels_compile_where_no_cache_can_be_written(monkeypatch):
    import numba.core.caching as caching

    from lib.papers.probabilistic_stability import _kernels_numba as kernels

    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    assert kernels._jit(lambda a: a + 1)(1) == 2


def test_draws_have_the_law_of_plain_batches():
    rng = np.random.default_rng(0)
    G, R = ps.draw_statistics(rng, 500, 400, 0.5, 8.0, 4)
    assert G.mean() == pytest.approx(1, abs=0.01) and G.var() == pytest.approx(0.5, rel=0.03)
    assert R.mean() == pytest.approx(0.5, abs=0.05)
    assert R.var() == pytest.approx(ps.regression_signal(0.5, 8.0, 4).second - 0.25, rel=0.03)
    V = np.arange(12.0).reshape(3, 4) / 10
    for S in (2, 4, 9):
        x, y = ps.draw_batches(rng, 100, 300, V, 3.0, S)
        X = rng.normal(size=(100, 300, 4, S))
        Y = V @ X + 3 * rng.normal(size=(100, 300, 3, S))
        assert x.shape == (100, 300, 4, min(S, 4)) and y.shape == (100, 300, 3, min(S, 4))
        for a, b, A, B in [(x, x, X, X), (y, x, Y, X)]:
            ours = a @ b.swapaxes(2, 3) / a.shape[3]
            plain = A @ B.swapaxes(2, 3) / S
            np.testing.assert_allclose(ours.mean((0, 1)), plain.mean((0, 1)), atol=0.06)
            np.testing.assert_allclose(ours.var((0, 1)), plain.var((0, 1)), rtol=0.1, atol=0.02)


@pytest.mark.parametrize(
    "call",
    [
        lambda u, w, lam, G, R: ps.two_parameter(u[:5], w, lam, G, R),
        lambda u, w, lam, G, R: ps.two_parameter(u, w, lam, G, R[:, :5]),
        lambda u, w, lam, G, R: ps.two_parameter(u, w, lam, G[:3], R),
        lambda u, w, lam, G, R: ps.two_parameter(u, w, -lam, G, R),
        lambda u, w, lam, G, R: ps.two_parameter(u, w, lam[:3], G, R),
        lambda u, w, lam, G, R: ps.two_parameter(u, w, lam, G, R[0]),
        lambda u, w, lam, G, R: ps.two_parameter(u.astype(int), w, lam, G, R),
        lambda u, w, lam, G, R: ps.two_parameter(u, w, lam, G, R, threads=0),
        lambda u, w, lam, G, R: ps.two_parameter(u, w, lam, G, R, limit=-1),
        lambda u, w, lam, G, R: ps.two_parameter(u, w, lam, np.ones(3), R),
        lambda u, w, lam, G, R: ps.blocked(R, 7),
        lambda u, w, lam, G, R: ps.matrix_factorisation(u, w, lam, G, R),
        lambda u, w, lam, G, R: ps.tanh_net(u[:, None], w[:, None], lam, G[:, :4], R),
    ],
)
def test_bad_engine_input(call):
    with pytest.raises(ValueError, match=r"^[^\n]{20,200}\.$"):
        call(*two_parameter_case(n=64, T=5))

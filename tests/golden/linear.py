#!/usr/bin/env python3
"""Writes tests/golden/linear.json: families of linear attention as flash-linear-attention defines them, in f64.

    python3 -m venv venv
    venv/bin/pip install numpy==2.4.6 torch==2.15.0 flash-linear-attention==0.6.0
    venv/bin/python tests/golden/linear.py

Its definitions (fla/ops/*/naive.py) ask for f32 by name; here that name stands for f64.

Keys of the JSON, one list each:

families   one sequence of a family. "gate": none, head, token, channel; "rule": add, bonus, delta, low_rank. Tensors are flat:
           q [n, q_heads, d_k], k [n, k_heads, d_k], v and o [n, heads, d_v], gates [heads] | [n, heads] | [n, heads, d_k],
           beta [n, heads], bonus [heads, d_k], a and b [n, heads, d_k], state and end [heads, d_k, d_v]. "scale" multiplies q,
           "eps" is added to the sum that outputs are divided by, if any.
gates      raw gates of a family and what becomes of them: a_log [heads], dt_bias [heads] or [heads, d_k], raw and gates
           [n, heads] or [n, heads, d_k]; "lower_bound" of KDA's second kind.

All numbers that go in are exact in f32, but for RetNet's gates, whose f32 are the nearest ones: "slack" is what that may move.
"""

import json
import math
import pathlib
import platform
import warnings

import numpy
import torch

warnings.filterwarnings("ignore")
torch.float32 = torch.float = torch.float64
torch.Tensor.float = torch.Tensor.double
torch.set_default_dtype(torch.float64)

import fla
from fla.ops.delta_rule.naive import delta_rule_recurrence
from fla.ops.gated_delta_rule.gate import naive_gdn_gate
from fla.ops.gated_delta_rule.naive import naive_recurrent_gated_delta_rule
from fla.ops.generalized_delta_rule.dplr.naive import dplr_recurrence
from fla.ops.gla.naive import naive_recurrent_gla
from fla.ops.kda.gate import naive_kda_gate, naive_kda_lowerbound_gate
from fla.ops.kda.naive import naive_recurrent_kda
from fla.ops.linear_attn.naive import naive_recurrent_linear_attn
from fla.ops.retention.naive import naive_retention
from fla.ops.rwkv6.recurrent_naive import naive_recurrent_rwkv6
from fla.ops.simple_gla.naive import naive_recurrent_simple_gla

OUT = pathlib.Path(__file__).with_suffix(".json")
# Tokens, heads, and widths of keys and values: one chunk and a ragged one.
N, HEADS, D_K, D_V = 21, 2, 6, 4
RANDOM = numpy.random.default_rng(20240607)


def random(*dims, scale=1.0, shift=0.0):
    """Normal numbers, `scale` times, in steps of 1/256: exact in f32, and short."""
    numbers = RANDOM.standard_normal(dims) * scale + shift
    return torch.from_numpy(numpy.round(numbers * 256) / 256)


def gates(*dims):
    """Mostly mild ones, some of 0, some of -5 and beyond, some resets."""
    g = -random(*dims, scale=0.3).abs()
    kind = torch.from_numpy(RANDOM.integers(0, 12, dims))
    return torch.where(kind == 0, 0.0, torch.where(kind == 1, 16 * g - 5, torch.where(kind == 2, -1e4, g)))


def swapped(*tensors):
    """`[b, n, heads, ..]` to `[b, heads, n, ..]`, or back."""
    return [x.transpose(1, 2) for x in tensors]


def flat(tensor):
    return [0.0 if x == 0 else x for x in tensor.reshape(-1).tolist()]


def family(name, gate, rule, compute, k_heads=HEADS, **tensors):
    inputs = dict(
        q=random(1, N, k_heads, D_K), k=random(1, N, k_heads, D_K, scale=D_K**-0.5), v=random(1, N, HEADS, D_V),
        state=random(1, HEADS, D_K, D_V),
    )
    inputs |= tensors
    o, end = compute(**inputs)
    extra = {key: value for key, value in inputs.items() if torch.is_tensor(value)}
    return dict(
        name=name, gate=gate, rule=rule, n=N, q_heads=k_heads, k_heads=k_heads, heads=HEADS, d_k=D_K, d_v=D_V,
        scale=D_K**-0.5, **{key: flat(value) for key, value in extra.items()}, o=flat(o), end=flat(end),
    )


def linear(q, k, v, state):
    return naive_recurrent_linear_attn(q, k, v, initial_state=state, output_final_state=True)


def normalised(q, k, v, state):
    o, (end, _) = naive_recurrent_linear_attn(q, k, v, initial_state=state, output_final_state=True, normalize=True)
    return o, end


def retention(q, k, v, state):
    assert not state.any(), "fla's retention starts from nothing"
    (o,) = swapped(naive_retention(*swapped(q, k, v)))
    decay = retention_gates()[:, None, None]
    left = torch.exp(decay * torch.arange(N - 1, -1, -1)[:, None])
    end = torch.einsum("bnhk,bnhv,hno->bhkv", k, v, left)
    return o, end


def retention_gates():
    return torch.tensor([math.log1p(-(2.0 ** (-5 - h))) for h in range(HEADS)])


def simple_gla(q, k, v, state, gates):
    return naive_recurrent_simple_gla(q, k, v, gates, initial_state=state)


def gla(q, k, v, state, gates):
    return naive_recurrent_gla(q, k, v, gates, initial_state=state, output_final_state=True)


def rwkv6(q, k, v, state, gates, bonus):
    q, k, v, gates = swapped(q, k, v, gates)
    o, end = naive_recurrent_rwkv6(q, k, v, gates, bonus, initial_state=state, output_final_state=True)
    return o.transpose(1, 2), end


def rwkv7(q, k, v, state, gates, a, b):
    q, k, v, gates, a, b = swapped(q, k, v, gates, a, b)
    o, end = dplr_recurrence(q, k, v, a, b, gates, initial_state=state)
    return o.transpose(1, 2), end


def delta_net(q, k, v, state, beta):
    q, k, v, beta = swapped(q, k, v, beta)
    o, end = delta_rule_recurrence(q, k, v, beta, initial_state=state)
    return o.transpose(1, 2), end


def gated_delta_net(q, k, v, state, gates, beta):
    return naive_recurrent_gated_delta_rule(q, k, v, beta, gates, initial_state=state, output_final_state=True)


def kda(q, k, v, state, gates, beta):
    return naive_recurrent_kda(q, k, v, gates, beta, initial_state=state, output_final_state=True)


def families():
    zeros = torch.zeros(1, HEADS, D_K, D_V)
    by_token, by_channel = (lambda: gates(1, N, HEADS)), (lambda: gates(1, N, HEADS, D_K))
    beta = lambda: random(1, N, HEADS, scale=0.2, shift=0.5).clamp(0, 1)
    low = lambda: random(1, N, HEADS, D_K, scale=0.6 * D_K**-0.5)
    positive = lambda scale: random(1, N, HEADS, D_K, scale=scale).abs() + 1 / 256
    yield family("linear", "none", "add", linear)
    normal = family("normalised", "none", "add", normalised, q=positive(1), k=positive(D_K**-0.5), state=zeros)
    yield normal | dict(eps=1e-10)
    net = family("retnet", "head", "add", retention, state=zeros)
    # A gate errs by 2^-24 of itself, each of N tokens once more; the sums of magnitudes are below 100.
    yield net | dict(gates=flat(retention_gates()), slack=100 * N * 2.0**-29)
    yield family("simple_gla", "token", "add", simple_gla, gates=by_token())
    yield family("gla", "channel", "add", gla, gates=by_channel())
    yield family("rwkv6", "channel", "bonus", rwkv6, gates=by_channel(), bonus=random(HEADS, D_K))
    yield family("rwkv7", "channel", "low_rank", rwkv7, gates=by_channel(), a=low(), b=low())
    yield family("delta_net", "none", "delta", delta_net, beta=beta())
    yield family("gated_delta_net", "token", "delta", gated_delta_net, gates=by_token(), beta=beta())
    yield family("kda", "channel", "delta", kda, gates=by_channel(), beta=beta())
    yield family("kda_shared_keys", "channel", "delta", kda, k_heads=1, gates=by_channel(), beta=beta())


def raw_gates():
    def entry(name, compute, raw, a_log, dt_bias, **more):
        return dict(
            name=name, n=N, heads=HEADS, d_k=D_K, raw=flat(raw), a_log=flat(a_log), dt_bias=flat(dt_bias), **more,
            gates=flat(compute(raw, a_log, dt_bias, *more.values())),
        )

    wide = lambda: (random(1, N, HEADS, D_K, scale=4.0), random(HEADS), random(HEADS, D_K))
    yield entry("gated_delta_net", naive_gdn_gate, random(1, N, HEADS, scale=4.0), random(HEADS), random(HEADS))
    yield entry("kda", naive_kda_gate, *wide())
    yield entry("kda_lower_bound", naive_kda_lowerbound_gate, *wide(), lower_bound=-5.0)


def main():
    written_by = (
        f"python3 tests/golden/linear.py, do not edit; python {platform.python_version()}, torch {torch.__version__}, "
        f"flash-linear-attention {fla.__version__}"
    )
    rows = lambda entries: "[\n" + ",\n".join(json.dumps(e, separators=(",", ":")) for e in entries) + "\n]"
    OUT.write_text(
        f'{{"written_by":{json.dumps(written_by)},\n"families":{rows(families())},\n"gates":{rows(raw_gates())}\n}}\n'
    )


if __name__ == "__main__":
    main()

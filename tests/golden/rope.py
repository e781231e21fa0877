#!/usr/bin/env python3
"""Writes tests/golden/rope.json: rotary and sinusoidal positions, exact ones and those of transformers.

    python3 -m venv venv
    venv/bin/pip install mpmath==1.3.0 numpy==2.4.6 torch==2.15.0 transformers==5.24.0
    venv/bin/python tests/golden/rope.py

Keys of the JSON, one list each:

turns         exact frequencies f_t of a configuration in turns, round(2^64 f_t / 2 pi) mod 2^64 as 16 hex digits for
              t = 0 .. rot_dim/2, from the formulas below at 60 digits; "amplitude" multiplies cos and sin,
              "softmax_factor" the scale of the scores
hugging_face  what transformers computes instead: bits of f32 numbers as 8 hex digits. "inv_freq" is from torch without
              vector code, where every operation is correctly rounded, the power too; "vector" says for which pairs t
              torch's avx2 code (and its avx512 code, the same) has other bits. "tables" holds, for a position,
              torch.cos and torch.sin of the f32 angles position * inv_freq, before the attention factor multiplies
table         exact cos and sin of position * theta_base^(-2t/rot_dim)
sinusoidal    exact sin and cos of position * 10000^(-2i/d) ("spacing": "interleaved") and of
              position * 10000^(-i/(d/2-1)) ("spacing": "endpoint": tensor2tensor, Whisper)

Numbers with more than 15 digits are strings. All other numbers are exact in f64 once parsed, and mean that f64.
cos and sin in "tables" come from the mathematical library that torch was linked with: now and then the neighbour of
the nearest f32 (the script counts), and perhaps another one on another processor.
"""

import json
import math
import os
import pathlib
import platform
import subprocess
import sys

os.environ.setdefault("ATEN_CPU_CAPABILITY", "default")  # torch reads it when it is imported

import mpmath
import numpy
import torch
import transformers
from mpmath import mp, mpf
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

mp.dps = 60
OUT = pathlib.Path(__file__).with_suffix(".json")

# ---------------------------------------------------------------------------------------------------- formulas

def geometric(base, r):
    """f_t = base^(-2t/r) (Su et al., arXiv 2104.09864)."""
    return [mpf(base) ** (-mpf(2 * t) / r) for t in range(r // 2)]


def ntk_base(base, r, stretch):
    return mpf(base) * mpf(stretch) ** (mpf(r) / (r - 2))


def dynamic_stretch(s):
    n = max(s["length"], s["trained_len"])
    return mpf(s["factor"]) * n / s["trained_len"] - (mpf(s["factor"]) - 1)


def yarn_range(base, r, s):
    """The pairs between which frequencies go from unchanged to divided (arXiv 2309.00071, section 3.2)."""
    def pair(rotations):
        return r * mp.log(s["original_len"] / (2 * mp.pi * mpf(rotations))) / (2 * mp.log(base))

    low, high = pair(s["beta_fast"]), pair(s["beta_slow"])
    if s["truncate"]:
        low, high = mp.floor(low), mp.ceil(high)
    low, high = max(low, 0), min(high, r - 1)
    return low, high + mpf(1) / 1000 if low == high else high


def yarn(base, r, s):
    low, high = yarn_range(base, r, s)
    ramp = [min(max((t - low) / (high - low), 0), 1) for t in range(r // 2)]
    return [f / s["factor"] * w + f * (1 - w) for f, w in zip(geometric(base, r), ramp)]


def llama3(base, r, s):
    def scaled(f):
        wavelength = 2 * mp.pi / f
        if wavelength < mpf(s["original_len"]) / s["high"]:
            return f
        if wavelength > mpf(s["original_len"]) / s["low"]:
            return f / s["factor"]
        smooth = (s["original_len"] / wavelength - s["low"]) / (mpf(s["high"]) - s["low"])
        return (1 - smooth) * f / s["factor"] + smooth * f

    return [scaled(f) for f in geometric(base, r)]


def longrope(base, r, s):
    factors = s["long_factors"] if s["length"] > s["original_len"] else s["short_factors"]
    return [f / mpf(x) for f, x in zip(geometric(base, r), factors, strict=True)]


FREQUENCIES = {
    "none": lambda base, r, s: geometric(base, r),
    "linear": lambda base, r, s: [f / mpf(s["factor"]) for f in geometric(base, r)],
    "ntk": lambda base, r, s: geometric(ntk_base(base, r, s["factor"]), r),
    "dynamic_ntk": lambda base, r, s: geometric(ntk_base(base, r, dynamic_stretch(s)), r),
    "yarn": yarn,
    "llama3": llama3,
    "longrope": longrope,
}


def g(factor, m):
    return mpf(1) if factor <= 1 else mpf(m) / 10 * mp.log(factor) + 1


def amplitude(s):
    if s.get("attention_factor") is not None:
        return mpf(s["attention_factor"])
    if s["kind"] == "yarn":
        if s["mscale"] and s["mscale_all_dim"]:
            return g(s["factor"], s["mscale"]) / g(s["factor"], s["mscale_all_dim"])
        return g(s["factor"], 1)
    if s["kind"] == "longrope" and s["factor"] > 1:
        return mp.sqrt(1 + mp.log(s["factor"]) / mp.log(s["original_len"]))
    return mpf(1)

# ---------------------------------------------------------------------------------------------- configurations

def yarn_scaling(factor, original_len, **knobs):
    defaults = dict(beta_fast=32.0, beta_slow=1.0, truncate=True, attention_factor=None, mscale=None, mscale_all_dim=None)
    return dict(kind="yarn", factor=factor, original_len=original_len) | defaults | knobs


def llama3_scaling(factor):
    return dict(kind="llama3", factor=factor, low=1.0, high=4.0, original_len=8192)


def longrope_scaling(length, attention_factor=None):
    """Factors that grow as those of Phi-3 do: near 1 for fast pairs, tens for slow ones."""
    return dict(
        kind="longrope", factor=32.0, original_len=4096, length=length, attention_factor=attention_factor,
        short_factors=[round(1 + 0.03 * t + (t * 37 % 11) / 100, 2) for t in range(48)],
        long_factors=[round(1.05 + 62 * (t / 47) ** 3 + (t * 29 % 13) / 100, 2) for t in range(48)],
    )


NONE = dict(kind="none")
CONFIGURATIONS = [
    ("plain", 1e4, 128, NONE),
    ("plain_32", 1e4, 32, NONE),
    ("plain_80", 1e5, 80, NONE),
    ("plain_256", 1e6, 256, NONE),
    ("llama_3", 5e5, 128, NONE),
    ("linear", 1e4, 128, dict(kind="linear", factor=4.0)),
    ("ntk", 1e4, 128, dict(kind="ntk", factor=2.0)),
    ("dynamic_ntk", 1e4, 128, dict(kind="dynamic_ntk", factor=2.0, trained_len=4096, length=8192)),
    ("dynamic_ntk_short", 1e4, 64, dict(kind="dynamic_ntk", factor=4.0, trained_len=2048, length=100)),
    ("dynamic_ntk_odd", 1e4, 80, dict(kind="dynamic_ntk", factor=2.5, trained_len=2048, length=10007)),
    ("llama_3_1", 5e5, 128, llama3_scaling(8.0)),
    ("llama_3_2", 5e5, 64, llama3_scaling(32.0)),
    ("gpt_oss", 150000.0, 64, yarn_scaling(32.0, 4096, truncate=False)),
    ("gpt_oss_truncated", 150000.0, 64, yarn_scaling(32.0, 4096)),
    ("deepseek_v3", 1e4, 64, yarn_scaling(40.0, 4096, mscale=1.0, mscale_all_dim=1.0)),
    ("yarn_two_mscales", 1e4, 64, yarn_scaling(40.0, 4096, mscale=1.0, mscale_all_dim=0.707)),
    ("qwen_2_5", 1e6, 128, yarn_scaling(4.0, 32768)),
    ("yarn_narrow", 1e6, 96, yarn_scaling(16.0, 8192, beta_fast=4.0, beta_slow=4.0, truncate=False, attention_factor=1.25)),
    ("longrope_short", 1e4, 96, longrope_scaling(4096)),
    ("longrope_long", 1e4, 96, longrope_scaling(4097)),
    ("longrope_attention", 1e4, 96, longrope_scaling(131072, attention_factor=1.19)),
]


def turns():
    def entry(name, base, r, s):
        f = FREQUENCIES[s["kind"]](base, r, s)
        u = [int(mp.nint(2**64 * f / (2 * mp.pi))) % 2**64 for f in f]
        return dict(
            name=name, theta_base=base, rot_dim=r, scaling=s, amplitude=mp.nstr(amplitude(s), 17),
            softmax_factor=mp.nstr(g(s.get("factor", 1), s.get("mscale_all_dim") or 0) ** 2, 17),
            turns=[f"{u:016x}" for u in u],
        )

    return [entry(*configuration) for configuration in CONFIGURATIONS]

# ------------------------------------------------------------------------------------------------- transformers

LLAMA3_HF = dict(rope_type="llama3", low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192)
GPT_OSS_HF = dict(
    rope_type="yarn", factor=32.0, beta_fast=32.0, beta_slow=1.0, original_max_position_embeddings=4096, truncate=False,
)
DEEPSEEK_HF = dict(
    rope_type="yarn", factor=40.0, beta_fast=32.0, beta_slow=1.0, original_max_position_embeddings=4096,
    mscale=1.0, mscale_all_dim=1.0,
)
LONGROPE_HF = dict(
    rope_type="longrope", factor=32.0, original_max_position_embeddings=4096,
    short_factor=longrope_scaling(0)["short_factors"], long_factor=longrope_scaling(0)["long_factors"],
)
POSITIONS = [0, 1, 1000, 4095, 131071, 1048575]
# Name of the same configuration above, theta base, head_dim, max_position_embeddings, seq_len, rope_parameters.
HUGGING_FACE = [
    ("plain", 1e4, 128, 4096, None, dict(rope_type="default")),
    ("plain_32", 1e4, 32, 4096, None, dict(rope_type="default")),
    ("plain_80", 1e5, 80, 4096, None, dict(rope_type="default")),
    ("plain_256", 1e6, 256, 4096, None, dict(rope_type="default")),
    ("llama_3", 5e5, 128, 8192, None, dict(rope_type="default")),
    ("linear", 1e4, 128, 16384, None, dict(rope_type="linear", factor=4.0)),
    # transformers passes the length as a tensor, and then computes the new base in f32; a caller may pass an int.
    ("dynamic_ntk", 1e4, 128, 4096, 8192, dict(rope_type="dynamic", factor=2.0)),
    ("dynamic_ntk", 1e4, 128, 4096, torch.tensor(8192), dict(rope_type="dynamic", factor=2.0)),
    ("dynamic_ntk_odd", 1e4, 80, 2048, 10007, dict(rope_type="dynamic", factor=2.5)),
    ("dynamic_ntk_odd", 1e4, 80, 2048, torch.tensor(10007), dict(rope_type="dynamic", factor=2.5)),
    ("llama_3_1", 5e5, 128, 131072, None, LLAMA3_HF | dict(factor=8.0)),
    ("llama_3_2", 5e5, 64, 131072, None, LLAMA3_HF | dict(factor=32.0)),
    ("gpt_oss", 150000.0, 64, 131072, None, GPT_OSS_HF),
    ("gpt_oss_truncated", 150000.0, 64, 131072, None, GPT_OSS_HF | dict(truncate=True)),
    ("deepseek_v3", 1e4, 64, 163840, None, DEEPSEEK_HF),
    ("yarn_two_mscales", 1e4, 64, 163840, None, DEEPSEEK_HF | dict(mscale_all_dim=0.707)),
    ("qwen_2_5", 1e6, 128, 131072, None, dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=32768)),
    ("longrope_short", 1e4, 96, 131072, 4096, LONGROPE_HF),
    ("longrope_long", 1e4, 96, 131072, 4097, LONGROPE_HF),
]
WITH_TABLES = {"plain", "llama_3_1", "gpt_oss"}


def bits(tensor):
    return [f"{x:08x}" for x in tensor.detach().numpy().astype(numpy.float32).view(numpy.uint32).tolist()]


def rounded(x):
    """The f32 nearest to an mpf; its neighbours are tried because rounding twice, through f64, can miss it."""
    near = numpy.float32(float(x))
    neighbours = [numpy.nextafter(near, numpy.float32(end)) for end in (-math.inf, math.inf)]
    return min([near, *neighbours], key=lambda c: abs(mpf(float(c)) - x))


def initialise(config, seq_len):
    """What LlamaRotaryEmbedding does: the default rule is its own, the others are in a table."""
    kind = config.rope_parameters["rope_type"]
    if kind == "default":
        return LlamaRotaryEmbedding.compute_default_rope_parameters(config)
    return ROPE_INIT_FUNCTIONS[kind](config, None, seq_len)


def tables(name, config, inv_freq, attention_factor):
    """torch.cos and torch.sin of f32 angles, and how often they are not the f32 nearest to the exact value."""
    rope = LlamaRotaryEmbedding(config)
    assert torch.equal(rope.inv_freq, inv_freq)
    missed, out = {"cos": 0, "sin": 0}, []
    for position in POSITIONS:
        angles = torch.tensor([float(position)])[:, None].float() * inv_freq
        values = {"cos": angles.cos()[0], "sin": angles.sin()[0]}
        forward = rope(torch.zeros(1), torch.tensor([[position]]))
        for (which, value), whole in zip(values.items(), forward):
            assert torch.equal(whole[0, 0, : len(value)], value * attention_factor), "one f32 product comes after"
            exact = [getattr(mp, which)(mpf(a)) for a in angles[0].tolist()]
            missed[which] += sum(v != float(rounded(x)) for v, x in zip(value.tolist(), exact))
        out.append(dict(position=position, cos=bits(values["cos"]), sin=bits(values["sin"])))
    print(f"{name}: of {len(POSITIONS) * len(inv_freq)} values each, not correctly rounded: {missed}")
    return out


def missed_powers(base, r):
    """How often torch's f32 power base^(2t/r), of an f32 exponent, is not the nearest f32."""
    exponents = torch.arange(0, r, 2, dtype=torch.int64).float() / r
    exact = [rounded(mpf(base) ** mpf(e)) for e in exponents.tolist()]
    return sum(p != float(x) for p, x in zip((base**exponents).tolist(), exact))


def vector_inv_freq():
    """The frequencies of every configuration as torch's vector code computes them, in a process of its own."""
    env = os.environ | {"ATEN_CPU_CAPABILITY": "avx2"}
    child = subprocess.run([sys.executable, __file__, "inv_freq"], env=env, stdout=subprocess.PIPE, check=True)
    return json.loads(child.stdout)


def inv_freqs():
    """One row of HUGGING_FACE after the other: its config, frequencies, attention factor."""
    for name, base, head_dim, max_len, seq_len, parameters in HUGGING_FACE:
        config = LlamaConfig(
            hidden_size=head_dim, num_attention_heads=1, head_dim=head_dim, max_position_embeddings=max_len,
            rope_parameters=dict(rope_theta=base) | parameters,
        )
        inv_freq, attention_factor = initialise(config, seq_len)
        assert inv_freq.dtype == torch.float32 and len(inv_freq) == head_dim // 2
        yield config, inv_freq, attention_factor


def hugging_face():
    out = []
    for row, computed, vector in zip(HUGGING_FACE, inv_freqs(), vector_inv_freq(), strict=True):
        (name, base, head_dim, max_len, seq_len, parameters), (config, inv_freq, attention_factor) = row, computed
        out.append(dict(
            name=name, theta_base=base, head_dim=head_dim, max_position_embeddings=max_len,
            seq_len=None if seq_len is None else int(seq_len), seq_len_is_tensor=torch.is_tensor(seq_len),
            rope_parameters=parameters, attention_factor=mp.nstr(mpf(attention_factor), 17), inv_freq=bits(inv_freq),
            vector={t: v for t, (s, v) in enumerate(zip(bits(inv_freq), vector)) if s != v},
        ))
        print(f"{name}: torch's vector code differs in the pairs {list(out[-1]['vector'])}")
        if name in WITH_TABLES:
            out[-1]["tables"] = tables(name, config, inv_freq, attention_factor)
    for base, r in sorted({(base, r) for _, base, r, *_ in HUGGING_FACE}):
        print(f"base {base:g}, {r} channels: {missed_powers(base, r)} of {r // 2} powers not correctly rounded")
    return out

# -------------------------------------------------------------------------------------------------- exact values

def table():
    rows = [
        (base, r, t, position)
        for base, r, pairs in [(1e4, 128, [0, 1, 63]), (5e5, 128, [0, 5, 31]), (1e6, 256, [1, 100]), (1e5, 80, [7])]
        for t in pairs
        for position in [1, 131071, 1048575, 2**31, 2**32 - 1, -1048575]
    ]

    def entry(base, r, t, position):
        angle = position * geometric(base, r)[t]
        cos, sin = mp.nstr(mp.cos(angle), 20), mp.nstr(mp.sin(angle), 20)
        return dict(theta_base=base, rot_dim=r, t=t, position=position, cos=cos, sin=sin)

    return [entry(*row) for row in rows]


def sinusoidal():
    rows = [
        (spacing, d, i, position)
        for spacing in ["interleaved", "endpoint"]
        for d, pairs in [(512, [0, 1, 100, 255]), (384, [0, 7, 191])]
        for i in pairs
        for position in [1, 1499, 131071]
    ]

    def entry(spacing, d, i, position):
        exponent = mpf(2 * i) / d if spacing == "interleaved" else mpf(i) / (d // 2 - 1)
        angle = position * mpf(10000) ** -exponent
        sin, cos = mp.nstr(mp.sin(angle), 20), mp.nstr(mp.cos(angle), 20)
        return dict(spacing=spacing, d=d, i=i, position=position, sin=sin, cos=cos)

    return [entry(*row) for row in rows]

# --------------------------------------------------------------------------------------------------------- checks

def check_published():
    """Digits that were published with the formulas; every one printed must come out again."""
    scaling = {name: (base, r, s) for name, base, r, s in CONFIGURATIONS}

    def f(name):
        base, r, s = scaling[name]
        return FREQUENCIES[s["kind"]](base, r, s)

    plain, scaled = f("llama_3"), f("llama_3_1")
    oss, truncated = f("gpt_oss"), f("gpt_oss_truncated")
    assert [t for t in range(64) if scaled[t] != plain[t]][0] == 29, "llama3: first scaled pair"
    assert [t for t in range(64) if scaled[t] == plain[t] / 8][0] == 35, "llama3: first pair divided by 8"
    assert all(scaled[t] == plain[t] / 8 for t in range(35, 64))
    assert yarn_range(*scaling["gpt_oss_truncated"]) == (8, 18)
    published = [
        ("ntk base", ntk_base(1e4, 128, 2), "20221.2617"),
        ("dynamic base", ntk_base(1e4, 128, dynamic_stretch(scaling["dynamic_ntk"][2])), "30527.7367"),
        ("llama3 f[29]", scaled[29], "2.166570764e-3"),
        ("llama3 f[32]", scaled[32], "5.248461610e-4"),
        ("llama3 f[34]", scaled[34], "1.785078128e-4"),
        ("llama3 f[63]", scaled[63], "3.068925989e-7"),
        ("gpt-oss lo", yarn_range(*scaling["gpt_oss"])[0], "8.092779"),
        ("gpt-oss hi", yarn_range(*scaling["gpt_oss"])[1], "17.398025"),
        ("gpt-oss f[8]", oss[8], "5.081327482e-2"),
        ("gpt-oss f[12]", oss[12], "6.794959490e-3"),
        ("gpt-oss f[16]", oss[16], "4.564839192e-4"),
        ("gpt-oss f[31]", oss[31], "3.023511428e-7"),
        ("gpt-oss concentration", amplitude(scaling["gpt_oss"][2]), "1.346573590"),
        ("gpt-oss truncated f[12]", truncated[12], "7.015713911e-3"),
        ("longrope attention factor", amplitude(scaling["longrope_short"][2]), "1.190238071"),
    ]
    for what, value, printed in published:
        unit = mpf(10) ** (int(printed.partition("e")[2] or 0) - len(printed.partition("e")[0].partition(".")[2]))
        assert abs(value - mpf(printed)) <= unit / 2, f"{what}: {mp.nstr(value, 15)}, published {printed}"
    print(f"{len(published)} published numbers reproduced")


def check_exact_against_f32(exact, hf):
    """The two halves agree as far as f32 can: the same formulas, read from different places."""
    exact = {entry["name"]: entry for entry in exact}
    for entry in hf:
        reference = exact[entry["name"]]
        assert math.isclose(float(reference["amplitude"]), float(entry["attention_factor"]), rel_tol=1e-15), entry["name"]
        for u, bits in zip(reference["turns"], entry["inv_freq"], strict=True):
            f = int(u, 16) * 2 * math.pi / 2**64
            inv_freq = float(numpy.uint32(int(bits, 16)).view(numpy.float32))
            assert math.isclose(f, inv_freq, rel_tol=2e-6), (entry["name"], f, inv_freq)


def main():
    check_published()
    versions = [("python", platform.python_version())] + [(m.__name__, m.__version__) for m in (mpmath, numpy, torch, transformers)]
    parts = dict(turns=turns(), hugging_face=hugging_face(), table=table(), sinusoidal=sinusoidal())
    check_exact_against_f32(parts["turns"], parts["hugging_face"])
    versions = ", ".join(" ".join(v) for v in versions)
    written_by = f"python3 tests/golden/rope.py, do not edit; {versions}; {platform.machine()}"
    lines = [f'{{"written_by":{json.dumps(written_by)}']
    for key, entries in parts.items():
        rows = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in entries)
        lines.append(f'"{key}":[\n{rows}\n]')
    OUT.write_text(",\n".join(lines) + "\n}\n")
    print(f"{OUT.name}: {OUT.stat().st_size} bytes")


if sys.argv[1:] == ["inv_freq"]:
    assert torch.backends.cpu.get_cpu_capability() == "AVX2", "this processor has no avx2"
    print(json.dumps([bits(inv_freq) for _, inv_freq, _ in inv_freqs()]))
else:
    assert torch.backends.cpu.get_cpu_capability() == "DEFAULT", "vector code"
    main()

#!/usr/bin/env python3
"""Writes tests/golden/blocks.json: blocks of numbers as ggml quantises them, and back.

    npm pack @node-llama-cpp/linux-x64@3.22.1 && tar xf node-llama-cpp-linux-x64-3.22.1.tgz
    python3 -m venv venv && venv/bin/pip install numpy==2.4.6
    venv/bin/python tests/golden/blocks.py package/bins/linux-x64/libggml-base.so

Keys of the JSON: "blocks", a list of {"x": 32 numbers, as the hexadecimal bits of f32; "q8_0" and "q4_0": the bytes that
quantize_row_q8_0_ref and quantize_row_q4_0_ref make of them; "from_q8_0" and "from_q4_0": bits of what dequantize_row_q8_0 and
dequantize_row_q4_0 make of those}.
"""

import ctypes
import json
import pathlib
import sys

import numpy

OUT = pathlib.Path(__file__).with_suffix(".json")
BLOCK, BYTES = 32, {"q8_0": 34, "q4_0": 18}
RANDOM = numpy.random.default_rng(20240608)


def rows():
    """Not below 1e-36: 1 / d must be finite, or C says nothing of what a cast makes of it."""
    normal = lambda scale: RANDOM.standard_normal(BLOCK) * scale
    yield from (normal(scale) for scale in [1, 1, 1, 1e-3, 1e3, 1e-7, 1e6, 1e-30])
    yield numpy.zeros(BLOCK)
    yield -numpy.zeros(BLOCK)
    yield numpy.full(BLOCK, 0.7)
    yield numpy.arange(BLOCK) - 15.5
    # Halves: 127 is a code, so a scale of 1 leaves them as they are.
    yield numpy.r_[127, numpy.arange(31) - 15.5]
    yield numpy.r_[-127, numpy.arange(31) - 15.5]
    yield numpy.r_[127 * 2.0**-9, (numpy.arange(31) - 15.5) * 2.0**-9]
    # The largest is there with both signs: the first one decides.
    yield numpy.r_[2, -2, normal(0.5)[:30]]
    yield numpy.r_[-2, 2, normal(0.5)[:30]]
    yield numpy.r_[8, (numpy.arange(31) - 15) / 2]
    yield numpy.r_[-8, (numpy.arange(31) - 15) / 2]
    # Scales beyond the least and the largest f16.
    yield normal(1) * 127 * 2.0**-25
    yield numpy.r_[65504 * 127.0, normal(1e6)[:31]]
    yield numpy.r_[3.0e38, normal(1e37)[:31]]
    yield from (RANDOM.standard_cauchy(BLOCK) for _ in range(8))


def main(library):
    ggml = ctypes.CDLL(library)
    pointer = lambda array: array.ctypes.data_as(ctypes.c_void_p)

    def block(x):
        entry = {"x": [f"{bits:08x}" for bits in x.view(numpy.uint32)]}
        for name, size in BYTES.items():
            stored, back = numpy.zeros(size, numpy.uint8), numpy.zeros(BLOCK, numpy.float32)
            getattr(ggml, f"quantize_row_{name}_ref")(pointer(x), pointer(stored), ctypes.c_int64(BLOCK))
            getattr(ggml, f"dequantize_row_{name}")(pointer(stored), pointer(back), ctypes.c_int64(BLOCK))
            entry[name] = stored.tobytes().hex()
            entry[f"from_{name}"] = [f"{bits:08x}" for bits in back.view(numpy.uint32)]
        return entry

    entries = [block(numpy.ascontiguousarray(x, numpy.float32)) for x in rows()]
    written_by = "python3 tests/golden/blocks.py, do not edit; ggml of @node-llama-cpp/linux-x64 3.22.1 (llama.cpp v0.5.0)"
    lines = ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in entries)
    OUT.write_text(f'{{"written_by":{json.dumps(written_by)},\n"blocks":[\n{lines}\n]}}\n')


if __name__ == "__main__":
    main(sys.argv[1])

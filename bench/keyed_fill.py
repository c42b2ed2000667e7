"""Weights without a file: every tensor is drawn from its own name.

The seed of tensor `key` is the 32-bit FNV-1a hash of its name; value i is made from
u_i = 2 * mulberry32_i - 1, scaled by a rule that looks at the name and the rank, then rounded to float32.
The golden files in tests/fixtures were made with the same rule, so numbers can be compared across languages.
"""
import numpy as np

_STEP = 0x6D2B79F5


def fnv1a32(text):
    """32-bit FNV-1a of the UTF-8 bytes."""
    state = 0x811C9DC5
    for byte in text.encode("utf-8"):
        state = ((state ^ byte) * 0x01000193) & 0xFFFFFFFF
    return state


def draws(key, count, start=0):
    """Values start .. start+count-1 of the stream named `key`, each u in [-1, 1), as float64."""
    with np.errstate(over="ignore"):
        index = np.arange(start + 1, start + count + 1, dtype=np.uint64)
        state = ((np.uint64(fnv1a32(key)) + index * np.uint64(_STEP)) & np.uint64(0xFFFFFFFF)).astype(np.uint32)
        mixed = (state ^ (state >> np.uint32(15))) * (state | np.uint32(1))
        mixed ^= mixed + (mixed ^ (mixed >> np.uint32(7))) * (mixed | np.uint32(61))
        mixed ^= mixed >> np.uint32(14)
    return mixed.astype(np.float64) * (2.0 / 4294967296.0) - 1.0


def uniform(key, shape, scale=1.0, shift=0.0):
    """shift + scale * u, rounded to float32, in row-major order."""
    return (shift + scale * draws(key, int(np.prod(shape, dtype=np.int64)))).astype(np.float32).reshape(shape)


def weight(key, shape, name=None):
    """The value of a model tensor. `name` is the name of the stream, if it differs from the key (by a prefix)."""
    stream = name or key
    fan_in = int(np.prod(shape[1:], dtype=np.int64)) if len(shape) >= 2 else 0
    if "running_mean" in key:
        scale, shift = 0.1, 0.0
    elif "running_var" in key:
        scale, shift = 0.2, 1.0
    elif "embedding" in key:
        scale, shift = 0.5, 0.0
    elif ".lin" in key:
        scale, shift = 0.5, 0.5
    elif len(shape) >= 2:
        scale, shift = float(np.sqrt(3.0 / fan_in)), 0.0
    elif key.endswith("weight"):
        scale, shift = 0.1, 1.0
    else:
        scale, shift = 0.1, 0.0
    return uniform(stream, shape, scale, shift)


def picture(key, batch, height, width):
    """A smooth picture [batch, 3, height, width] in [-1, 1]: noise averaged over 16x16 blocks, times 4, clamped."""
    noise = draws(key, batch * 3 * height * width).astype(np.float32)
    blocks = noise.reshape(batch, 3, height // 16, 16, width // 16, 16).mean(axis=(3, 5), dtype=np.float32)
    return np.clip(blocks.repeat(16, axis=2).repeat(16, axis=3) * np.float32(4), -1, 1)

# SPDX-License-Identifier: Apache-2.0
"""The random numbers of a router: Philox by seed, stream, layer and position (runtime/random.h)."""

import math
import struct

_MASK = (1 << 64) - 1
_SECRET = bytes.fromhex("7c01812cf721ad1cded46de9839097db")  # bytes 8 .. 24 of XXH3's


def _extend(stream, token):
    """XXH3_64bits_withSeed of the four bytes of a token, seeded with the hash before it."""
    low = stream & 0xFFFFFFFF
    stream ^= struct.unpack(">I", struct.pack("<I", low))[0] << 32
    first, second = struct.unpack("<QQ", _SECRET)
    flip = ((first ^ second) - stream) & _MASK
    value = (token | token << 32) ^ flip
    rotated = [(value << n | value >> (64 - n)) & _MASK for n in (49, 24)]
    value ^= rotated[0] ^ rotated[1]
    value = value * 0x9FB21C651E98DF25 & _MASK
    value ^= (value >> 35) + 4
    value = value * 0x9FB21C651E98DF25 & _MASK
    return value ^ value >> 28


def streams(tokens):
    """Of each token a hash of all tokens up to it."""
    result, stream = [], 0
    for token in tokens:
        stream = _extend(stream, token)
        result.append(stream)
    return result


def philox(counter, key):
    """Philox4x32-10 (Salmon et al. 2011)."""
    a, b, c, d = counter
    k0, k1 = key
    for _ in range(10):
        high0, low0 = divmod(a * 0xD2511F53, 1 << 32)
        high1, low1 = divmod(c * 0xCD9E8D57, 1 << 32)
        a, b, c, d = high1 ^ b ^ k0, low1, high0 ^ d ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) % (1 << 32), (k1 + 0xBB67AE85) % (1 << 32)
    return a, b, c, d


class Draws:
    """The uniforms of one token."""

    def __init__(self, seed, stream, layer, position):
        self.key = (seed % (1 << 32), seed >> 32)
        self.low, self.high = stream % (1 << 32), stream >> 32
        self.layer, self.position = layer, position

    def uniform(self, purpose, index):
        second = self.layer * (1 << 20) + purpose * (1 << 16) + index // 4
        word = philox((self.position, second, self.low, self.high), self.key)[index % 4]
        return (word // 256) / 16777216.0

    def extra(self, slot):
        return self.uniform(1, slot)

    def gumbel(self, expert):
        return -math.log(-math.log(self.uniform(2, expert) + 0.5 ** 25))

    def drop(self, expert):
        return self.uniform(3, expert)

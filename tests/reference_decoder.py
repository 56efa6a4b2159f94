"""A decoder of .ddpm files written from docs/format.md alone; docstrings cite its sections."""

import io
import re
import struct
import zlib
from hashlib import sha256
from itertools import product
from math import ceil, gcd, log, log2, pi, prod, sqrt
from statistics import NormalDist
from types import SimpleNamespace

import constriction
import numpy as np
from PIL import Image
from scipy.fft import dctn, idctn

ORDER = r"(?!.*([iex]).*\1)(?!.*S.*L)(?=[a-zA-Z]{,64}\Z)(H[^A-Zex]*(A[^A-Zex]*)?(S[^A-Zeix]*)?(T(PL?[^A-Zi]*E?)?)?)?"  # of sections
VERSION, SIGNATURE = b"\1", b"\x89DDPM\r\n\x1a\n"
METADATA = {"i": "icc_profile", "e": "exif", "x": "xmp"}
ETA = {8: 0.902, 10: 0.925, 12: 0.941, 14: 0.952, 16: 0.961}
RAMP = 1368, 3580  # of shaped noise
ROWS = {1: ((4, 0, 0, 12, 22, 61), *2 * ((8, 16, 24, 42, 48, 64),)), 2: ((0, -4, -4, -3, 16, 83), *2 * ((4, 12, 32, 54, 95, 118),))}
GAINS = """64 64 45 35 21  6  0   64 64 57 53 35 15  2   64 64 63 64 53 30 10   64 64 63 64 62 46 30   64 64 64 64 64 57 56
           64 64 64 64 64 62 63   64 64 64 64 64 64 64
           63 31  8  0  0  0  0   64 45 17  2  0  0  0   64 54 29 11  1  0  0   64 60 42 27  7  0  0   64 62 54 50 33  7  1
           64 63 61 64 60 51 31   64 64 64 64 64 64 64
           64 64 57 41 13  2  0   64 64 64 54 23  5  1   64 64 64 64 38 11  3   64 64 64 64 54 23  8   64 64 64 64 62 41 30
           64 64 64 64 64 58 58   64 64 64 64 64 62 62
           63 12  9  0  0  0  0   64 27 13  0  0  0  0   64 40 20  3  1  0  0   64 50 29 12  2  0  0   64 58 43 29  8  0  0
           64 62 58 58 58  2  1   64 64 62 62 62 62 21
           64 64 64 64 64  0  0   64 64 64 64 64  0  0   64 64 64 64 54 24  4   64 64 64 64 62 41  9   64 64 64 64 64 56 33
           64 64 64 64 64 63 60   64 64 64 64 64 64 64
           64 27 16  0  0  0  0   64 40 21  0  1  0  0   64 50 26  3  2  0  0   64 60 40  7  4  0  0   64 64 57 22  9  0  0
           64 64 64 55 45  7  1   64 64 64 64 63 58 20"""  # of shaped noise, gains 1 to 3: luma's seven rows, then chroma's
GAINS = {n + 1: (*map(int, GAINS.split()[98 * n : 98 * n + 98]),) for n in range(3)}
GAIN_LEVELS, GAIN_NODES = range(-512, 2561, 512), [1 / 16, 1 / 8, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1]
CONTEXT = [8, 16, 8], [4, 8, 4, 8, 2, 2, 2, 2], [4, 8, 4, 4, 1, 1, 1, 1, 4, 1, 1, 1, 1]
Categorical, queue = constriction.stream.model.Categorical, constriction.stream.queue
# Shaped noise, Coefficients: T and O
COLOURS = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
COLOURS /= np.concatenate(([sqrt(1 / 3)], np.linalg.norm(COLOURS[1:], axis=1)))[:, None]
(U, _, V), ORTHONORMAL = np.linalg.svd(COLOURS[1:], full_matrices=False), np.full((3, 3), sqrt(1 / 3))
ORTHONORMAL[1:] = U @ V
# A model: hash, stride, prediction, architecture, network(x, c) for x float32 of (B, 3, H, W), multiples of the stride.


class Refused(ValueError):
    kind = property(lambda self: self.args[0])  # foreign, version, truncated, corrupt, model or drift (of the tail)


def demand(condition, message, kind="corrupt"):
    if not condition:
        raise Refused(kind, message)


def numbers(data, at, count=1):
    """Bytes: `count` numbers from `at` on, and where they end; IndexError where the data end before."""
    values = []
    for _ in range(count):
        end = at
        while data[end] > 127:
            end += 1
        demand(end - at < 9 and (data[end] or end == at), "a number too long")
        values.append(sum((byte & 127) << 7 * i for i, byte in enumerate(data[at : end + 1])))
        at = end + 1
    return *values, at


def signed(data, at, count):
    """The same of signed integers."""
    *values, at = numbers(data, at, count)
    return *(value >> 1 ^ -(value & 1) for value in values), at


def coder(data):
    """The range coder: what decodes a symbol of some weights, and what says if an encoder would have written `data`."""
    words = np.frombuffer(data[: len(data) // 4 * 4], ">u4").astype(np.uint32)
    source, again = queue.RangeDecoder(words), queue.RangeEncoder()

    def symbol(weights):
        model = Categorical(weights / weights.sum(), perfect=False)
        value = int(source.decode(model))
        again.encode(value, model)
        return value

    return symbol, lambda: again.get_compressed().astype(">u4").tobytes() == data


def parse(data):
    """Bytes: what the file says; `messages` has the path bits of its whole steps."""
    demand(data and data[:9] == SIGNATURE[: len(data)], "no signature", "foreign")
    demand(data[9:10] in (b"", VERSION), "another format version", "version")
    at, seen, found, part = 10, "", {}, (-1, b"")  # found: whole sections; part: length and body of P
    while seen[-1:] != "E" and at < len(data):
        start, letter, seen = at, chr(data[at]), seen + chr(data[at])
        size, at = numbers(data + b"\1", at + 1)  # the 1 ends a length that is cut off
        part = (size, data[at : at + size]) if letter == "P" and at <= len(data) else part
        body, end, at = data[at : at + size], at + size, at + size + 4
        if at <= len(data):
            demand(zlib.crc32(data[start:end]) == int.from_bytes(data[end:at]), f"CRC of section {letter}")
            found[letter] = body
    demand(not re.search("(?![HASTPLE])[A-Z]", seen), f"a section unknown in {seen}", "version")
    demand(re.fullmatch(ORDER, seen), f"sections {seen}")
    demand("T" in found, "before the end of the step table", "truncated")
    demand(not found.get("E") and at >= len(data), "bytes in or behind the end mark")
    try:
        file = header(found["H"])
        file.shape = shape(file, found["S"]) if "S" in found else None
        file.steps, file.messages = steps(file, found["T"], *part)
        file.alpha, file.tail, file.metadata, tail = None, found.get("L"), {}, found.get("L", bytes(4) + b"\1" * 49)
        demand(len(tail) >= 53 and len(tail) % 4 == 1 and tail[4] and max(tail[29:53]) < 44, "head of the tail")
        if (png := found.get("A")) is not None:
            demand(png[16:26] == struct.pack(">IIBB", file.width, file.count * file.height, 8, 0), "form of the alpha")
            file.alpha = np.reshape(Image.open(io.BytesIO(png), "r", ["PNG"]), (file.count, file.height, file.width, 1))
        for letter in set(found) & set(METADATA):
            inflater = zlib.decompressobj()
            file.metadata[METADATA[letter]] = content = inflater.decompress(found[letter], 2**24 + 1)
            demand(inflater.eof and not inflater.unused_data and len(content) <= 2**24, "metadata")
    except (AssertionError, IndexError, OSError, SyntaxError, struct.error, zlib.error) as error:
        raise Refused("corrupt", str(error)) from error
    return file


def header(body):
    """Bytes, H, and Noise levels; B is that of One step, 1."""
    file = SimpleNamespace()
    file.width, file.height, file.count, file.gray, file.orientation, length, at = numbers(body, 0, 6)
    file.name, file.hash, at = body[at : at + length], body[at + length :][:8], at + length + 8
    demand(re.fullmatch(b"[a-z0-9._-]{1,64}", file.name) and len(file.name) == length, "name of the model")
    file.discrete, at = numbers(body, at)
    file.levels, file.abar = range(-8192, 8193), {t: 1 / (1 + 2 ** (-t / 256)) for t in range(-8192, 8193)}
    if file.discrete:
        cosine, T, at = numbers(body, at, 2)
        (first, last), at = struct.unpack_from(">dd", body, at), at + 16
        demand(2 <= T <= 2**14 and cosine < 2 and 0 < first <= last < 1, "schedule")
        f = np.cos((np.arange(T + 1) / T + 0.008) / 1.008 * pi / 2) ** 2
        beta = np.minimum(0.999, 1 - f[1:] / f[:-1]) if cosine else first + np.arange(T) * (last - first) / (T - 1)
        file.abar, file.levels = dict(enumerate(np.cumprod([1, *(1 - beta)]).tolist())), range(1, T + 1)
        demand(file.abar[T] > 0 and all(file.abar[t] < file.abar[t - 1] for t in range(2, T + 1)), "schedule")
    file.start, at = signed(body, at, 1)
    file.seed, at = numbers(body, at)
    demand(all(1 <= n <= 2**20 for n in (file.width, file.height, file.count)) and 1 <= file.orientation <= 8, "size")
    demand(max(file.gray, file.discrete) < 2, "mode, or kind of levels", "version")
    demand(file.start in file.levels and at == len(body), "end of the header")
    file.N = (1 if file.gray else 3) * file.count * file.width * file.height
    file.B = next(B for B in range(-(-file.N // 4096), 2**64) if gcd(B, file.width) == 1)
    return file


def shape(file, body):
    """Shaped noise, S: the ramp a and b, the rows of the table, the gains, the levels quarter and half, and the map."""
    noise, (table, at) = SimpleNamespace(), numbers(body, 0)
    demand(table in (*ROWS, 255), "a table of shaped noise", "version")
    noise.a, noise.b, noise.rows = *RAMP, ROWS.get(table)
    if table == 255:
        noise.a, noise.b, *entries, at = signed(body, at, 20)
        noise.rows = tuple(map(tuple, (entries[:6], entries[6:12], entries[12:])))
        demand(-8192 <= noise.a < noise.b <= 8192 and all(-128 <= t <= 128 for t in entries), "table of its own")
        demand((noise.a, noise.b) != RAMP or noise.rows not in ROWS.values(), "a known table as one of its own")
        demand(all(noise.b - noise.a + 16 * t > 0 for t in entries), "noise that does not fall")
    gains, at = numbers(body, at)
    demand(gains in (0, *GAINS, 255), "gains of shaped noise", "version")
    noise.gains = {0: (), **GAINS}.get(gains)
    if gains == 255:
        *noise.gains, at = numbers(body, at, 98)
        demand(max(noise.gains) <= 64 and tuple(noise.gains) not in GAINS.values(), "gains of its own")
    noise.quarter, noise.half, at = signed(body, at, 2)
    noise.cell, at = numbers(body, at)
    bounds = noise.quarter == noise.half == 0 if file.discrete else -8192 <= noise.quarter <= noise.half <= 4096
    demand(bounds and noise.cell in (0, 32, 64, 128), "levels of the resolutions, or side of the cells")
    symbol, written = coder(body[at:])
    if noise.cell:
        height, width = -(-file.height // noise.cell), -(-file.width // noise.cell)
        demand(height * width <= 65536, "cells of the map")
        noise.map = k = np.zeros((height, width), int)
        for row, column in np.ndindex(height, width):
            near = [k[row, column - 1]] * (column > 0) + [k[row - 1, column]] * (row > 0)
            around = -(-sum(near) // max(len(near), 1))
            k[row, column] = symbol(1.0 + 4096 // (1 + 16 * (np.arange(25) - around) ** 2))
    demand(written(), "a map that no encoder writes")
    return noise


def steps(file, table, size, body):
    """The step table (evaluated, nu, level, n), and the path bits in P's body, of `size` bytes uncut (-1: unknown)."""
    symbol, written = coder(table)

    def number(around):
        c = symbol(1.0 + 4096 // (1 + 2 * (np.arange(129) - around) ** 2))
        demand(c not in (2, 3, 4, 6, 8), "a class without numbers")
        b, x = (c + 3) // 4, 4 + (c - 1) % 4
        for _ in range(b - 3):
            x = 2 * x + symbol(np.ones(2))  # the uniform model of 2
        return (x if b > 2 else (0, 1, x // 2)[b]), c

    steps, messages, half, level, at, start = [], [], 2048 * file.B, file.start, 0, 0
    nu, delta, n, c_delta, c_n = 1, 150, 0, 24, 24
    for _ in range(number(20)[0]):
        evaluate = symbol(np.array([1.0, 15.0]))
        nu = symbol(np.where(np.arange(5) == nu, 61.0, 1.0))
        x, c_delta = number(c_delta)
        before, delta = delta, delta + (x >> 1 ^ -(x & 1))
        level += -delta if file.discrete else delta
        x, c_n = number(c_n)
        n = min(n * delta // before, half) + (x >> 1 ^ -(x & 1))
        demand(delta >= 1 and level in file.levels and (evaluate or steps) and len(steps) < 2**14, "step")
        demand(0 <= n <= half and n % max(n // 2048, 1) == 0, "number of path bits")
        steps.append((evaluate, 8 + 2 * nu, level, n))
        begin, at = at, at + -(-n // 8)
        if at <= len(body):
            bits = np.unpackbits(np.frombuffer(body[begin:at], np.uint8))
            demand(not bits[n:].any(), "padding of path bits")
            messages.append(bits[:n])
        if at - start >= 1024:
            start, crc, at = at + 4, zlib.crc32(body[start:at]), at + 4
            demand(len(body) < at or crc == int.from_bytes(body[at - 4 : at]), "CRC of path bits")
    demand(written(), "a step table that no encoder writes")
    demand(size in (-1, at), "length of the payload")
    return steps, messages


def draw(file, stream, step, count):
    """Shared randomness: `count` words of stream 4, signs of 2 and 3, standard normal values of the others."""
    bits = {2: 1, 3: 1, 4: 64}.get(stream, 32)
    philox = np.random.Philox(key=[file.seed, VERSION[0]], counter=[0, stream, step, 0])
    words = philox.random_raw(-(-count * bits // 64)).astype("<u8")
    if bits == 1:
        return 1 - 2 * np.unpackbits(words.view("u1"), bitorder="little").astype(np.int8)
    if bits == 64:
        return words.tolist()
    return np.array([NormalDist().inv_cdf((h + 0.5) / 2**32) for h in words.view("<u4")[:count].tolist()])


def word(file, i):
    """One step, 2 and 3: that of step i."""
    (_, nu, _, n), bits, D = file.steps[i], file.messages[i], 4096 * file.B
    signs = draw(file, 3, i, D)
    if n == 0:
        return signs
    padded = np.pad(bits.reshape(max(n // 2048, 1), -1).astype(int), ((0, 0), (nu, 0)))
    windows = sum(padded[:, nu - k : padded.shape[1] - k] << k for k in range(nu + 1)).ravel()
    places = list(range(2 ** (nu - 1)))
    for m, value in enumerate(draw(file, 4, i, len(places))):
        other = m + value % (len(places) - m)
        places[m], places[other] = places[other], places[m]
    polynomials = 2**nu + 2 * np.array(places) + 1
    edges = np.arange(n + 1) * D // n
    owner = np.repeat(np.arange(n), np.diff(edges))
    k = (np.arange(D) - edges[owner]) % len(places)
    return signs * (-1) ** (np.bitwise_count(windows[owner] & polynomials[k]) % 2).astype(np.int8)


def integers(file):
    """SHA-256 of the word and the rotation signs of each whole step, as bytes."""
    numbers = (np.stack((word(file, i), draw(file, 2, i, 4096 * file.B))) for i in range(len(file.messages)))
    return sha256(b"".join(map(np.ndarray.tobytes, numbers))).hexdigest()


def noise(file, i):
    """One step, 4 and 5, and Gray pictures: z of step i."""
    (_, nu, _, n), D, shape = file.steps[i], 4096 * file.B, (file.count, -1, file.height, file.width)
    z = 2 ** (ETA[nu] * n / D) * word(file, i) / 64
    for k in range(12):
        pairs = z.reshape(-1, 2, 2**k * file.B)
        z = np.stack((pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]), 1)
    z = (z.ravel() * draw(file, 2, i, D))[: file.N].reshape(shape)
    if not file.gray:
        return z
    chroma = draw(file, 6, i, 2 * file.N).reshape(shape)
    axes = np.array([[1, 1, 1], [1, -1, 0], [1, 1, -2]]) / np.sqrt([[3], [2], [6]])
    return np.einsum("pahw,ac->pchw", np.concatenate((z, chroma), 1), axes)


def posterior(abar_t, abar_s):
    """One step: what q's mean has of x_0, what of x_t, and q's variance."""
    a, b = abar_t / abar_s, 1 - abar_t / abar_s
    return sqrt(abar_s) * b / (1 - abar_t), sqrt(a) * (1 - abar_s) / (1 - abar_t), b * (1 - abar_s) / (1 - abar_t)


def fold(file, t):
    """The denoiser's input, and The chain of Shaped noise: the f of a level."""
    quarter, half = (file.shape.quarter, file.shape.half) if file.shape else (-1536, -768)
    return 1 if file.discrete or t > half else 2 if t > quarter else 4


def predicted(file, model, x, t):
    """The denoiser's input: what the network predicts, clamped in white noise."""
    f = fold(file, t)
    abar = file.abar[told := t + 512 * (f // 2)]
    x = np.pad(x, [(0, 0), (0, 0), (0, -file.height % f), (0, -file.width % f)], "reflect")
    x = x.reshape(file.count, 3, x.shape[2] // f, f, -1, f).mean((3, 5)) * sqrt(abar / file.abar[t])
    c = told - 1 if model.architecture == "ddpm-unet" else -log(abar / (1 - abar)) / 4
    (height, width), output = x.shape[2:], np.empty_like(x)
    rows, columns = (64 * ceil(side / (64 * ceil(side / 1024))) for side in (height, width))
    for top, left in product(range(0, height, rows), range(0, width, columns)):
        y, u, bottom, right = max(top - 64, 0), max(left - 64, 0), min(top + rows, height), min(left + columns, width)
        tile = x[:, :, y : bottom + 64, u : right + 64].astype(np.float32)
        padding = [(0, 0), (0, 0), (0, -tile.shape[2] % model.stride), (0, -tile.shape[3] % model.stride)]
        prediction = model.network(np.pad(tile, padding, "reflect"), c)
        output[:, :, top:bottom, left:right] = prediction[:, :, top - y : bottom - y, left - u : right - u]
    if model.prediction == "v":
        output = sqrt(abar) * x - sqrt(1 - abar) * output
    elif model.prediction == "epsilon":
        output = (x - sqrt(1 - abar) * output) / sqrt(abar)
    elif model.prediction == "mu":
        of_x0, of_x, _ = posterior(abar, file.abar[told - 1])
        output = (output - of_x * x) / of_x0
    output = output if file.shape else np.clip(output, -1, 1)
    for size in height, width:
        at = np.clip((2 * np.arange(f * size) + 1 - f) / (2 * f), 0, size - 1)
        near, far, weight = np.floor(at).astype(int), np.ceil(at).astype(int), at[:, None] % 1
        output = (output[:, :, near] * (1 - weight) + output[:, :, far] * weight).swapaxes(2, 3)
    return output[:, :, : file.height, : file.width]


def dct(matrix, x):
    """Shaped noise, Coefficients: DCT(matrix x)."""
    return dctn(np.einsum("ac,pchw->pahw", matrix, x), axes=(2, 3), norm="ortho")


def idct(matrix, u, G=1.0):
    """The same backwards: matrix (G IDCT(u))."""
    return np.einsum("ca,pahw->pchw", matrix, G * idctn(u, axes=(2, 3), norm="ortho"))


def fields(file):
    """Shaped noise, Coefficients and Noise: log2 f and log2 m of each coefficient, and G of each pixel."""
    y, x = np.arange(file.height)[:, None] / file.height, np.arange(file.width) / file.width
    f = np.log2(np.maximum(np.sqrt(y**2 + x**2), 1 / 64))
    nodes = np.log2([1 / 64, 1 / 24, 1 / 12, 3 / 16, 3 / 8, 0.8])
    log2_m = np.stack([np.interp(f, nodes, np.array(row) / 32) for row in file.shape.rows])
    if not file.shape.cell:
        return f, log2_m, 1.0
    log2_G = file.shape.map / 4
    for pixels in file.height, file.width:
        at = np.clip((np.arange(pixels) + 0.5) / file.shape.cell - 0.5, 0, len(log2_G) - 1)
        near, far, weight = np.floor(at).astype(int), np.ceil(at).astype(int), at[:, None] % 1
        log2_G = (log2_G[near] * (1 - weight) + log2_G[far] * weight).T
    return f, log2_m, 2**log2_G


def whitener(file, t):
    """Shaped noise, Noise: m^w at level t, and snr^(-1/2)."""
    snr = file.abar[t] / (1 - file.abar[t])
    w = min(max((file.shape.b - 256 * log2(snr)) / (file.shape.b - file.shape.a), 0), 1)
    return 2 ** (w * file.shape.log2_m), 1 / sqrt(snr)


def gain(file, t):
    """Shaped noise: g of each coefficient at level t."""
    if not file.shape.gains or fold(file, t) > 1:
        return 1.0
    level = 256 * log2(file.abar[t] / (1 - file.abar[t]))
    columns = np.reshape(file.shape.gains, (2, 7, 7)).swapaxes(1, 2) / 64
    rows = ([np.interp(level, GAIN_LEVELS, column) for column in table] for table in columns)
    luma, chroma = (np.interp(file.shape.log2_f, np.log2(GAIN_NODES), row) for row in rows)
    return np.stack((luma, chroma, chroma))


def estimate(file, model, x, t):
    """One step, Gray pictures and The chain of Shaped noise: x0hat, where x is x_t or, in shaped noise, u_t."""
    if not file.shape:
        x0hat = predicted(file, model, x, t)
        return x0hat.mean(1, keepdims=True).repeat(3, 1) if file.gray else x0hat
    m, _ = whitener(file, t)
    u = gain(file, t) * m * dct(ORTHONORMAL, predicted(file, model, sqrt(file.abar[t]) * idct(ORTHONORMAL.T, x / m), t))
    if file.gray:
        u[:, 1:] = 0
    return np.clip(idct(np.linalg.inv(COLOURS), u, file.shape.G), -1, 1)


def moved(file, i, x, x0hat, t):
    """One step, and The chain of Shaped noise: x_s, or u_s, behind step i from level t."""
    s, z = file.steps[i][2], noise(file, i)
    if not file.shape:
        of_x0, of_x, variance = posterior(file.abar[t], file.abar[s])
        return of_x0 * x0hat + of_x * x + sqrt(variance) * z
    sigma_t, sigma_s = (np.multiply(*whitener(file, level)) for level in (t, s))
    r, uhat = (sigma_s / sigma_t) ** 2, dct(COLOURS, x0hat / file.shape.G)
    return uhat + r * (x - uhat) + sigma_s * np.sqrt(1 - r) * dct(ORTHONORMAL, z)


def restored(file, x0hat):
    """The lossless tail: (row, column, channel) of the pictures, one above the other."""
    head, source = file.tail[:53], queue.RangeDecoder(np.frombuffer(file.tail[53:], ">u4").astype(np.uint32))
    weights, scales = np.split(np.frombuffer(head[5:29], np.int8).astype(int), (3, 11)), np.array(list(head[29:]))
    r = 255 * (np.concatenate(x0hat.astype(np.float32).astype(float), 1) + 1)
    marks = Categorical(np.array([1 - head[4] / 2048, head[4] / 4096, head[4] / 4096]), perfect=False)
    marks = source.decode(marks, r.size).reshape(r.shape)
    r = np.choose(marks, (np.round(r), np.floor(r), np.floor(r) + 1)).astype(int)
    table = np.empty((44, 8, 64))  # of frequencies, by index of the scale and M - 8 c = -4 ... 3
    for i, k in np.ndindex(44, 8):
        cdf = [NormalDist((k - 4) / 8, 2 ** ((i - 16) / 6)).cdf(bound - 0.5) for bound in range(-31, 33)]
        table[i, k] = 1 + np.round(2**20 * np.append(np.diff(cdf), cdf[0] + 1 - cdf[-1]))
    table /= table.sum(2, keepdims=True)
    bounds = [int(12 * 2 ** (k / 3)) for k in range(23)]
    picture, known = np.empty_like(r), np.pad(np.stack((r, r)) * 0, [(0, 0), (0, 0), (1, 1), (1, 1)])
    for coded, channel in enumerate((1, 0, 2)):
        near = [(channel, 0, 0), (channel, 0, 1), (channel, 0, 2)]
        near += [(c, dy, dx) for c in (1, 0)[:coded] for dy, dx in ((1, 1), (0, 1), (1, 0), (1, 2), (2, 1))]
        for y in range(r.shape[1]):
            E, sizes = np.stack([known[:, c, y + dy, dx : dx + file.width] for c, dy, dx in near], 1)
            M = 4 * r[channel, y] + (weights[coded] @ E + 8 >> 4)
            c = M + 4 >> 3
            frequencies = table[scales[np.searchsorted(bounds, CONTEXT[coded] @ sizes, "right")], M - 8 * c + 4]
            x = source.decode(Categorical(perfect=False), frequencies) + c - 31
            x[x == c + 32] = source.decode(constriction.stream.model.Uniform(256), int((x == c + 32).sum()))
            picture[channel, y], known[:, channel, y + 1, 1:-1] = x, (2 * x - r[channel, y], abs(8 * x - M))
    picture = np.moveaxis(picture, 0, 2)
    exact = not (picture >> 8).any() and zlib.crc32(picture.astype(np.uint8).tobytes()) == int.from_bytes(head[:4])
    demand(exact, "x0hat is beyond the margin, or the tail is not this picture's", "drift")
    return picture


def decode(data, model, steps=None):
    """One step: the pictures at the file's end, or behind `steps` of its steps, turned, with alpha and metadata."""
    file = parse(data)
    demand(file.hash == model.hash[:8], f"it needs the model {file.name.decode()}", "model")
    shape, steps = (file.count, 3, file.height, file.width), len(file.messages) if steps is None else steps
    x, t = draw(file, 1, 0, prod(shape)).reshape(shape), file.start
    if file.shape:
        file.shape.log2_f, file.shape.log2_m, file.shape.G = fields(file)
        x = x * np.multiply(*whitener(file, t))
    for i, (evaluate, _, s, _) in enumerate(file.steps[: min(steps, len(file.messages))]):
        if evaluate:
            x0hat = estimate(file, model, x, t)
        x, t = moved(file, i, x, x0hat, t), s
    x0hat = estimate(file, model, x, t)
    pixels = np.moveaxis(np.round(127.5 * (x0hat + 1)), 1, 3)
    if file.tail and steps >= len(file.steps):
        try:
            pixels = restored(file, x0hat).reshape(pixels.shape)
        except AssertionError as error:
            raise Refused("corrupt", str(error)) from error
    pixels = pixels[..., :1] if file.gray else pixels
    if file.alpha is not None:
        pixels = np.concatenate((pixels, file.alpha), 3)
    pixels = pixels.swapaxes(1, 2) if file.orientation > 4 else pixels
    pixels = pixels[:, ::-1] if file.orientation in (3, 4, 7, 8) else pixels
    pixels = pixels[:, :, ::-1] if file.orientation in (2, 3, 6, 7) else pixels
    images = [Image.fromarray(p.squeeze(2) if p.shape[2] == 1 else p) for p in pixels.astype(np.uint8)]
    for image in images:
        image.info.update(file.metadata)
    return images

"""The range coder as docs/format.md describes it, in integers of Python, against constriction: files do not depend on that library."""

import constriction
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ddpmcodec.format import rangecoder, steptable, tail

WORD = 1 << 32
STATE = 1 << 64


def uniform(count):
    """(left, width) of each symbol, of 2^24."""
    edges = [k * ((1 << 24) // count) for k in range(count)] + [1 << 24]
    return list(zip(edges, np.diff(edges).tolist(), strict=False))


def weighted(weights):
    total = 0.0
    for f in weights:
        total += float(f)
    p = [float(f) / total for f in weights]
    mass = 0.0
    for x in p:
        mass += x
    s = ((1 << 24) - len(p)) / mass
    edges, below = [], 0.0
    for k, x in enumerate(p):
        edges.append(int(below * s) + k)
        below += x
    edges.append(1 << 24)
    return list(zip(edges, np.diff(edges).tolist(), strict=False))


class Decoder:
    def __init__(self, data):
        self.words = iter(np.frombuffer(data, ">u4").tolist())
        self.lower, self.range = 0, STATE - 1
        self.point = self.word() * WORD + self.word()

    def word(self):
        return next(self.words, 0)

    def symbol(self, model):
        scale = self.range >> 24
        quantile = (self.point - self.lower) % STATE // scale
        if quantile >= 1 << 24:
            raise ValueError("no encoder wrote this")
        k, (left, width) = next((k, m) for k, m in enumerate(model) if m[0] <= quantile < sum(m))
        self.lower = (self.lower + scale * left) % STATE
        self.range = scale * width
        if self.range < WORD:
            self.lower = self.lower * WORD % STATE
            self.range *= WORD
            self.point = (self.point * WORD + self.word()) % STATE
        return k


class Encoder:
    """Without held-back words: the number is one of Python's, of any length."""

    def __init__(self):
        self.lower, self.range, self.shifted = 0, STATE - 1, 0  # lower has 64 bits and 32 for each shift

    def symbol(self, model, k):
        left, width = model[k]
        scale = self.range >> 24
        self.lower += scale * left
        self.range = scale * width
        if self.range < WORD:
            self.lower *= WORD
            self.range *= WORD
            self.shifted += 1

    def data(self):
        if self.range == STATE - 1:
            return b""
        top = self.lower + WORD - 1 >> 32
        out = top.to_bytes(4 * (self.shifted + 1), "big")
        return out + bytes(4) * (self.lower + self.range >> 32 == top)


lists_of_symbols = st.lists(st.tuples(st.sampled_from(["class", "nu", "mark", "tail", "bit", "gray"]), st.integers(0, 2**30)), max_size=300)


def models(kind, choice):
    """A model of the format as constriction has it, and as the document does."""
    if kind == "class":
        center = choice % steptable.CLASSES
        c = range(steptable.CLASSES)
        return steptable._class_model(center), weighted([1 + 4096 // (1 + 2 * (k - center) ** 2) for k in c])
    if kind == "nu":
        return steptable._NU[choice % 5], weighted([61 if k == choice % 5 else 1 for k in range(5)])
    if kind == "mark":
        share = 2 * (1 + choice % 255) / 8192
        return tail._mark_model(1 + choice % 255), weighted([1 - 2 * share, share, share])
    if kind == "tail":
        weights = tail.frequencies()[choice % tail.SCALES, choice // tail.SCALES % tail.OFFSETS]
        model = constriction.stream.model.Categorical(weights / weights.sum(), perfect=False)
        return model, weighted(weights.tolist())
    count = 2 if kind == "bit" else 256
    return constriction.stream.model.Uniform(count), uniform(count)


@given(lists_of_symbols)
def test_encoder_and_decoder_are_the_documents(symbols):
    theirs, ours = constriction.stream.queue.RangeEncoder(), Encoder()
    told = []
    for kind, choice in symbols:
        model, table = models(kind, choice)
        k = choice // 4096 % len(table)
        theirs.encode(k, model)
        ours.symbol(table, k)
        told.append((model, table, k))
    data = rangecoder.to_bytes(theirs)
    assert data == ours.data()
    source, decoder = rangecoder.from_bytes(data), Decoder(data)
    for model, table, k in told:
        assert source.decode(model) == decoder.symbol(table) == k


@given(st.binary(max_size=200).map(lambda data: data[: len(data) // 4 * 4]), st.integers(0, 2**30))
@example(b"\\\xba\xf9\xc8[ \xaf>", 696)
@example(b"\xff" * 8, 0)
def test_what_no_encoder_wrote_decodes_alike(data, choice):
    source, decoder = rangecoder.from_bytes(data), Decoder(data)
    for i in range(60):
        model, table = models(("class", "nu", "tail", "gray")[i % 4], choice + i)
        try:
            theirs = source.decode(model)
        except AssertionError:  # constriction's own word
            with pytest.raises(ValueError):
                decoder.symbol(table)
            return
        assert theirs == decoder.symbol(table)

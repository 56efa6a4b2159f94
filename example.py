"""From picture to bytes and back: python example.py [PHOTO]"""

import sys

import numpy as np
from PIL import Image

import ddpmcodec

photo = Image.open(sys.argv[1] if len(sys.argv) > 1 else "docs/coffee.png").convert("RGB")
original = np.asarray(photo, np.float64)


def psnr(image: Image.Image) -> float:
    return 10 * np.log10(255**2 / np.mean((np.asarray(image, np.float64) - original) ** 2))


# Encode: at most half a bit per pixel, in one pass over 16 network evaluations.
data = ddpmcodec.encode(photo, bpp=0.5, evaluations=16)
print(f"{len(data)} bytes, {8 * len(data) / (photo.width * photo.height):.3f} bpp")

# What is in the file, without a network.
about = ddpmcodec.info(data)
print(f"{about['whole_steps']} steps down to noise of {about['steps'][-1]['sigma']:.1f} gray levels")

# Decode all of it, or whatever has arrived: a file may be cut anywhere.
print(f"the whole file: {psnr(ddpmcodec.decode(data)):.2f} dB")
print(f"its first half: {psnr(ddpmcodec.decode(data[: len(data) // 2])):.2f} dB")

# The paper's progressive decoding: a picture after every step.
for step, image in ddpmcodec.decode_progressive(data):
    end = about["steps"][step - 1]["end"] if step else 0
    print(f"  step {step:2}: {end:6} bytes, {psnr(image):.2f} dB")

# A smaller file, made in milliseconds.
small = ddpmcodec.truncate(data, max_bytes=len(data) // 4)
print(f"truncated to {len(small)} bytes: {psnr(ddpmcodec.decode(small)):.2f} dB")

# Anything that is not a good file is a typed error.
damaged = data[:200] + bytes([data[200] ^ 1]) + data[201:]
try:
    ddpmcodec.decode(damaged)
except ddpmcodec.errors.FormatError as e:
    print(f"{type(e).__name__}: {e}")

"""What files carry of a model: its name and the beginning of its hash. Needs no torch."""

import re

NAME = re.compile(r"[a-z0-9._-]{1,64}")
HASH_BYTES = 8  # of the SHA-256, see models/checkpoint.py

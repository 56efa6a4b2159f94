"""The diffusion process, denoisers, checkpoints and the bundled weights. Knows nothing of bits or files of pictures."""

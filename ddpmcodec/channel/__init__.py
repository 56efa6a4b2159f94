"""The channel coder, which sends a sample of a Gaussian to a receiver that knows another, and the randomness that both sides share."""

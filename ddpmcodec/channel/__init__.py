"""Sending a sample of a Gaussian to a receiver that knows another: the channel coder, and the randomness that both sides share."""

"""Every byte of a .ddpm file: nothing outside of this package parses or writes one (docs/format.md)."""

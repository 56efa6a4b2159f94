"""The bytes of a .ddpm file (docs/format.md): nothing outside this package parses or writes one."""

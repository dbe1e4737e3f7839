"""The values that pass between the parts: no I/O, and nothing here imports another package of this project."""

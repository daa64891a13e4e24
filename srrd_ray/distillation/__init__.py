"""Learning to read the microstructure of bone from CT, with MR as the privileged teacher: numerics alone."""

"""What the coordinator computes of a private sum, with gmpy2."""

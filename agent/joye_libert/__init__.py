"""The arithmetic of a private sum: parameters, zero-sum keys, masks, packing (Joye and Libert, FC
2013)."""

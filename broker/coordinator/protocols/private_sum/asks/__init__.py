"""Requests for rounds off the grid, as other processes make them and are told of them."""

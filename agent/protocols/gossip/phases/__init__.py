"""The phases of a query, one module each, and the catalogue of them."""

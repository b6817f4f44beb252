"""From agent/ to what a board is given: compiled, bundled, signed."""

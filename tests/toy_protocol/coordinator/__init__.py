"""The operator's half of the toy protocol; declaration.TOY is what the registry takes."""

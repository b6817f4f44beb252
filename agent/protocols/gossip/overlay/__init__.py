"""Routes through the overlay, and the sizes that plan and phases have in common."""

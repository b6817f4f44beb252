"""What all drawn pictures have in common: their colours and the size of their letters."""

SEEN = "#0b6e4f"
HIDDEN = "#8f8f8f"
LOST = "#b00020"
FONT_POINTS = 14

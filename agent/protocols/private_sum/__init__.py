"""The threshold Joye-Libert sum, the board's side (papers: Joye and Libert; Mansouri, Önen and Ben
Jaballah)."""

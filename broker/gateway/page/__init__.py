"""The page: what a person sees of a gateway. Whole pages from here, forms that need no script; the
scripts keep what is shown up to date, and draw the chart."""

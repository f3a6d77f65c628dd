"""Where points are lost: slices, kinds of errors, two runs side by side, as numbers and as a page."""

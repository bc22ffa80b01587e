"""Two actors at one row, over real connections and without a wrapping transaction."""

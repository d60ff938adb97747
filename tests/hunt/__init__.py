"""The hunt for the unsound: generated cases by the million against exact rational oracles."""

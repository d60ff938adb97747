"""Learners: what they optimise, and what they promise as estimators."""

"""Rebuilds the tables from what Azure and the clusters still hold; changes nothing in either."""

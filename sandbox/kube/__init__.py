"""A small Kubernetes API: several clusters by path, held to a real server by one contract suite."""

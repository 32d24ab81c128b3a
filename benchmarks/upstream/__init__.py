"""Kubernetes' own network conformance tests and ours, on one cluster in one run."""

"""Proves that a cluster's network keeps the promises Kubernetes makes."""

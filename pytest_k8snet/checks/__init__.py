"""The shipped suite: ``pytest --k8s-context=NAME`` runs it when no path is given."""

"""What several causes speak of."""

from __future__ import annotations

POD = ("POD-TO-POD",)
SERVICE = ("SERVICE-CLUSTER-IP",)

THREADS = "https://github.com/"
MODEL = (
    "https://kubernetes.io/docs/concepts/services-networking/"
    "#the-kubernetes-network-model"
)

"""The real kind, on an engine and a node image made here: nothing is downloaded as one.

kind itself is unmodified. What it drives is not what its users have: `dockerd` is built
from its Go module, the node image is home-made (see `node_image`), and so is the pod
network in kindnet's place (see `network`). Green here says that our kind provider
and the suite work with kind; it says nothing of kindest/node, nor of kindnet.
"""

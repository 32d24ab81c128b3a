"""The one seam to the cluster: nothing above it speaks HTTP or starts processes."""

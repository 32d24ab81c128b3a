"""The program that runs in the Pods: one file, standard library only."""

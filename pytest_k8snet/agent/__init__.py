"""Answers for a Pod, and asks for it: the one program that runs in the Pods.

These modules and the standard library of Python 3.9 are all there is of it: they come
into any stock Python image by a ConfigMap, and run there as ``python3 -m agent``. They
judge nothing: they report what they saw, in the words of ``model.Outcome``.

Every container compiles them anew, so each imports what it needs, when it needs it,
and none does what costs 5 to 20 ms of every start: typing, argparse, pathlib.

``outcomes``, ``addresses`` <- ``pulse``, ``sockets`` <- ``probe``, ``transfers``,
``listeners``, ``netlink``, ``resolver``, ``processes`` <- ``asking``, ``flows`` <- a
module per family of operations <- ``operations`` <- ``first`` <- ``serving``,
``control``, ``by_hand`` <- ``__main__``

The program of a watch lies beside it: ``events``, ``watch_log`` <- ``watch_paths`` <-
``watcher``.
"""

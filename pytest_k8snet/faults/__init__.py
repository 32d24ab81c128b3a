"""Real faults for local clusters on namespaces: values that break, and always heal.

Adding one: a context manager over a ``Site`` in the module of what it breaks, and a
``Fault`` in ``catalogue``. What the suite must say of it is in ``tests/faults``.
"""

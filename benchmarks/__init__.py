"""What is measured on real clusters; each is run by hand, and none by the tests."""

"""From a run to what people and programs read: one module per format. Pure."""

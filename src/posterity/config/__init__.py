"""params.yaml as checked values: the schema, the rules across keys, and the messages for mistakes."""

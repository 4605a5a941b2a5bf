"""Settings of the whole suite."""

import signal

# a shell that starts the suite in the background has it ignore SIGINT, which the commands under test would inherit
signal.signal(signal.SIGINT, signal.default_int_handler)

"""The Oracle ISR FACE REST API, release 6.1 and what later releases added to it."""

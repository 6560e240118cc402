"""The preflight: look at everything that the bridge needs before it runs, and say how to mend what is wrong."""

"""The sweep: what events missed is found by looking. It only finds; operations remove."""

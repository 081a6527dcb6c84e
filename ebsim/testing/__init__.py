"""What tests of ebsim, and of programs that use it, are made of: a model, sources, invariants."""

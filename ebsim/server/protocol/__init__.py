"""The wire: AWS's protocols, as far as the services that ebsim serves need them. No I/O."""

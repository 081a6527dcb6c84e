"""The AWS endpoint of a store: EC2, EBS direct, rbin, dlm, KMS and STS over HTTP."""

"""`ebsim demo`: the main job on real input, and the worked example of the EBS documentation."""

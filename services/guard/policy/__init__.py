"""The verdict on one check: what the policy of the account says about the findings of the detectors."""

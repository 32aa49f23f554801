"""The local stack: runs the system that template.yaml describes on this machine."""

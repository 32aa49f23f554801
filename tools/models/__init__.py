"""For maintainers and operators: compares the model catalog with Bedrock, and computes the parameter ModelArns."""

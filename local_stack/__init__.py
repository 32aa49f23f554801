"""The whole system on one machine: it reads template.yaml and starts what it describes, as Lambda would."""

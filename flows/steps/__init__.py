"""The seven steps, one module each, named as Pleo names them. None of them knows Prefect."""

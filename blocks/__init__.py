"""What the export connects to: Pleo on one side, the accounting system (ERP) on the other."""

"""Generated stubs of the contract, proto package `codriver.v1` (`make protos`)."""
